"""A small machine as the guest and the plugins tell of it, for tests without QEMU."""

from __future__ import annotations

import json
import struct
from typing import Any

from rig.symbols import Layout, Symbols
from sandbox.scenario.language import Scenario, parse_scenarios

PAGE = 64
VMEMMAP, LINEAR = 0xFFFF_FE00_0000_0000, 0xFFFF_0000_0000_0000
FRAME = 0x45000
"""Of the first folio."""
REGION = 0x100000000
FOLIO = VMEMMAP + FRAME * PAGE
TABLE = LINEAR + 0x50000000
SYMBOLS = """\
ffff800000001000 T vmf_insert
ffff800000002000 T set_ptes
ffff800000003000 T folio_add_new_anon_rmap
ffff800000003080 t $x
ffff800000004000 T percpu_counter_add_batch
ffff800000005000 T handle_mm_fault
ffff800000006000 T __split_folio
ffff800000007000 T try_grab_folio_fast
ffff800000008000 t helper\t[xfs]
"""
FIELDS = {
    "flags": 0,
    "mapping": 24,
    "index": 32,
    "private": 40,
    "lru.next": 8,
    "lru.prev": 16,
    "_mapcount": 48,
    "_refcount": 52,
    "_large_mapcount": 64 + 16,
    "_entire_mapcount": 64 + 24,
    "_nr_pages_mapped": 64 + 20,
    "_pincount": 64 + 28,
    "_flags_1": 64,
    "deferred.next": 128 + 16,
    "deferred.prev": 128 + 24,
}
LAYOUT = Layout(
    zero=0x42000,
    linear=LINEAR,
    vmemmap=VMEMMAP,
    page=PAGE,
    fields=FIELDS,
    bits={"anon_exclusive": 17, "locked": 0, "uptodate": 3, "dirty": 4, "lru": 5, "head": 6},
    bits1={"partially_mapped": 9, "large_rmappable": 8},
)


def symbols() -> Symbols:
    return Symbols(SYMBOLS)


def one(text: str) -> Scenario:
    """The scenario of some lines."""
    (scenario,) = parse_scenarios(f"scenario x\n{text}\nend\n", "x.scn")
    return scenario


def folio(pfn: int = FRAME, **fields: object) -> dict[str, Any]:
    """A folio as the module says it."""
    base: dict[str, Any] = {
        "pfn": pfn, "order": 0, "ref": 1, "mapping": "anon", "index": REGION >> 12,
        "flags": ["uptodate", "lru", "swapbacked"], "mapcount": [[0, 1]],
        "exclusive": [[1, 1]], "data": [[2, 1]],
    }  # fmt: skip
    return base | fields


def process(ptes: list[list[Any]], anon: int, pid: int = 77, **fields: object) -> dict[str, Any]:
    """A process as the module says it; its own pages are 20 anonymous and 30 of files."""
    base: dict[str, Any] = {
        "pid": pid, "rss": {"file": 30, "anon": 20 + anon, "swap": 0, "shmem": 0},
        "has_pinned": 0, "pinned_vm": 0, "locked_vm": 0,
        "vmas": [[REGION, REGION + 0x2000, "20100073", REGION >> 12, 1]], "ptes": ptes,
    }  # fmt: skip
    return base | fields


def said(step: int, folios: list[dict[str, Any]], **processes: object) -> str:
    """The lines of a step."""
    head = {"step": step, "ret": 0, "us": 5, "out": processes.pop("out", "")}
    holds = processes.pop("holds", {})
    lines = [f"@S {json.dumps(head)}"]
    lines += [f"@P {name} {json.dumps(raw)}" for name, raw in processes.items()]
    lines.append(f"@F {json.dumps({'folios': folios, 'lost': 0, 'holds': holds})}")
    return "\n".join(lines) + "\n"


def record(kind: int, *words: int) -> bytes:
    """A record of the plugin `stores`."""
    whole = (kind | len(words) << 32, *(word % (1 << 64) for word in words))
    return struct.pack(f"<{len(whole)}Q", *whole)
