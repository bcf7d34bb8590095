"""Commands that move in time."""

from __future__ import annotations

from collections.abc import Callable

from mmtui.commands.model import Command, Desk, Group
from mmtui.model.bench import Bench
from sandbox.errors import UsageError

__all__ = ["COMMANDS", "backward", "forward"]


def _count(text: str) -> int:
    """How often, once by default."""
    if not text:
        return 1
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 10 or not int(text):
        raise UsageError(f"not a count: {text[:20]!r}", expected="a number from 1")
    return int(text)


def _times(move: Callable[[Bench, int], None]) -> Callable[[Desk, str], None]:
    def run(desk: Desk, text: str) -> None:
        count = _count(text)
        desk.work(lambda: move(desk.bench, count), lambda _: desk.moved())

    return run


def _once(move: Callable[[Bench], None]) -> Callable[[Desk, str], None]:
    def run(desk: Desk, text: str) -> None:
        count = _count(text)

        def job() -> None:
            for _ in range(count):
                move(desk.bench)

        desk.work(job, lambda _: desk.moved())

    return run


def _reading(step: bool, move: Callable[[Bench], None]) -> Callable[[Desk, str], None]:
    """Read what is unread before a move; a count is of moves, without reading."""

    def run(desk: Desk, text: str) -> None:
        if not text and desk.read(step=step):
            return
        reason = forward(desk.bench)
        if reason is not None:
            desk.say(reason)
            return
        count = _count(text)

        def job() -> None:
            for _ in range(count):
                move(desk.bench)

        desk.work(job, lambda _: _told(desk))

    return run


def _told(desk: Desk) -> None:
    desk.moved()
    desk.read_on()


def _back_story(desk: Desk, text: str) -> None:
    count = _count(text)

    def job() -> None:
        for _ in range(count):
            desk.bench.back_story()

    def done(_: None) -> None:
        desk.moved()
        desk.to_story()

    desk.work(job, done)


def _until_violation(desk: Desk, _text: str) -> None:
    desk.work(
        desk.bench.run_until_violation,
        lambda stop: desk.moved("" if stop.violation else stop.text),
    )


def _goto(desk: Desk, text: str) -> None:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise UsageError(f"not an event: {text[:20]!r}", expected=f"0 to {desk.bench.end}")
    desk.work(lambda: desk.bench.goto(int(text)), lambda _: desk.moved())


def _branch(desk: Desk, text: str) -> None:
    if not text:
        desk.choose_branch()
        return
    number = _count(text)
    desk.work(
        lambda: desk.bench.switch_branch(number),
        lambda _: desk.moved(f"branch {text} is the future again"),
    )


def _cpu(desk: Desk, text: str) -> None:
    """Choose the CPU that takes the next events; without a number, the next one that is busy."""
    bench = desk.bench
    count = len(bench.session.cpus)
    if not text:
        busy_ones = sorted(task.cpu for task in bench.session.running) or range(count)
        later = (cpu for cpu in busy_ones if bench.cpu is None or cpu > bench.cpu)
        bench.cpu = next(later, None)
    elif text == "any":
        bench.cpu = None
    elif text.isascii() and text.isdigit() and int(text[:3]) < count:
        bench.cpu = int(text)
    else:
        raise UsageError(f"there is no CPU {text[:20]!r}", expected=f"0 to {count - 1}, or any")
    if bench.cpu is None:
        desk.moved("the next event is of any CPU")
    else:
        busy = bench.session.machine.running[bench.cpu]
        doing = f"CPU {bench.cpu}: {busy.name}" if busy else f"CPU {bench.cpu}, idle now"
        desk.moved(f"the next event is of {doing}")


def forward(bench: Bench) -> str | None:
    """Why there is nothing to go on to, None if there is."""
    if bench.idle and not bench.can_redo and bench.next_item is None:
        return "nothing is left to run: do an action of your own, or go back"
    return None


def backward(bench: Bench) -> str | None:
    """Why there is nothing to go back to, None if there is."""
    return None if bench.session.position else "this is the start"


def _branches(bench: Bench) -> str | None:
    if bench.session.machine.branches:
        return None
    return "no branch yet: go back and do something else"


COMMANDS = (
    Command(
        "read-on", "read on", "Show the next screenful of the story; when all of it up to the next "
        "action has been on the screen, do that action.",
        Group.STEP, _reading(False, Bench.step_action), ("space",), "[N]", footer=101,
    ),
    Command(
        "place", "story's place", "Go to where the story stands.", Group.STEP,
        lambda desk, _text: desk.to_story(), ("J",),
    ),
    Command(
        "step", "event", "Do the next memory event.", Group.STEP,
        _times(Bench.step_event), ("s",), "[N]", forward, 100,
    ),
    Command(
        "back", "back", "Take the last memory event back.", Group.STEP,
        _times(Bench.back_event), ("S", "b", "backspace"), "[N]", backward, 95,
    ),
    Command(
        "next", "action", "Finish the running action, or do the next one of the story.", Group.STEP,
        _times(Bench.step_action), ("n",), "[N]", forward, 90,
    ),
    Command(
        "previous", "action back", "Go back to the start of the running or the last action.",
        Group.STEP, _times(Bench.back_action), ("N",), "[N]", backward,
    ),
    Command(
        "out", "function", "Run until the kernel function that is shown has returned.", Group.STEP,
        _times(Bench.step_function), ("o",), "[N]", forward, 40,
    ),
    Command(
        "caller", "function back", "Go back to where the kernel function that is shown was called.",
        Group.STEP, _once(Bench.back_function), ("O",), "[N]", backward,
    ),
    Command(
        "story", "story step", "Do the story's next step and check what is expected of it; what "
        "was not yet on the screen of its text is shown first.",
        Group.STEP, _reading(True, Bench.step_story), ("]",), "[N]", footer=85,
    ),
    Command(
        "unstory", "story back", "Go back to the start of the story's step.", Group.STEP,
        _once(Bench.back_story), ("[",), "[N]", backward,
    ),
    Command(
        "violation", "until violation", "Run until a rule breaks that holds now.", Group.STEP,
        _until_violation, ("v",), "", forward, 80,
    ),
    Command(
        "end", "to the end", "Run all that is left of the story.", Group.STEP,
        _once(Bench.run_to_end), ("e",), "", forward, 45,
    ),
    Command(
        "cpu", "which CPU", "Choose the CPU that takes the next events; then step or n.",
        Group.STEP, _cpu, ("P",), "[N | any]",
    ),
    Command(
        "goto", "go to event", "Go to an event of this branch; a number alone does it as well.",
        Group.STEP, _goto, (), "EVENT",
    ),
    Command(
        "start", "to the start", "Go back to before the first event.", Group.STEP,
        lambda desk, _text: _goto(desk, "0"), ("A",), "", backward,
    ),
    Command(
        "branch", "branches", "List the futures that were left, or make one the future again.",
        Group.STEP, _branch, ("B",), "[N]", _branches,
    ),
)  # fmt: skip
"""Forth and back by event, function, action and story step."""
