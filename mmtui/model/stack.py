"""The call stack of a CPU as frames of the kernel's own functions, and which one is looked at."""

from __future__ import annotations

from mmtui.model.standing import Standing
from sandbox.machine import calls
from sandbox.machine.frames import Frame
from sandbox.machine.tasks import Task
from sandbox.run.session import Session

__all__ = ["kernel_frames", "look_up"]


def kernel_frames(session: Session, task: Task | None) -> list[Frame]:
    """The frames of a CPU's functions, outermost first, without what begins and ends an action.

    Before its first event and after its last one the entry point stands alone.
    """
    if task is None:
        return []
    frames = [f for f in session.stack(task.cpu) if f.filename != calls.__file__]
    if frames or not task.running:
        return frames
    code = getattr(getattr(type(task.kernel), task.call.function, None), "__code__", None)
    if code is None:
        return []
    return [Frame(code.co_name, code.co_filename, code.co_firstlineno, {})]


def look_up(bench: Standing, calls_up: int) -> bool:
    """Look at the frame so many calls further up; beyond the outermost is the innermost again."""
    turn = bench.turn
    task = None if turn is None else bench.session.machine.running[turn]
    count = len(kernel_frames(bench.session, task))
    if not count:
        return False
    bench.level_up = (bench.level_up + calls_up) % count
    return True
