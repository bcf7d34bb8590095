"""Playing a schedule: turns of CPUs, to the landmarks at which they end.

A turn that has come to nothing more to do before its landmark is an error, with what was reached;
one whose CPU must wait for another one is over, and the CPU goes on in its next turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sandbox.errors import NoProgressError, UsageError
from sandbox.machine.frames import calls_of
from sandbox.machine.memory import Word
from sandbox.run.watched import Watched, counts
from sandbox.scenario.lines import near
from sandbox.scenario.schedule import Landmark, Turn

if TYPE_CHECKING:
    from sandbox.machine.tasks import Task
    from sandbox.run.session import Session

__all__ = ["Seen", "play", "play_rest"]

Seen = Callable[[int, str], None]
"""Is told where a turn ended: its CPU, and why: `after` or `before` a store, `entry` of a function,
`events`, `wait`, or `end` of all that the CPU has to do.  It may look at the machine."""


def play(session: Session, turns: Sequence[Turn], seen: Seen | None = None) -> None:
    """Step the block that has just begun as its schedule says.

    Raises:
        UsageError: a landmark is not reached, or names no function of the kernel; with its place.
            The machine stands where the turn ended.
    """
    for turn in turns:
        _check(session, turn)
    player = _Player(session, any(turn.until and turn.until.is_store for turn in turns), seen)
    for turn in turns:
        player.turn(turn)


def play_rest(session: Session, seen: Seen) -> None:
    """Step what a schedule leaves out as the rig does: CPUs in order, one that waits yields.

    What cannot go on is left to `Session.finish`, which says why.
    """
    last: tuple[int, str] | None = None

    def told(cpu: int, why: str) -> None:
        nonlocal last
        last = (cpu, why)
        seen(cpu, why)

    player, stuck = _Player(session, False, told), 0
    while session.running and stuck < len(session.machine.running):
        cpus = [cpu for cpu, task in enumerate(session.machine.running) if task is not None]
        others = [cpu for cpu in cpus if last != (cpu, "wait")]
        position = session.position
        player.turn(Turn((others or cpus)[0]))
        stuck = stuck + 1 if session.position == position else 0


def _check(session: Session, turn: Turn) -> None:
    """Refuse a landmark that cannot be reached on this kernel."""
    landmark = turn.until
    if landmark is None or landmark.is_store or callable(getattr(session.kernel, landmark.what, 0)):
        return
    names = [name for name in dir(session.kernel) if not name.startswith("__")]
    raise UsageError(
        f"kernel {session.kernel.id} has no function {landmark.what}{near(landmark.what, names)}",
        turn.where,
        "store, a watched word, or a kernel function",
    )


class _Player:
    def __init__(self, session: Session, counting: bool, seen: Seen | None) -> None:
        self._session, self._machine, self._seen = session, session.machine, seen
        self._rounds = False
        """Whether the CPU of this turn was seen to go round."""
        self._watched = Watched(session) if counting else None
        """Looks at every event, for a folio is watched from its first rmap on."""
        self._stopped: dict[int, tuple[Task, int]] = {}
        """By CPU, where its last turn ended right before a store."""

    def turn(self, turn: Turn) -> None:
        """Play one turn, and tell where it ended if there was anything to do."""
        busy = self._machine.running[turn.cpu] is not None
        self._rounds = False
        self._play(turn)
        if busy and self._seen is not None:
            self._seen(turn.cpu, self._why(turn))

    def _why(self, turn: Turn) -> str:
        """Why a turn has ended."""
        if self._machine.running[turn.cpu] is None:
            return "end"
        if self._rounds or self._task(turn.cpu) is None:
            return "wait"
        if turn.until is None:
            return "events"
        return "entry" if not turn.until.is_store else "before" if turn.until.before else "after"

    def _play(self, turn: Turn) -> None:
        if turn.events is not None:
            self._events(turn.cpu, turn.events)
        elif turn.until is None:
            self._all(turn.cpu)
        elif turn.until.is_store:
            self._stores(turn, turn.until)
        else:
            self._entries(turn, turn.until)

    def _task(self, cpu: int) -> Task | None:
        """What a CPU can go on with; None when it has nothing to do or must wait."""
        task = self._machine.running[cpu]
        return task if task is not None and self._machine.blocked(cpu) is None else None

    def _events(self, cpu: int, count: int) -> None:
        with self._machine.guard.off():  # a number of events has an end
            for _ in range(count):
                task = self._task(cpu)
                if task is None:
                    return
                self._pending(task)
                self._machine.step(cpu)

    def _all(self, cpu: int) -> None:
        while (task := self._task(cpu)) is not None:
            self._pending(task)
            if not self._step(cpu):
                return

    def _pending(self, task: Task) -> str | None:
        """The watched word that the next event of a task changes."""
        return None if self._watched is None else self._watched.pending(task)

    def _step(self, cpu: int) -> bool:
        """One event; False when the CPU goes round, waiting for what another one will do."""
        try:
            self._machine.step(cpu)
        except NoProgressError as error:
            if not error.waits:
                raise
            self._rounds = True
            return False
        return True

    def _stores(self, turn: Turn, landmark: Landmark) -> None:
        """To the N-th change of a watched word from here on, or right before it."""
        cpu, count = turn.cpu, 0
        passed = self._stopped.pop(cpu, None)
        while (task := self._task(cpu)) is not None:
            here = (task, len(task.answers))
            hit = counts(landmark, self._pending(task))
            if hit and landmark.before and count + 1 >= landmark.number and here != passed:
                self._stopped[cpu] = here
                return
            if not self._step(cpu):
                return
            count += hit
            if hit and not landmark.before and count == landmark.number:
                return
        self._ended(turn, f"{count} of {landmark.number}")

    def _entries(self, turn: Turn, landmark: Landmark) -> None:
        """To the first event of the N-th call of a function from here on."""
        cpu, count = turn.cpu, 0
        inside = self._calls(cpu)
        while (task := self._task(cpu)) is not None:
            self._pending(task)
            if not self._step(cpu):
                return
            before, inside = inside, self._calls(cpu)
            count += _entered(landmark.what, before, inside)
            if count >= landmark.number:
                return
        self._ended(turn, f"{count} of {landmark.number} calls")

    def _calls(self, cpu: int) -> list[Word]:
        task = self._machine.running[cpu]
        return [] if task is None else list(calls_of(self._machine.live(task)))

    def _ended(self, turn: Turn, reached: str) -> None:
        """A turn is over before its landmark: the CPU waits, or it is through."""
        if self._machine.running[turn.cpu] is None:
            raise UsageError(
                f"cpu{turn.cpu} comes to its end without {turn.until}: {reached}",
                turn.where,
                "a landmark that it reaches from where its turn begins, or all",
            )


def _entered(name: str, before: Sequence[Word], now: Sequence[Word]) -> int:
    """How many calls of a function were entered; one that calls its own base's is one call."""
    known = {id(gen) for gen in before}
    names = ["", *(gen.gi_code.co_name for gen in now)]
    return sum(
        id(gen) not in known and names[at + 1] == name and names[at] != name
        for at, gen in enumerate(now)
    )
