"""`mmtui proc`: what a file of /proc would show of a scenario's state."""

from __future__ import annotations

import sys

from mmtui.exit_codes import ExitCode
from mmtui.headless.run import choose
from mmtui.headless.working import WatchedRun
from mmtui.model.documents import open_document
from sandbox.errors import UsageError
from sandbox.truth.procfs.proc import WHATS, proc_text
from sandbox.truth.text import wrap

__all__ = ["WHATS", "proc"]


def proc(
    target: str,
    what: str,
    kernel: str | None,
    *,
    scenario: str | None = None,
    process: str | None = None,
    step: int | None = None,
    as_json: bool = False,
) -> ExitCode:
    """Run what is named, to its end or to the end of action `step`, and write one file of /proc.

    JSON is one object per scenario and line: `scenario`, `kernel`, `step`, `what`, `process`
    (null for all of them) and the `lines` of the text.

    Raises:
        SandboxError: no such document, scenario, kernel, process or step, or a refused action.
    """
    document = open_document(target)
    on = document.kernels[0] if kernel is None else kernel
    for chosen in choose(document.name, document.scenarios(on), scenario):
        last = len(chosen.steps) if step is None else step
        if not 0 <= last <= len(chosen.steps):
            raise UsageError(
                f"no step {step} in {chosen.name}", expected=f"0 to {len(chosen.steps)}"
            )
        running = WatchedRun(on, name=chosen.name, about=chosen.about)
        for action in chosen.steps[:last]:
            running.do(action)
        lines = proc_text(running.session, what, process)
        if as_json:
            import json

            names = {"scenario": chosen.name, "kernel": on, "step": last}
            asked = {"what": what, "process": process, "lines": lines}
            sys.stdout.write(json.dumps(names | asked) + "\n")
        else:
            words = f"{chosen.name} on {on} after step {last}".split()
            sys.stdout.write("\n".join([*wrap("== ", words, "   "), *lines]) + "\n")
        sys.stdout.flush()
    return ExitCode.OK
