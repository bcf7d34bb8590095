"""Running scenarios headless: one step object of the state format per action."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sandbox.errors import SandboxError, UsageError
from sandbox.kernels.base import Kernel
from sandbox.machine.fields import FIELDS, Struct
from sandbox.machine.memory import ALLOC, BITS, COPY
from sandbox.mm.flags import PG_buddy
from sandbox.rules import RULES, Complaint, Violation
from sandbox.run.explained import check_explained, copy_of
from sandbox.run.scheduling import Seen
from sandbox.run.session import Session, Step
from sandbox.scenario.language import Action, CpuBlock


class BrokenCount(NamedTuple):
    """How often and how badly a rule was broken, counted over states of the words it reads."""

    micro_states: int
    """States of the rule's words in which it did not hold."""
    consecutive: int
    """Longest run of such states with no state in between in which it held."""
    worst: int
    """Largest deficit, 0 when never broken."""


class ScenarioRun:
    """A session driven action by action, each run to its end."""

    def __init__(
        self, kernel: str | type[Kernel], *, name: str = "", about: str = "", rig: bool = False
    ) -> None:
        self.session = Session(kernel)
        self.session.starting = rig
        self.rig = rig
        """As on the recording rig: a process that starts or is forked first populates its own
        memory, which drains the LRU batches, and leaves some of its pages in them; every
        verb starts a process that it names first."""
        self.name, self.about = name, about

    def do(self, step: Action | CpuBlock, seen: Seen | None = None) -> dict[str, Any]:
        """Run *step* to its end and return its step object; raises `UsageError` with its place.

        *seen* is told where each turn of a block ends.

        The functions of a person's own kernel are done a second time beside the machine, so that
        one that is no pure function of its answers is found out although nothing goes back.
        """
        processes = len(self.session.ledger.processes())
        try:
            if self.session.machine.checked:
                done = self._checked(step, seen)
            else:
                done = self.session.do(step, seen)
            if self.rig and len(self.session.ledger.processes()) > processes:
                self.session.settle()
            with self.session.contained(f"the state after {step.text}"):
                return self._state(done)
        except SandboxError as error:
            if error.where is None:
                error.where = step.where
            raise

    def _checked(self, step: Action | CpuBlock, seen: Seen | None) -> Step:
        """Do a step and look whether its functions kept their promises."""
        machine = self.session.machine
        before, start = copy_of(machine.memory), machine.position
        done = self.session.do(step, seen)
        check_explained(machine, before, start, step.text)
        self.session.verify(done)
        return done

    def _state(self, done: Step) -> dict[str, Any]:
        """The step object of what was done last."""
        result = self.session.result_of(done.number)
        state: dict[str, Any] = {
            "step": done.number,
            "action": done.action.text,
            "ret": result.ret if result else 0,
        }
        if result is not None and result.out is not None:
            state["out"] = result.out
        machine = self.session.state()
        if "holds" in machine:
            state["holds"] = machine["holds"]
        return state | {"procs": machine["procs"], "folios": machine["folios"]}

    def violations(self) -> list[Violation]:
        """Every time a rule went from holding to broken, in order."""
        return list(self.session.rules.violations)

    def complaints(self) -> list[Complaint]:
        """What the kernel's own checks would have printed, in order."""
        return list(self.session.rules.complaints)

    def watches(self, rule: str) -> bool:
        """Whether there is a rule of that id, the catalogue's or one that the person named."""
        return rule in RULES

    def broken(self, rule: str) -> BrokenCount:
        """Counts for one rule over the whole run."""
        states, longest, worst = self.session.rules.counts(rule)
        return BrokenCount(states, longest, worst)

    def _last_action(self) -> range:
        """Positions of the events of the last action."""
        last = self.session.tasks_of(self.session.steps[-1])
        position = self.session.position
        return range(last[0].start, max(task.end or position for task in last))

    def count(self, what: str) -> int:
        """How often the last action did `alloc`, `free` (of unused folios) or `copy` of pages."""
        machine = self.session.machine
        events = [machine.events[i] for i in self._last_action()]
        if what == "alloc":
            return sum(e[0] == ALLOC and e[2] is Struct.PAGE for e in events)
        if what == "copy":
            return sum(e[0] == COPY for e in events)
        if what == "free":
            name_of = self.session.ledger.name_of
            freed = {
                name_of(event[1], i)
                for i, event in zip(self._last_action(), events, strict=True)
                if event[0] == BITS and event[2] == PG_buddy
            }
            return sum(name.startswith("pfn:") for name in freed)
        raise UsageError(f"cannot count '{what}'", expected="alloc, free or copy")

    def peak(self, folio: str, field: str) -> int | None:
        """Largest raw value of a folio's word in the last action; None if unknown."""
        machine, ledger = self.session.machine, self.session.ledger
        found = ledger.head_of(folio)
        offset = next(
            (f.offset for f in FIELDS if f.struct is Struct.PAGE and f.name.lstrip("_") == field),
            None,
        )
        if found is None or offset is None:
            return None
        head, life = found
        addr = head + offset
        values = [machine.peek(addr)] if life.stop == machine.position else []
        for i in self._last_action():
            if i in life and machine.events[i][1] == addr and machine.olds[i] is not None:
                values.append(machine.olds[i])
        return max(values, default=None)

    def events(self) -> Iterator[dict[str, Any]]:
        """All events so far."""
        return self.session.event_log()
