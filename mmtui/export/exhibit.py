"""What is exported: a scenario on a kernel at a step, with what broke, and the way there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.compare.changes import Change, changes
from sandbox.rules import Violation
from sandbox.run.runner import ScenarioRun
from sandbox.truth.compare import Cell, FolioNames, compare
from sandbox.truth.events import describe_events

__all__ = ["Exhibit"]


@dataclass(slots=True)
class Exhibit:
    """A run that stands after a step."""

    target: str
    """As the person named the document."""
    name: str
    """The scenario's."""
    about: str
    kernel: str
    run: ScenarioRun
    steps: list[dict[str, Any]]
    """The step objects up to here, in order; at least one."""
    since: int | None = None
    """An earlier step (0: the empty machine) whose state is held against this one's."""
    walk: bool = False
    """Whether the way to the first violation is told as well."""
    scenario_named: bool = False
    """Whether the document has several scenarios, so that commands have to name this one."""
    _cells: list[Cell] | None = field(default=None, repr=False)

    @property
    def state(self) -> dict[str, Any]:
        """The step object of the state that is exported."""
        return self.steps[-1]

    @property
    def title(self) -> str:
        """What it is, in a line."""
        step = self.state
        return f"{self.name} on {self.kernel}, after step {step['step']}: {step['action']}"

    @property
    def cells(self) -> list[Cell]:
        """What differs between the state after `since` and this one."""
        if self.since is None:
            return []
        if self._cells is None:
            empty: dict[str, Any] = {"procs": {}, "folios": {}}
            old = self.steps[self.since - 1] if self.since else empty
            names = FolioNames({name: name for name in self.state["folios"]})
            found = compare({**old, "step": 0}, self.state, names)
            self._cells = [c for c in found if not c.ok and c.object != "step"]
        return self._cells

    @property
    def violations(self) -> list[Violation]:
        """Each time a rule went from holding to broken, upstream's own windows left out."""
        found = self.run.violations()
        return [v for v in found if v.run == 1 and v.known_window is None]

    def events(self) -> Iterator[dict[str, Any]]:
        """The events from the start of the action in which a rule first broke, to the one that did.

        Loads and locks among them; none if nothing broke.
        """
        yield from describe_events(self.run.session, *self._walk())

    def changes(self) -> Iterator[tuple[Change, dict[str, Any]]]:
        """Of these events those that changed a word whose value says something, as both know them.

        Locks are left out, and words that lead to an object: an address says nothing.
        """
        events = {event["n"]: event for event in self.events()}
        for change in changes(self.run.session, *self._walk()):
            if change.old is not None:
                yield change, events[change.n]

    def _walk(self) -> tuple[int, int]:
        """From where to where the way to the first break is told."""
        if not self.violations:
            return 0, 0
        first, starts = self.violations[0], self.run.session.starts
        return (starts[first.action] if first.action < len(starts) else 0), first.event + 1

    def replay(self, *more: str) -> str:
        """The command that runs it again, quoted for a shell."""
        words = ["mmtui", "run", self.target, "--kernel", self.kernel, *more]
        if self.scenario_named:
            words += ["--scenario", self.name]
        return shlex.join(words)
