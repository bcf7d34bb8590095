"""From the records of the plugin `stores` to the events of a log."""

from __future__ import annotations

import struct
from typing import Any

from rig import storelog
from rig.follow import Follower
from rig.naming import Naming
from rig.states import Names, Span
from sandbox.conform.logs import logged
from tests.rig.samples import (
    FIELDS,
    FOLIO,
    FRAME,
    LAYOUT,
    PAGE,
    REGION,
    TABLE,
    VMEMMAP,
    record,
    symbols,
)

KERNEL = 0xFFFF800000000000
INSERT, SET, RMAP = KERNEL + 0x1004, KERNEL + 0x2008, KERNEL + 0x3004
COUNT, SPLIT = KERNEL + 0x4000, KERNEL + 0x6004
PID = 77
COUNTER = 0xFFFF_0000_0001_0000
SHARED = 0xFFFF_0000_0002_0000
ENTRY = 0xE8000045000F43


def pair(low: int, high: int) -> int:
    """Two ints in their 8 bytes."""
    return struct.unpack("<Q", struct.pack("<ii", low, high))[0]


def begin(*ranges: tuple[int, int, int, int]) -> bytes:
    return record(storelog.ON, *(word for each in ranges for word in each))


def events(log: bytes, before: list[Span], after: list[Span]) -> list[dict[str, Any]]:
    (records,) = storelog.steps(log + record(storelog.OFF))
    _, hooks = storelog.hooks(symbols())
    found = Follower(symbols(), LAYOUT, hooks).events(records, before, after)
    names = Names(["R"], {})
    names.processes[PID] = "A"
    return Naming(names, before, after).events(found)


F1 = [Span(FRAME, FRAME + 1, "F1")]
FOLIO_RANGE = (FOLIO, PAGE, 0, FRAME)
TABLE_RANGE = (TABLE + 8, 8, REGION, PID)
COUNTERS = (COUNTER, 4, 1, -PID), (SHARED, 8, 17, -PID)


def store(pc: int, address: int, old: int, new: int, *callers: int) -> bytes:
    return record(storelog.STORE, pc, address, old, new, *callers, *[0] * (3 - len(callers)))


def test_a_log_is_cut_at_its_steps() -> None:
    log = store(SET, FOLIO, 1, 2) + begin() + record(storelog.OFF) + begin(FOLIO_RANGE)
    log += record(storelog.OFF) + begin() + store(SET, FOLIO, 1, 2)
    assert [len(step) for step in storelog.steps(log)] == [2, 2], "the last one never ended"
    assert list(storelog.steps(log[:-5])) == list(storelog.steps(log))
    assert list(storelog.ranges((COUNTER, 4, 1, 2**64 - PID))) == [
        storelog.Range(COUNTER, 4, 1, -PID)
    ]


def test_words_of_a_folio_have_their_names() -> None:
    at = FOLIO + FIELDS["_mapcount"]
    log = begin(FOLIO_RANGE)
    log += store(SET, at, pair(-1, 1), pair(0, 1), INSERT)
    log += store(SET, at, pair(0, 1), pair(0, 2))
    log += store(SET, FOLIO, 1 << 5, 1 << 5 | 1 << 17 | 1 << 4)
    log += store(SET, FOLIO + 8, 5, 6)  # a pointer of the LRU
    log += store(SET, FOLIO + PAGE + FIELDS["_mapcount"], 0, 5)  # of another page
    assert events(log, F1, F1) == [
        {"what": "_mapcount", "folio": "F1", "page": 0, "old": -1, "new": 0,
         "at": ["set_ptes", "vmf_insert"]},
        {"what": "_refcount", "folio": "F1", "page": 0, "old": 1, "new": 2, "at": ["set_ptes"]},
        {"what": "flags", "folio": "F1", "page": 0, "change": ["+dirty", "+anon_exclusive"],
         "at": ["set_ptes"]},
    ]  # fmt: skip


def test_entries_have_their_pages() -> None:
    log = begin(TABLE_RANGE)
    log += store(SET, TABLE + 8, 0, ENTRY)
    log += store(SET, TABLE + 8, ENTRY, 5 << 12 | 4)
    log += store(SET, TABLE + 16, 0, 0x42000 << 12 | 0x483)
    assert [(e["proc"], e["at_page"], e["old"], e["new"]) for e in events(log, F1, F1)] == [
        ("A", ["R", 0], None, ["F1.0", "wdy"]),
        ("A", ["R", 0], ["F1.0", "wdy"], ["swap.5", "e!"]),
        ("A", ["R", 1], None, ["zero.0", "oy"]),
    ]


def test_pmd_entries_are_followed() -> None:
    """The prototype did not log them."""
    log = begin((TABLE, 0, REGION | 1, PID))
    log += store(SET, TABLE, 0, 3 | 0x46000 << 12)
    log += store(SET, TABLE + 8, 0, ENTRY & ~2 | 1)
    found = events(log, F1, F1)
    assert [(e["what"], e["proc"], e["at_page"]) for e in found] == [
        ("pmd", "A", ["R", 0]),
        ("pmd", "A", ["R", 512]),
    ]
    assert found[0]["new"] == ["table", ""]
    assert found[1]["new"][0] == "F1.0"
    assert logged(found) == [], "the comparison knows no PMD entries"


def test_a_table_that_is_dropped_is_not_followed() -> None:
    log = begin(TABLE_RANGE) + record(storelog.DROPPED, TABLE) + store(SET, TABLE + 8, 0, ENTRY)
    assert events(log, F1, F1) == []


def test_rss_is_the_amount_where_a_part_is_folded() -> None:
    log = begin(*COUNTERS) + record(storelog.CONTENT, COUNTER, 0)
    log += store(COUNT, COUNTER, 0, pair(30, 0))
    log += store(COUNT, SHARED, 100, 100 + 30 + 16)  # the CPU's 30 go there, with 16 more
    log += store(COUNT, COUNTER, pair(30, 0), 0)
    log += store(COUNT, COUNTER, 0, pair(-2, 0))
    log += store(COUNT, SHARED, 146, 146 - 2 - 40)
    assert [e["add"] for e in events(log, F1, F1)] == [30, 16, -2, -40]
    assert {(e["proc"], e["member"]) for e in events(log, F1, F1)} == {("A", "anon")}


def test_a_process_is_not_charged_for_its_own_pages() -> None:
    _, hooks = storelog.hooks(symbols())
    fault = hooks.index("handle_mm_fault")
    handler = 0xFFFF800000005004
    log = begin(*COUNTERS) + record(storelog.CONTENT, COUNTER, 0)
    log += record(storelog.CALL, fault, 0, 0x7FFF0000, 0, 0, 0, 0, 0, 0, 0)
    log += store(COUNT, COUNTER, 0, pair(1, 0), handler)
    log += record(storelog.CALL, fault, 0, REGION, 0, 0, 0, 0, 0, 0, 0)
    log += store(COUNT, COUNTER, pair(1, 0), pair(2, 0), handler)
    assert len(events(log, F1, F1)) == 1


def test_a_new_folio_is_followed_from_its_rmap_on() -> None:
    _, hooks = storelog.hooks(symbols())
    rmap = hooks.index("folio_add_new_anon_rmap")
    late = [Span(FRAME, FRAME + 1, "F1")]
    log = begin() + store(INSERT, FOLIO + 48, pair(-1, 0), pair(-1, 1))
    log += record(storelog.CALL, rmap, FOLIO, 0, REGION, 0, 0, 0, INSERT, 0, 0)
    log += record(storelog.CONTENT, FOLIO, *[0] * 16)
    log += store(RMAP, FOLIO + 48, pair(-1, 1), pair(0, 1))
    known = [Span(FRAME, FRAME + 1, "F0")]
    found = events(log, [], late)
    assert [e["what"] for e in found][-2:] == ["call", "_mapcount"]
    assert found[-2]["at_page"] == ["R", 0]
    assert [e["folio"] for e in events(log, known, late)] == ["F0", "F0"]


def test_parts_of_a_split_keep_the_folio_of_before() -> None:
    large = [Span(FRAME, FRAME + 4, "F1")]
    parts = [Span(FRAME + n, FRAME + n + 1, f"F{n + 1}") for n in range(4)]
    log = begin((FOLIO, 4 * PAGE, 0, FRAME))
    log += store(SPLIT, FOLIO + 2 * PAGE + 48, pair(-1, 0), pair(-1, 1))
    (event,) = events(log, large, parts)
    assert (event["folio"], event["page"], event["what"]) == ("F1", 2, "_refcount")
    assert VMEMMAP + FRAME * PAGE == FOLIO
