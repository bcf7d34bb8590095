"""What the engine is asked to do while it is measured."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.machine.history import History, Task
from sandbox.machine.memory import Globals
from sandbox.rules import RuleEngine
from sandbox.run.session import Session
from sandbox.scenario.language import parse_action
from sandbox.truth.ledger import Ledger

__all__ = [
    "FOLIO_PAGES",
    "folio_sizes",
    "machine_like",
    "pages_of",
    "populate_lines",
    "populated",
    "run_tasks",
]

FOLIO_PAGES = {
    "4K": 1, "16K": 4, "32K": 8, "64K": 16, "128K": 32, "256K": 64, "512K": 128, "1M": 256,
    "2M": 512,
}  # fmt: skip
"""Base pages of each folio size that can be measured."""


def folio_sizes(text: str) -> tuple[str, ...]:
    """Return the folio sizes of a list such as ``4K,64K..1M,2M``.

    Raises:
        ValueError: one of them is no such size.
    """
    known, chosen = list(FOLIO_PAGES), []
    for part in text.upper().split(","):
        first, _, last = part.partition("..")
        if first not in known or (last or first) not in known:
            raise ValueError(f"not folio sizes: {text!r}; expected some of {', '.join(known)}")
        chosen += known[known.index(first) : known.index(last or first) + 1]
    return tuple(chosen)


def pages_of(size: str) -> int:
    """Return the base pages of a size such as ``64K``, ``64M`` or ``1G``.

    Raises:
        ValueError: the text is no such size, or less than a page.
    """
    factor = {"K": 1, "M": 1 << 10, "G": 1 << 20}.get(size[-1:].upper())
    if factor is None or not size[:-1].isdigit() or int(size[:-1]) * factor < 4:
        raise ValueError(f"not a size: {size!r}; expected e.g. 64K, 64M or 1G")
    return int(size[:-1]) * factor // 4


def populate_lines(folio: str, pages: int, region: str = "R") -> list[str]:
    """Spell the actions that give process A a region of so many written pages."""
    lines = [] if folio == "4K" else [f"mthp {folio} madvise"]
    return [*lines, f"mmap A {region} {4 * pages}K", f"touch A {region} 0 {pages} w"]


def populated(kernel: str, folio: str, pages: int, then: Sequence[str] = ()) -> Session:
    """Start a machine with a region of written pages in folios of one size, and do more to it."""
    session = Session(kernel)
    for line in (*populate_lines(folio, pages), *then):
        session.do(parse_action(line))
    return session


def machine_like(session: Session, *, ledger: bool = False, rules: bool = False) -> History:
    """Make a machine as the session's was at its start, watched by the layers asked for.

    Kernel functions are pure functions of what memory answers, so the session's own tasks, run
    on this machine, do the same events (see `run_tasks`).
    """
    machine = History(len(session.cpus))
    zero = session.machine.peek(Globals.zero_page)
    while len(machine.memory.cells) <= zero:
        _, struct, order = session.machine.memory.objects[len(machine.memory.objects)]
        machine.memory.allocate(struct, order)
    machine.memory.cells[zero] = session.machine.peek(zero)
    machine.memory.cells[Globals.zero_page] = zero
    if ledger or rules:
        mappings = Ledger(machine)
        if rules:
            RuleEngine(machine, mappings, session.kernel)
    return machine


def run_tasks(machine: History, tasks: Sequence[Task]) -> None:
    """Run tasks one after the other, each to its end."""
    for task in tasks:
        machine.spawn(task.name, task.call, task.kernel, task.cpu)
        machine.run(task.cpu)
