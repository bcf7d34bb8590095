"""From a scenario to what the guest plays, and what is refused with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.errors import UnplayableError
from rig.guest import MAX_HOLDS, REGION_PAGES, translate
from sandbox.scenario.verbs import VERBS, Group
from tests.rig.samples import one


def lines(text: str) -> list[str]:
    return list(translate(one(text)).lines)


@pytest.mark.parametrize(
    ("line", "played"),
    [
        ("mmap A R 64K", "mmap A R 16p"),
        ("mmap A R 1G at=3 ro shared", None),
        ("mmap A R 4p at=3 ro fd=F pgoff=2 nohuge", "mmap A R 4p at=3 ro fd=F pgoff=2 nohuge"),
        ("mthp 2M madvise", "mthp 512p madvise"),
        ("split A R 0 16", "split A R 0 16"),
        ("split A R 0 16 2", "split A R 0 16 2"),
        ("mremap A R 0 4 Q 1 dontunmap", "mremap A R 0 4 Q 1 dontunmap"),
        ("pin A R 0 1 7 fl", "pin A R 0 1 7 lf"),
        ("pin A R 0 1 buffer -", "pin A R 0 1 1000000 -"),
        ("traced write A R 0 4", "write A R 0 4"),
        ("quiet", "nop"),
        ("file F 64K /x/f 4K", "file F 16p /x/f 1p"),
    ],
)
def test_a_line_becomes_what_the_guest_reads(line: str, played: str | None) -> None:
    if played is None:
        with pytest.raises(UnplayableError, match="beyond a region"):
            lines(line)
    else:
        assert lines(line) == [played]


def test_ids_of_holds_come_back() -> None:
    guest = translate(one("pin A R 0 1 x w\npin A R 0 1 3 w\nunpin x"))
    assert guest.holds == {1_000_000: "x", 3: "3"}
    assert guest.lines[-1] == "unpin 1000000"


def test_regions_are_in_the_order_of_their_addresses() -> None:
    text = "mmap A S 4p\nwrite A S 0 1\nmremap A S 0 1 Q 0\nmmap A R 4p\nmmap B S 1p"
    assert translate(one(text)).regions == ("S", "Q", "R")


@pytest.mark.parametrize(
    ("marked", "stores", "traced"),
    [
        (True, True, (False, True)),
        (True, False, (False, False)),
        (False, True, (True, True)),
        (False, False, (False, False)),
    ],
)
def test_marked_actions_are_traced_or_all(
    marked: bool, stores: bool, traced: tuple[bool, ...]
) -> None:
    guest = translate(one(f"mmap A R 4p\n{'traced ' * marked}write A R 0 1"), stores=stores)
    assert guest.traced == traced
    assert guest.text.count("traced ") == sum(traced)
    assert guest.text.startswith("scenario x\n")
    assert guest.text.endswith("end\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mmap A R 4p\nfold A R 0 4", "'fold'"),
        ("mmap A R 4p\nexec A S", "'exec'"),
        ("mmap A R 4p\nmmap ABCDEFGHIJKLMNOP R 4p", "too long a name"),
        ("mmap A R 4p\nwrite A R 0 8193", "page 8192 is beyond"),
        ("mmap A R 4p\nfile F 8M /x/f", "at most 4M"),
        ("mmap A R 4p\ncpu0: write A R 0 1\ncpu1: fork A B", "`mmtui race`"),
    ],
)
def test_what_the_guest_cannot_play_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(UnplayableError) as refused:
        translate(one(text))
    assert words in str(refused.value)
    assert str(refused.value).startswith("x.scn:3:1: ")
    assert "; expected " in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n".join(f"mmap P{n} R 1p" for n in range(13)), "too many processes"),
        ("\n".join(f"mmap A R{n} 1p" for n in range(13)), "too many regions"),
        ("\n".join(f"memfd F{n} 4K" for n in range(17)), "too many files"),
        ("\n".join(f"pin A R 0 1 {n} w" for n in range(MAX_HOLDS + 1)), "too many holds"),
    ],
)
def test_the_guest_has_limits(text: str, words: str) -> None:
    with pytest.raises(UnplayableError, match=words):
        translate(one(text))
    assert translate(one(text.rpartition("\n")[0]))  # one less


def test_holds_that_were_given_back_do_not_count() -> None:
    text = "".join(f"pin A R 0 1 {n} w\nunpin {n}\n" for n in range(MAX_HOLDS + 9))
    assert len(translate(one(text)).lines) == 2 * (MAX_HOLDS + 9)


def test_a_race_is_one_line() -> None:
    text = "mmap A R 4p\ncpu1: pin A R 0 1 b w\ncpu0: fork A B\nwrite A R 0 1"
    guest = translate(one(text), races={1: 7})
    assert guest.lines[1] == "race 7 | fork A B | pin A R 0 1 1000000 w"


def test_a_cpu_of_a_race_does_its_actions_one_after_the_other() -> None:
    text = "mmap A R 4p\ncpu0: write A R 0 1\ncpu1: split A R 0 4\ncpu0: fork A B\ncpu1: unpin 1"
    guest = translate(one(text), races={1: 2})
    assert guest.lines[1] == "race 2 | write A R 0 1 ; fork A B | split A R 0 4 ; unpin 1"


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("cpu0: write A R 0 1", "two CPUs"),
        ("cpu0: fork A B\ncpu0: exit B\ncpu1: write A R 0 1", "of B's follows an action of A's"),
        ("cpu0: write A R 0 1\ncpu0: split A R 0 4\ncpu1: fork A B", "'split' follows an action"),
        ("cpu1: fork A B\n" + 9 * "cpu0: write A R 0 1\n", "9 actions of one CPU"),
        (
            "cpu1: fork A B\n" + 8 * f"cpu0: mremap A R 8190 8191 {15 * 'Q'} 8190 dontunmap\n",
            "a block of",
        ),
        ("cpu0: fork A B\ncpu2: write A R 0 1", "two CPUs"),
        ("cpu0: fork A B\ncpu1: swap on", "'swap' cannot be raced"),
    ],
)
def test_blocks_that_cannot_be_raced_are_refused(block: str, words: str) -> None:
    with pytest.raises(UnplayableError, match=words):
        translate(one(f"mmap A R 4p\n{block}"), races={1: 1})


def test_no_laboratory_verb_is_played() -> None:
    for verb in VERBS.values():
        if verb.group is Group.LABORATORY:
            words = {"P": "A", "R": "R", "Q": "R", "O": "A", "a": "0", "b": "1", "PAGE": "0"}
            words |= {"w|r": "w"}
            line = " ".join([verb.name, *(words[p.kind.label] for p in verb.params)])
            with pytest.raises(UnplayableError, match=f"'{verb.name}'"):
                translate(one(line))


@given(st.integers(0, REGION_PAGES - 1), st.integers(1, 512))
def test_ranges_stay_what_they_are(start: int, count: int) -> None:
    end = start + count
    text = f"mmap A R 4p\nread A R {start} {end}"
    if end > REGION_PAGES:
        with pytest.raises(UnplayableError):
            translate(one(text))
    else:
        assert lines(text)[1] == f"read A R {start} {end}"
