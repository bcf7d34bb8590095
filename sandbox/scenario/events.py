"""Events as dictionaries: what happened to which word, by which function, and what it broke."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from sandbox.fields import FIELDS, Struct
from sandbox.ledger import PMD_KIND, PTE_KIND
from sandbox.memory import (
    ADD,
    ADDR_MASK,
    ALLOC,
    BITS,
    CAS,
    FIRST_MUTATING,
    LOCK,
    LOCK_BIT,
    NOTE,
    OP_NAMES,
    STORE,
    TLB_FLUSH,
    TRY_ADD,
    TRYLOCK,
    UNLOCK,
    USER_STORE,
    XCHG,
    Event,
    Folio,
    Globals,
    PerCpu,
    Word,
)
from sandbox.mm import flags as mm_flags
from sandbox.operations import value_after
from sandbox.scenario.state import pte_letters

if TYPE_CHECKING:
    from sandbox.history import Task
    from sandbox.session import Session

PAGE_FLAGS = {value: name for name, value in vars(mm_flags).items() if name.startswith("PG_")}
VM_FLAGS = {value: name for name, value in vars(mm_flags).items() if name.startswith("VM_")}


def describe_events(
    session: Session, start: int = 0, end: int | None = None
) -> Iterator[dict[str, Any]]:
    """Dictionaries for events [start, end): where, which word, old and new, rules broken."""
    machine = session.machine
    end = machine.position if end is None else min(end, machine.position)
    broken: dict[int, list[str]] = {}
    for violation in session.rules.violations:
        broken.setdefault(violation.event, []).append(violation.rule)
    functions = _Functions(session, start, end)
    for n in range(start, end):
        task, (function, line, filename), answer = functions.at(n)
        event = machine.events[n]
        out: dict[str, Any] = {"n": n, "cpu": machine.cpus[n], "op": OP_NAMES[event[0]]}
        out |= {"function": function, "file": short_path(filename), "line": line}
        out |= {"task": task.name}
        out |= describe_event(session, event, machine.olds[n], answer)
        if n in broken:
            out["broken"] = broken[n]
        yield out


def short_path(filename: str) -> str:
    """The part of a path from the package on."""
    parts = PurePath(filename).parts
    if "sandbox" in parts:
        at = len(parts) - 1 - parts[::-1].index("sandbox")
        return "/".join(parts[at:])
    return PurePath(filename).name


class _Functions:
    """Task, function and answer of each event of a span; one rebuild per task."""

    def __init__(self, session: Session, start: int, end: int) -> None:
        machine = session.machine
        self.entries: dict[int, tuple[Task, tuple[str, int, str], Word]] = {}
        tasks = [t for t in machine.tasks if (t.end is None or t.end > start) and t.start < end]
        for task in tasks:
            traces, answers = iter(machine.trace_functions(task)), iter(task.answers)
            stop = machine.position if task.end is None else task.end
            for n in range(task.start, stop):
                if machine.cpus[n] == task.cpu:
                    self.entries[n] = (task, next(traces), next(answers))

    def at(self, n: int) -> tuple[Task, tuple[str, int, str], Word]:
        """Task, (function, line, file) and answer of event *n*."""
        return self.entries[n]


def describe_event(session: Session, event: Event, old: Word, answer: Word) -> dict[str, Any]:
    """Object, field, index, old and new value of one event that was answered so."""
    op, addr = event[0], event[1]
    if op == NOTE:
        return {"note": event[2], "text": " ".join(_plain(session, v) for v in event[3:])}
    if op == TLB_FLUSH:
        return {"object": session.ledger.process_of(event[2]), "range": [event[3], event[4]]}
    if op == ALLOC:
        return {"object": event[2].name.lower(), "order": event[3]}
    what = locate(session, addr)
    if op < FIRST_MUTATING:
        return what | {"value": show(session, what["field"], old)}
    return what | {
        "old": show(session, what["field"], old),
        "new": show(session, what["field"], after(event, old, answer)),
    }


def after(event: Event, old: Word, answer: Word) -> Word:
    """The word's value after *event*, given the value before (None when not known here)."""
    if event[0] in (STORE, ADD, TRY_ADD, CAS, BITS, XCHG):
        return value_after(event, old)
    if event[0] == USER_STORE:
        return event[2] if answer else old  # the entry may have changed meanwhile
    return {LOCK: "held", TRYLOCK: "held", UNLOCK: "free", LOCK_BIT: "held"}.get(event[0])


def locate(session: Session, addr: int) -> dict[str, Any]:
    """Name of the object a word belongs to, the field, and the index for arrays."""
    memory, ledger = session.machine.memory, session.ledger
    field = FIELDS[memory.kinds[addr]]
    cells = memory.cells
    if field.struct is Struct.PAGE:
        page = addr & ADDR_MASK
        if field.name == "_deferred_list":
            page -= 16
        folio = Folio(cells[page + 6]) if page < len(cells) else Folio(page)
        return {"object": ledger.name_of(folio), "field": field.name, "index": folio.index_of(page)}
    if memory.kinds[addr] in (PTE_KIND, PMD_KIND):
        base = addr & ~511
        shift = 0 if memory.kinds[addr] == PTE_KIND else 9
        region, page = ledger.region_of(cells[base + 514] + ((addr - base) << shift))
        return {
            "object": f"{ledger.process_of(cells[base + 513])}.{region}",
            "field": field.name,
            "index": page,
        }
    base, struct, _ = memory.object_at(addr)
    return {
        "object": _object_name(session, base, struct),
        "field": field.name,
        "index": addr - base - field.offset,
    }


def _object_name(session: Session, base: int, struct: Struct) -> str:
    ledger, cells = session.ledger, session.machine.memory.cells
    if struct is Struct.MM:
        return ledger.process_of(base)
    if struct is Struct.VMA:
        region, page = ledger.region_of(cells[base])
        return f"{ledger.process_of(cells[base + 7])}.{region}[{page}]"
    if struct in (Struct.PTE_TABLE, Struct.PMD_TABLE):
        region, page = ledger.region_of(cells[base + 514])
        return f"{ledger.process_of(cells[base + 513])}.{region}[{page}]"
    if base == Globals.BASE:
        return "machine"
    if struct is Struct.CPU:
        return f"cpu{(base - PerCpu.BASE) // PerCpu.SIZE}"
    return struct.name.lower()


def show(session: Session, field: str, value: Word) -> Word:
    """A word's value as people read it; numbers stay numbers."""
    if value is None or isinstance(value, str):
        return value
    if field in ("pte", "pmd"):
        return show_pte(session, value)
    if field == "flags":
        return _bits(value, PAGE_FLAGS)
    if field == "vm_flags":
        return _bits(value, VM_FLAGS)
    return int(value)


def show_pte(session: Session, pte: int) -> str:
    """An entry in a few characters: target and flags."""
    if not pte:
        return "none"
    if pte & 3 == 0 and not pte & 0xFFFF:
        return "table"
    folio = (
        session.ledger.folio(pte >> 16 << 4)
        if pte >> 16 << 4 < len(session.machine.memory.cells)
        else None
    )
    target = (
        f"{session.ledger.name_of(folio)}.{folio.index_of(pte >> 16 << 4)}"
        if folio
        else hex(pte >> 16)
    )
    return f"{target} {pte_letters(pte)}".rstrip()


def _bits(value: int, names: dict[int, str]) -> str:
    return "|".join(name for bit, name in sorted(names.items()) if value & bit) or "0"


def _plain(session: Session, value: Word) -> str:
    if isinstance(value, Folio):
        return session.ledger.name_of(value)
    if isinstance(value, tuple):
        return "(" + ", ".join(_plain(session, v) for v in value) + ")"
    return str(value)
