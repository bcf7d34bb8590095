"""The engine itself on values that it is given, watched while it performs one event.

Operations, ledger and rules run as they are, on a machine whose words and derived tables say what
is read and written of them.  Nothing is taken back here and nothing is named: a state is loaded,
one event is done, and what it read and wrote is all that is wanted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from sandbox.errors import KernelBug
from sandbox.explore.recording import (
    MISSING,
    Recorder,
    WatchedDict,
    WatchedList,
    WatchedQueue,
)
from sandbox.machine.derived import GONE, Derived
from sandbox.machine.fields import Struct
from sandbox.machine.machine import Machine
from sandbox.machine.memory import MemoryImage
from sandbox.rules import RuleEngine
from sandbox.truth.ledger import Ledger

if TYPE_CHECKING:
    from sandbox.machine.memory import Event
    from sandbox.run.model import Model

__all__ = ["Broken", "Shadow"]

NESTED = {
    "owners": WatchedDict,
    "stale": WatchedDict,
    "pmds": WatchedDict,
    "free frames": WatchedQueue,
}
"""Tables with tables, or lists, in them."""
UNSEEN = frozenset(
    ("names", "names before", "names given", "broken", "touched", "anon_mapped", "mapped")
)
"""Tables that say nothing of what will happen: names, and what is looked at when all is quiet,
which is done on the machine itself."""
COUNTED_TO_TAKE_BACK = ("section heads", "section entries")
"""Tables that count how often something was done, so that it can be taken back: once is enough."""


class Broken(NamedTuple):
    """What one event broke."""

    rule: str
    """A rule's id, or what a line of the kernel's own checks begins with."""
    subject: int
    window: str | None
    """The window of upstream's own that covers it, if any."""


class _Derived(Derived):
    """Tables that nobody goes back in."""

    def put(self, name: str, key: int | str, value: Any) -> None:  # noqa: ANN401  # a word
        table = self.tables[name]
        if table.get(key) == value:
            return
        if value is GONE:
            del table[key]
        else:
            table[key] = value

    def add(self, undoer: int, *args: Any) -> None:  # noqa: ANN401  # of any kind
        """Nothing is taken back."""


class _Ledger(Ledger):
    """Counts, and names nothing: what a folio is called depends on who came first."""

    def _name(self, head: int, delta: int) -> None:
        return

    def name_of(self, folio: int, event: int | None = None) -> str:
        return ""


class _Rules(RuleEngine):
    """Says what does not hold, and keeps no account of it."""

    def __init__(self, machine: Machine, ledger: Ledger, kernel: Any) -> None:  # noqa: ANN401  # a kernel's class
        self.found: list[Broken] = []
        super().__init__(machine, ledger, kernel)
        self.checks.bad_page_map = _nothing  # type: ignore[method-assign]  # with I-04, which is told

    def holds(self, rule: str, key: int) -> None:
        return

    def fails(
        self,
        rule: str,
        key: int,
        subject: str,
        text: str,
        words: tuple[int, ...],
        deficit: int = 1,
        window: str | None = None,
    ) -> None:
        if rule not in self.kernel.rules_off:
            known = window or (self.window_of(key) if rule in ("I-05", "I-06", "I-09") else None)
            self.found.append(Broken(rule, int(key), known))

    def complain(self, name: str, text: str, subject: str) -> None:
        self.found.append(Broken(name, 0, None))


def _nothing(packed: int, count: int) -> None:
    return


class _Machine(Machine):
    """Allocates what lies at a fixed place only once: nobody sees it before it is allocated."""

    recorder: Recorder

    def tell(self, event: Event, cpu: int) -> None:
        """Do an event that changes no word."""
        self.acting = cpu
        self._tell(event, cpu)

    def allocate(self, event: Event, cpu: int) -> tuple[Any, int]:
        """Do an allocation: (what is journaled, the address)."""
        self.acting = cpu
        return self._allocate(event[2], event[3], cpu)

    def _allocate(self, struct: Struct, order: int, cpu: int) -> tuple[Any, int]:
        if struct is Struct.PAGE and self.frames.next(cpu, order):
            return super()._allocate(struct, order, cpu)
        at = self.group.place(cpu, struct, order)
        if not at:
            raise KernelBug("what a CPU allocates alone has no place of its own")
        memory = self.memory
        if at >= len(memory.kinds) or not any(memory.kinds[at : at + 16]):
            self.recorder.on = False
            memory.allocate(struct, order, at)
            self.recorder.on = True
        return (0, at), at


class Shadow:
    """A machine with its rules that is given values and does one event on them."""

    def __init__(self, model: Model) -> None:
        """Begin as a state is: that of *model*, which is left as it is."""
        self.recorder = recorder = Recorder()
        memory = model.machine.memory.copied()
        memory.cells = WatchedList(recorder, memory.cells)
        self.words: WatchedList = memory.cells
        self._tables: dict[Hashable, Any] = {}
        self.machine = self._made(model, memory)
        self.running = WatchedList(recorder, model.machine.running, "running")
        self.machine.running = self.running
        self._tables["running"] = self.running
        self.ledger = _Ledger(self.machine)
        self.rules = _Rules(self.machine, self.ledger, model.kernel)
        self.machine.idle_watchers.clear()
        self.begun = WatchedDict(recorder, "begun", {})
        self._tables["begun"] = self.begun

    def _made(self, model: Model, memory: MemoryImage) -> _Machine:
        derived, recorder = _Derived(), self.recorder
        for name, table in model.machine.derived.copied().tables.items():
            derived.tables[name] = self._watched(name, table)
        cpus, checked = len(model.machine.running), model.machine.checked
        machine = _Machine(cpus, checked=checked, memory=memory, derived=derived)
        machine.recorder = recorder
        group = model.machine.group.copied()
        counts = WatchedDict(recorder, "allocated", group.counts, default=0)
        group.counts = counts  # type: ignore[assignment]  # a table, as what it was
        self._tables["allocated"] = counts
        machine.group = group
        return machine

    def _watched(self, name: str, table: Any) -> Any:  # noqa: ANN401  # any container
        """A table that tells what is read and written of it."""
        if name in UNSEEN:
            return table
        cap = _once if name.startswith(COUNTED_TO_TAKE_BACK) else None
        if isinstance(table, list) and all(isinstance(item, dict) for item in table):
            return [self._dict((name, at), item, cap) for at, item in enumerate(table)]
        if isinstance(table, list):
            watched = WatchedList(self.recorder, table, name)
            self._tables[name] = watched
            return watched
        return self._dict(name, table, cap)

    def _dict(self, name: Hashable, table: Any, cap: Callable[[Any], Any] | None) -> WatchedDict:  # noqa: ANN401  # any mapping
        counts = isinstance(table, defaultdict) and table.default_factory is int
        watched = WatchedDict(
            self.recorder,
            name,
            table,
            default=0 if counts else MISSING,
            nested=NESTED.get(str(name)),  # type: ignore[arg-type]  # one of the two
            cap=cap,
        )
        self._tables[name] = watched
        return watched

    # -- values ------------------------------------------------------------------------------

    def load(self, place: Any, value: Any) -> None:  # noqa: ANN401  # a word
        """Give a place a value."""
        if place.__class__ is int:
            self.words.put(place, value)
            return
        name, key = place
        table = self._tables.get(name)
        if table is None:  # one that is in another
            outer = self._tables[name[0]]
            table = self._tables[name] = outer.get(name[1])
        if table.__class__ is WatchedDict:
            inner = table.items_.get(key)
            if inner.__class__ is WatchedQueue:
                inner.items = list(value)
                return
        table.put(key, value)

    # -- events ------------------------------------------------------------------------------

    def reactions(self, event: Event) -> range:
        """Numbers of what looks at the change that an event makes."""
        return range(len(self.machine.reactions[self.machine.memory.kinds[event[1]]]))

    def react(self, event: Event, cpu: int, number: int, old: Any) -> None:  # noqa: ANN401  # a word
        """Have one of them look."""
        machine, addr = self.machine, event[1]
        machine.acting = cpu
        watcher = machine.reactions[machine.memory.kinds[addr]][number]
        watcher(event, cpu, addr, old, self.words[addr])

    def found(self) -> Iterator[Broken]:
        """What did not hold since this was last asked."""
        found, self.rules.found[:] = list(self.rules.found), []
        return iter(found)

    def put_back(self) -> None:
        """Undo what was written since the recorder started."""
        reads = self.recorder.reads
        for place in self.recorder.writes:
            self.load(place, reads[place])


def _once(value: Any) -> Any:  # noqa: ANN401  # a count, or (first value, count)
    return (value[0], 1) if isinstance(value, tuple) else 1
