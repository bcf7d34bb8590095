"""Every verb on every kind of range: holes, several VMAs, past the last mapping, past the file.

What is expected was asked of 7.2.12 and 6.12.117: the errno, and the pages whose mapping or entry
changed, for a verb may have done a part when it fails.
"""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import UsageError
from sandbox.run.session import Session
from sandbox.scenario.language import VERBS, parse_lines
from tests.engine.support import act, broken, run, snapshot

KERNELS = ("6.12", "7.2")
RANGES = ("0 4", "2 7", "4 7", "5 12", "10 14", "13 15")
"""Inside, over a hole, from a hole on, over three VMAs, past the end, outside."""
ANON = """\
swap on
mmap A R 12p nohuge
write A R 0 12
dontfork A R 6 8
munmap A R 4 5
"""
WALKS = "0:0-3 -12:2-3,5-6 -12:5-6 0:5-11 -12:10-11 -12:"
"""Advice: every mapped part, and -ENOMEM at the end."""
STOPS = "0:0-3 -12:2-3 -12: 0:5-11 -12:10-11 -12:"
"""As far as the first hole."""
DIES = "0: -130:gone -130:gone 0: -130:gone -130:gone"
HOLDS = "0: 0: -14: 0: 0: -14:"
NEVER = "-22: -22: -22: -22: -22: -12:"
EXPECTED = {
    "mprotect A R {} r": STOPS,
    "mprotect A R {} -": STOPS,
    "mlock A R {}": STOPS,
    "munlock A R {}": "0: -12: -12: 0: -12: -12:",
    "munmap A R {}": "0:0-3 0:2-3,5-6 0:5-6 0:5-11 0:10-11 0:",
    "dontneed A R {}": WALKS,
    "free A R {}": WALKS,
    "cold A R {}": WALKS,
    "pageout A R {}": WALKS,
    "wipeonfork A R {}": WALKS,
    "dontfork A R {}": "0:0-3 -12:2-3,5 -12:5 0:5,8-11 -12:10-11 -12:",
    "dofork A R {}": "0: -12:6 -12:6 0:6-7 -12: -12:",
    "remove A R {}": NEVER,
    "collapse A R {}": NEVER,
    "softoffline A R {}": "0:0-3 -14:2-3 -14: 0:5-11 -14:10-11 -14:",
    "populate_read A R {}": "0: -12: -12: 0: -12: -12:",
    "populate_write A R {}": "0: -12: -12: 0: -12: -12:",
    "pin A R {} 1 w": HOLDS,
    "pin A R {} 1 -": HOLDS,
    "get A R {} 1 wf": HOLDS,
    "repeat A R {} 1 w": HOLDS,
    "read A R {}": DIES,
    "write A R {}": DIES,
    "split A R {}": "0: 0: 0: 0: 0: 0:",
    "uring A R {}": "0: -14: -14: 0: -14: -14:",
}
"""By verb: errno and changed pages for each range."""
BEYOND = ("4 8", "7 9")
"""Over the end of a file of 6 pages of which 5 are mapped, and behind it."""
FILE = """\
swap on
memfd M 6p
mmap A R 12p fd=M shared nomadv
write A R 0 5
"""
EXPECTED_OF_FILE = {
    "mprotect A R {} r": "0:4-7 0:7-8",
    "mlock A R {}": "-12:4-7 -12:7-8",
    "munlock A R {}": "0: 0:",
    "munmap A R {}": "0:4-7 0:7-8",
    "dontneed A R {}": "0:4 0:",
    "free A R {}": "-22: -22:",
    "cold A R {}": "0:4 0:",
    "pageout A R {}": "0:4 0:",
    "dontfork A R {}": "0:4-7 0:7-8",
    "wipeonfork A R {}": "-22: -22:",
    "remove A R {}": "0:4 0:",
    "softoffline A R {}": "-14:4-5 -14:",
    "populate_read A R {}": "-14:5 -14:",
    "populate_write A R {}": "-14:5 -14:",
    "pin A R {} 1 w": "0:5 -14:",
    "get A R {} 1 wf": "0:5 -14:",
    "repeat A R {} 1 w": "0: -14:",
    "read A R {}": "-130:gone -130:gone",
    "write A R {}": "-130:gone -130:gone",
    "poke A R {}": "-5:5 -5:",
    "uring A R {}": "-14:5 -14:",
    "mremap A R {} Q 0": "0:4-7 0:7-8",
}


def mapped(state: dict[str, Any]) -> dict[int, list[object]] | None:
    """By page of the region: protection and notes of its VMA, and its entry; None: no process."""
    if "A" not in state["procs"]:
        return None
    pages: dict[int, list[object]] = {}
    for region, start, end, prot, notes, _ in state["procs"]["A"]["vmas"]:
        if region == "R":
            pages.update({page: [prot, notes, None] for page in range(start, end)})
    for region, start, count, kind, folio, _, flags in state["procs"]["A"]["ptes"]:
        if region == "R":
            for page in range(start, start + count):
                pages[page][2] = (kind, None if kind == "swap" else folio, flags)
    return pages


def done(session: Session, line: str) -> str:
    """Do a line: its errno, and the pages that it changed."""
    before = mapped(session.state())
    act(session, line)
    result = session.result_of(session.steps[-1].number)
    after = mapped(session.state())
    assert before is not None
    assert result is not None
    if after is None:
        return f"{result.ret}:gone"
    pages = sorted(page for page in before | after if before.get(page) != after.get(page))
    runs: list[list[int]] = []
    for page in pages:
        if runs and runs[-1][1] == page - 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    spelled = ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
    return f"{result.ret}:{spelled}"


def outcomes(kernel: str, setting: str, verb: str, ranges: tuple[str, ...]) -> str:
    """What a verb does to each range, from the same state."""
    session = run(kernel, setting)
    start, found = session.position, []
    for pages in ranges:
        session.goto(start)
        found.append(done(session, verb.format(pages)))
        assert not broken(session), (verb, pages)
    return " ".join(found)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("verb", EXPECTED)
def test_anonymous_memory_with_a_hole(kernel: str, verb: str) -> None:
    assert outcomes(kernel, ANON, verb, RANGES) == EXPECTED[verb]


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [("6.12", "0: -5: -5: 0: -5: -5:"), ("7.2", "0: -5: -5: 0: -5: -5:")],
)
def test_a_poke_goes_page_by_page(kernel: str, expected: str) -> None:
    assert outcomes(kernel, ANON, "poke A R {}", RANGES) == expected


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("6.12", "0:0-3 -14: -14: -14: -14: -14:"),
        ("7.2", "0:0-3 0:2-3,5-6 -14: 0:5-11 0:10-11 -14:"),
    ],
)
def test_mremap_takes_several_mappings_since_6_17(kernel: str, expected: str) -> None:
    assert outcomes(kernel, ANON, "mremap A R {} Q 0", RANGES) == expected


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("verb", EXPECTED_OF_FILE)
def test_a_mapping_longer_than_its_file(kernel: str, verb: str) -> None:
    assert outcomes(kernel, FILE, verb, BEYOND) == EXPECTED_OF_FILE[verb]


@pytest.mark.parametrize(
    ("line", "held"),
    [
        ("pin A R 2 7 1 w", 2),
        ("get A R 5 14 1 -", 7),
        ("repeat A R 3 20 1 -", 17),
    ],
)
def test_what_came_before_the_hole_is_held(line: str, held: int) -> None:
    session = run("7.2", ANON + line)
    result = session.result_of(session.steps[-1].number)
    assert result is not None
    assert result.out == f'{{"held":{held}}}'
    act(session, "unpin 1")
    result = session.result_of(session.steps[-1].number)
    assert result is not None
    assert result.out == f'{{"released":{held}}}'


def test_who_dies_keeps_pins_and_what_was_written_before() -> None:
    session = run("7.2", "mmap A R 4p shared nomadv\nwrite A R 0 4\npin A R 0 1 1 w\nfork A B\n"
                  "munmap A R 2 4\nwrite A R 0 4\nread B R 0 4")  # fmt: skip
    state = session.state()
    assert list(state["procs"]) == ["B"]
    assert state["holds"]["1"]["pages"] == ["F1.0"]
    result = session.result_of(session.steps[-1].number)
    assert result is not None
    assert result.out == "6x2 2x2"
    assert not broken(session)


KERNEL_OF = {"reclaim": "lazyfree-batch", "exclusive": "lazyfree-batch", "device": "7.2-smmu"}
"""Verbs that 7.2 does not have."""


def lines_of(verb: str) -> list[str]:
    """The verb over each range, with something for its other words."""
    words = {"prot": "r", "id": "h", "flags": "w", "mode": "w", "to_region": "R", "to_page": "0",
             "with_proc": "A", "with_region": "R", "with_page": "0"}  # fmt: skip
    words["mode"] = {"uffd": "async", "uffdwp": "on"}.get(verb, "w")
    found = []
    for pages in RANGES:
        names = {"proc": "A", "region": "R", "start": pages.split()[0], "end": pages.split()[1]}
        params = [p.name for p in VERBS[verb].params if p.name in names | words]
        found.append(" ".join([verb, *((names | words)[name] for name in params)]))
    return found


@pytest.mark.parametrize(
    "verb", [name for name, verb in VERBS.items() if "end" in {p.name for p in verb.params}]
)
@pytest.mark.parametrize("setting", [ANON, FILE])
def test_a_range_is_answered_or_refused_before_anything_happens(verb: str, setting: str) -> None:
    session = run(KERNEL_OF.get(verb, "7.2"), setting)
    start, answered = session.position, 0
    for line in lines_of(verb):
        session.goto(start)
        before = snapshot(session)
        assert list(parse_lines(line, "<test>")), line
        try:
            act(session, line)
        except UsageError:
            assert snapshot(session) == before
        else:
            answered += 1
            assert not session.running
            assert not broken(session), line
    assert answered or VERBS[verb].group.name == "LABORATORY" or setting == FILE, verb
