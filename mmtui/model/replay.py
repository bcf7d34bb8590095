"""What was done on one kernel, on another one."""

from __future__ import annotations

from collections.abc import Callable

from mmtui.model.bench import Bench, actions_of
from mmtui.model.tree import Done, Tree, root_steps
from sandbox.errors import Cancelled, SandboxError

__all__ = ["replayed"]


def replayed(bench: Bench, kernel: str, started: Callable[[Bench], None] | None = None) -> Bench:
    """The same story (or the same actions) on another kernel, with all that was left.

    It stands at the same place, or as near to it as the kernel has one.  When nothing but the
    script was done, the new kernel's own telling is followed.  What the new kernel refuses ends
    its line: `refusal` of the result is the first that was refused.  *started* is told of the
    new bench before anything is done on it.

    The kernel of now, named again, is a file that was edited: it goes on into the action for as
    long as its events are those that were done.

    Raises:
        SandboxError: there is no such kernel, or its telling of the script went wrong.
    """
    if kernel != bench.kernel:
        return _replayed(bench, kernel, started)
    try:
        other = _replayed(bench, kernel, started)
    except Cancelled:
        raise
    except SandboxError:  # where, and with what, is found out by doing the actions one by one
        other = _replayed(bench, kernel, started, told=False)
    _go_on_alike(bench, other)
    return other


def _replayed(
    bench: Bench, kernel: str, started: Callable[[Bench], None] | None, *, told: bool = True
) -> Bench:
    other = Bench(bench.source, kernel)
    other.selection, other.level = bench.selection, bench.level
    if started is not None:
        started(other)
    machine = bench.session.machine
    tree, place = bench.tree(), bench.place()
    if machine.branches or not told or not _as_scripted(bench, tree):
        other.regrow(tree, place, exact=False)
        return other
    lines = [bench.line_of(step) for step, _ in root_steps(machine)]
    other.follow(lines[-1] if lines else 0, begin=machine.open_end)
    if place.steps < len(lines):
        _go_to_line(other, lines[place.steps], place.offset)
    return other


def _go_on_alike(bench: Bench, other: Bench) -> None:
    """Go on into the action that a bench is in, while the other one does the same events."""
    machine, position = bench.session.machine, bench.session.position
    starts = [start for _, start in root_steps(machine) if start <= position]
    theirs = [start for _, start in root_steps(other.session.machine)]
    if not starts or len(theirs) < len(starts) or other.refusal is not None:
        return
    start, at = starts[-1], other.session.position - theirs[len(starts) - 1]
    if 0 <= at < position - start and not other.idle:
        events = machine.events[start + at : position]
        other.go_alike(zip(machine.cpus[start + at : position], events, strict=True))


def _as_scripted(bench: Bench, tree: Tree) -> bool:
    """Whether the actions are those of the script, with nothing put beside them."""
    for done in tree:
        if isinstance(done, Done):
            index = bench.script_item(done)
            if index is None:
                return False
            if actions_of(bench.script.items[index].action) != actions_of(done.action):
                return False
    return True


def _go_to_line(bench: Bench, line: int, offset: int) -> None:
    """Go back to where the script's action of a line of the document (or after) begins."""
    for step, start in root_steps(bench.session.machine):
        if bench.line_of(step) >= line:
            bench.goto(min(start + min(offset, 1), bench.end))
            return
