"""`mmtui export`: a state, what changed, and the way to what broke, to be taken elsewhere."""

from __future__ import annotations

import sys

from mmtui.exit_codes import ExitCode
from mmtui.export.exhibit import Exhibit
from mmtui.export.formats import FORMATS
from mmtui.headless.run import choose
from mmtui.headless.working import WatchedRun
from mmtui.model.documents import open_document
from sandbox.errors import UsageError

__all__ = ["export"]


def export(
    target: str,
    to: str,
    kernel: str | None = None,
    scenario: str | None = None,
    *,
    step: int | None = None,
    since: int | None = None,
    walk: bool = False,
) -> ExitCode:
    """Run what is named to its end, or to the end of action *step*, and write it in a format.

    With *since* only what differs from the state after that action is told; with *walk* the
    events of the action in which a rule first broke, up to the one that broke it.

    Raises:
        SandboxError: no such document, scenario, kernel, format or step, or a refused action.
    """
    if to not in FORMATS:
        raise UsageError(f"there is no format {to[:20]!r}", expected=", ".join(FORMATS))
    document = open_document(target)
    on = document.kernels[0] if kernel is None else kernel
    scenarios = document.scenarios(on)
    for chosen in choose(document.name, scenarios, scenario):
        count = len(chosen.steps)
        last = count if step is None else step
        if not 0 < last <= count:
            raise UsageError(f"no step {last} in {chosen.name}", expected=f"1 to {count}")
        if since is not None and since >= last:
            raise UsageError(f"step {since} is not before step {last}", expected=f"0 to {last - 1}")
        run = WatchedRun(on, name=chosen.name, about=chosen.about)
        steps = [run.do(action) for action in chosen.steps[:last]]
        several = len(scenarios) > 1
        exhibit = Exhibit(target, chosen.name, chosen.about, on, run, steps, since, walk, several)
        for line in FORMATS[to].write(exhibit):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return ExitCode.OK
