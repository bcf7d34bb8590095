"""A document on a machine: where it stands, what is selected, what the last move changed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmtui.model.card import Cards
from mmtui.model.changes import NO_CHANGES, ChangeRecorder, Changes
from mmtui.model.done import Done
from mmtui.model.living import Living, Roll
from mmtui.model.progress import Progress
from mmtui.model.script import Script, Source
from mmtui.model.selection import Selection, areas_of
from mmtui.model.why import Choice, choice_after
from sandbox.errors import SandboxError
from sandbox.rules import Violation
from sandbox.run.runner import ScenarioRun
from sandbox.run.session import Session
from sandbox.scenario.expect import ExpectResult

__all__ = ["Standing"]


class Standing:
    """A session on a document: where it is, what is selected, what the last move changed.

    The machine is changed through the methods of this class and by nothing else.
    """

    def __init__(self, source: Source, kernel: str | None = None) -> None:
        self.source = source
        self.kernel = kernel or source.kernels[0]
        self.run = ScenarioRun(self.kernel, name=source.name)
        self.script: Script = source.script(self.kernel)
        self.progress = Progress(self.script)
        self.changes: Changes = NO_CHANGES
        self._moves = 0
        self._living = Living(self.session)
        self.cards = Cards()
        """Which folios are looked at whole."""
        self.checked: tuple[ExpectResult, ...] = ()
        """The expectations that the last move came by."""
        self.sought = ""
        """What was last run until, as it was written."""
        self.selection = Selection()
        self.level = 1
        """Zoom of the page tables: 0 regions, 1 entries, 2 decoded."""
        self.chosen: Choice | None = None
        """The broken rule that is looked at."""
        self.refusal: SandboxError | None = None
        """What was refused first when this was made of another bench or a file."""
        self.keeper: Callable[[bool], None] | None = None
        """Writes down what was done: called after each action, and (True) after each move."""
        self.done: Done | None = None
        """The last event that was done by itself; of another place when its number is another."""
        self.level_up: int = 0
        """Which frame of the call stack is looked at: calls above the innermost one."""
        self.cpu: int | None = None
        """The CPU chosen to take the next events; None: as history has it, else the first one."""

    # -- where we are ------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session that is moved."""
        return self.run.session

    @property
    def end(self) -> int:
        """Position of the end of the present branch."""
        return self.session.end

    @property
    def idle(self) -> bool:
        """Whether no action is running."""
        return not self.session.running

    @property
    def can_redo(self) -> bool:
        """Whether going back left a future."""
        return self.session.machine.can_redo()

    @property
    def next_item(self) -> int | None:
        """Index of the script's next action, None after the last one."""
        return self.progress.next_item(self.session)

    @property
    def turn(self) -> int | None:
        """The CPU that the next event will be of, None when nothing runs."""
        machine, running = self.session.machine, self.session.running
        if not running:
            return None
        if self._chosen is not None:
            return self._chosen
        if machine.future_cpus and machine.running[machine.future_cpus[-1]] is not None:
            return machine.future_cpus[-1]
        return next(iter(machine.enabled()), running[0].cpu)

    @property
    def _chosen(self) -> int | None:
        """The chosen CPU while it has something to do."""
        if self.cpu is None or self.session.machine.running[self.cpu] is None:
            return None
        return self.cpu

    def procs(self) -> tuple[str, ...]:
        """Names of the living processes."""
        return tuple(self.session.ledger.processes())

    @property
    def moves(self) -> int:
        """How often this was moved."""
        return self._moves

    def living(self) -> Roll:
        """The folios that are alive."""
        return self._living.roll(self._moves, self.changes)

    def fresh(self) -> list[Violation]:
        """The rules that the last step broke, known windows left out."""
        low, high = sorted((self.changes.start, self.changes.end))
        if self.changes.end < self.changes.start:
            return []
        found = self.session.rules.violations
        first, after = (bisect_left(found, at, key=lambda v: v.event) for at in (low, high))
        return [v for v in found[first:after] if v.run == 1 and not v.known_window]

    # -- the frame around every move -----------------------------------------------------

    @contextmanager
    def _move(self) -> Iterator[ChangeRecorder]:
        """Record what happens inside, also when it ends in an error."""
        recorder = ChangeRecorder(self.session.machine)
        self.checked = ()
        try:
            yield recorder
        finally:
            self.changes = recorder.result()
            self._moves += 1
            self.level_up = 0
            self.chosen = choice_after(self)
            self.select_settled()
            if self.keeper is not None:
                self.keeper(True)

    def select(self, change: Callable[[Selection], Selection]) -> None:
        """Move the cursor or the mark."""
        self.selection = change(self.selection)

    def point_at(self, selection: Selection) -> bool:
        """Select what was pointed at; True, for there was something."""
        self.selection = selection
        self.select_settled()
        return True

    def select_settled(self) -> None:
        """Keep the selection within what exists."""
        self.selection = self.selection.settle(areas_of(self.session), self.procs())
