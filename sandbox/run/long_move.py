"""A move that may take long: how far it has come, and a way to stop it between two events."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from sandbox.errors import Cancelled, NoEventError
from sandbox.scenario.language import Action

if TYPE_CHECKING:
    from sandbox.run.session import Session, Step

__all__ = ["LongMove"]


class LongMove:
    """Watches a session while it is moved (as a context), and stops it when asked to.

    `text` is written by the thread that moves, and may be read by any other.
    """

    def __init__(
        self,
        session: Session,
        show: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._show, self._clock = session, show, clock
        self._step: Step | None = None
        self._total = 0
        self._asked = False
        self.text = ""
        """How far it is, in a line."""
        self._rebase()

    def __enter__(self) -> LongMove:
        self._session.machine.interrupt = self._look
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._session.machine.interrupt = None
        if self._asked and isinstance(error, NoEventError):  # a person was sooner than the watchdog
            raise Cancelled(f"stopped: {error.message}") from error

    def turn_to(self, session: Session) -> None:
        """Watch another session from now on: what is moved is made by the move itself."""
        self._session.machine.interrupt = None
        self._session = session
        self._rebase()
        session.machine.interrupt = self._look

    @property
    def asked(self) -> bool:
        """Whether it was asked to end: for what is done before there is a session to look at."""
        return self._asked

    @property
    def session(self) -> Session:
        """The session that is watched."""
        return self._session

    def stop(self) -> None:
        """Ask the move to end at the next opportunity, some 10 ms away; `Cancelled` is raised."""
        self._asked = True
        self._session.machine.watchdog.hurry()

    def interrupt(self, error: BaseException) -> None:
        """Say that *error*, about to be raised, is a person's own: no function is to blame."""
        self._session.machine.interruption = error

    def _look(self) -> None:
        session = self._session
        if self._asked:
            step, at = session.last_step, f"stopped at event {session.position:,}"
            middle = f" in the middle of {step.action.text}" if step and session.running else ""
            raise Cancelled(at + middle)
        if session.last_step is not self._step:
            self._rebase()
        self.text = self._line()
        if self._show is not None:
            self._show(self.text)

    def _rebase(self) -> None:
        """Count from here: another action has begun, or is gone back into."""
        self._step = self._session.last_step
        self._began, self._at = self._clock(), self._session.position
        self._mapped = self._entries()
        self._total = self._expected()

    def _entries(self) -> int:
        """Pages that all page tables map; what an action adds or takes away is its progress."""
        return sum(self._session.ledger.rss.values())

    def _expected(self) -> int:
        """PTEs that the action is going to change, 0 when that is not known."""
        action = self._step.action if self._step is not None else None
        if not isinstance(action, Action) or not self._session.running:
            return 0
        args = action.args
        if "start" in args and "end" in args:
            return int(args["end"]) - int(args["start"])
        mm = self._session.ledger.processes().get(args.get("proc", ""))
        if action.verb not in ("fork", "exit") or mm is None:
            return 0
        return sum(pages for (of, _), pages in self._session.ledger.rss.items() if of == mm)

    def _line(self) -> str:
        session = self._session
        events = session.position - self._at
        took = self._clock() - self._began
        entries = abs(self._entries() - self._mapped)
        name = self._step.action.text if self._step is not None else "going"
        parts = [f"{abs(events):,} events" + (" back" if events < 0 else "")]
        if entries:
            of = f" of {self._total:,}" if self._total >= entries else ""
            parts.append(f"{entries:,}{of} PTEs")
        if took > 0:
            parts.append(f"{abs(events) / took:,.0f} events/s")
        return f"{name}: " + ", ".join(parts)
