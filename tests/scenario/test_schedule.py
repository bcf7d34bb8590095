"""The lines that say whose turn it is: what they mean, how they are written, what is refused."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ScenarioError
from sandbox.scenario.complete import complete
from sandbox.scenario.language import CpuBlock, format_step, parse_lines
from sandbox.scenario.schedule import (
    COUNTED,
    HELP,
    Landmark,
    Turn,
    events_of,
    format_schedule,
    turns_of,
)

TWO = "cpu0: exit A\ncpu1: exit B\n"


def block(schedule: str, lines: str = TWO) -> CpuBlock:
    """The block of the lines with a schedule."""
    (step,) = parse_lines(lines + schedule, "file")
    assert isinstance(step, CpuBlock)
    return step


def test_turns_by_landmarks_and_by_events() -> None:
    text = "schedule cpu1 until store:2, cpu0 until before-_mm_id[0]:14, cpu0 12, cpu1 all"
    assert block(text).schedule == (
        Turn(1, None, Landmark("store", 2)),
        Turn(0, None, Landmark("_mm_id[0]", 14, True)),
        Turn(0, 12),
        Turn(1),
    )
    assert format_schedule(block(text).schedule) == text


@pytest.mark.parametrize(
    "written",
    ["schedule cpu0 2,cpu1 all", "schedule cpu0  2 , cpu1 all", "schedule cpu0 2 ,cpu1 all"],
)
def test_commas_stand_where_they_like(written: str) -> None:
    assert format_schedule(block(written).schedule) == "schedule cpu0 2, cpu1 all"


def test_runs_of_cpus_are_still_read_and_no_longer_written() -> None:
    old = block("schedule 0 0 1x3 0 1x0 0")
    assert events_of(old.schedule) == (0, 0, 1, 1, 1, 0, 0)
    assert format_step(old).endswith("\nschedule cpu0 2, cpu1 3, cpu0 2")
    assert block("schedule cpu0 2, cpu1 3, cpu0 2") == old


@given(st.lists(st.integers(0, 3), max_size=40))
def test_an_order_of_events_is_turns_and_back(order: list[int]) -> None:
    turns = turns_of(order)
    assert events_of(turns) == tuple(order)
    assert all(a.cpu != b.cpu for a, b in pairwise(turns))


_TURNS = st.tuples(st.integers(0, 1), st.none() | st.integers(1, 999)).map(
    lambda given: Turn(*given)
) | st.builds(
    lambda cpu, what, number, before: Turn(cpu, None, Landmark(what, number, before)),
    st.integers(0, 1),
    st.sampled_from(["store", "write_protect_seq", *COUNTED]),
    st.integers(1, 999),
    st.booleans(),
)


@given(st.lists(_TURNS, min_size=1, max_size=6))
def test_what_is_written_is_read_back(turns: list[Turn]) -> None:
    read = block(format_schedule(turns))
    assert read.schedule == tuple(turns)
    assert hash(read.schedule) == hash(tuple(turns))
    assert pickle.loads(pickle.dumps(read)) == read


def test_what_a_real_kernel_cannot_be_given_is_marked() -> None:
    assert block("schedule cpu0 until store:2, cpu1 until before-pte:1, cpu0 all").playable
    for text in ("cpu0 12", "0x12", "cpu0 until folio_try_dup_anon_rmap_pte:6"):
        assert not block(f"schedule {text}").playable


@pytest.mark.parametrize(
    ("schedule", "column", "part"),
    [
        ("schedule cpu2 all", 10, "'cpu2' is no CPU of this block"),
        ("schedule 2", 10, "'2' is no CPU of this block"),
        ("schedule 0 cpu1", 12, "'cpu1' is no CPU of this block"),
        ("schedule cpu0", 14, "until when is missing"),
        ("schedule cpu0 0", 15, "no number of events"),
        ("schedule cpu0 -1", 15, "no number of events"),
        ("schedule cpu0 0x12", 15, "no number of events"),
        ("schedule cpu0 all cpu1 all", 19, "a comma before it"),
        ("schedule cpu0 until", 20, "the landmark is missing"),
        ("schedule cpu0 until store", 21, "'store' is no landmark"),
        ("schedule cpu0 until store:0", 21, "'store:0' is no landmark"),
        ("schedule cpu0 until _mm_id[2]:1", 21, "did you mean '_mm_id["),
        ("schedule cpu0 until before-do_wp_page:1", 21, "'do_wp_page' is no word"),
        ("schedule cpu0 until before-_refcuont:1", 21, "did you mean '_refcount'"),
        ("schedule cpu0 until insn:7", 21, "no instructions"),
        ("schedule cpu0 until store:1, ", 28, "a turn is missing"),
        ("schedule , cpu0 all", 10, "a turn is missing"),
        ("schedule cpu0 all,, cpu1 all", 19, "a turn is missing"),
        ("schedule all", 10, "'all' is no CPU"),
        ("schedule cpu0 9999999", 15, "too long"),
    ],
)
def test_a_wrong_schedule_says_where_and_what(schedule: str, column: int, part: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        block(schedule)
    assert str(raised.value).startswith(f"file:3:{column}: ")
    assert part in str(raised.value)
    assert raised.value.expected


def test_what_the_documents_say_is_what_is_read() -> None:
    document = Path(__file__).parents[2] / "docs" / "schedules.md"
    text = document.read_text()
    (code, *_) = [part for part in text.split("\n\n") if part.startswith("    ")]
    steps = parse_lines("\n".join(line.strip() for line in code.splitlines()), "schedules.md")
    assert isinstance(steps[-1], CpuBlock)
    assert len(steps[-1].schedule) == 3
    assert all(f"`{word}`" in text for word in COUNTED)
    assert block(next(written for written, _ in HELP if written.startswith("schedule"))).schedule


def test_a_block_has_up_to_four_cpus_with_several_actions_each() -> None:
    lines = "cpu3: exit A\ncpu0: fork B C\ncpu3: exit D\ncpu0: exit C\n"
    read = block("schedule cpu3 all", lines)
    assert read.cpus == (0, 3)
    assert [action.text for action in read.of_cpu(0)] == ["fork B C", "exit C"]
    assert [action.text for action in read.of_cpu(3)] == ["exit A", "exit D"]
    assert parse_lines(format_step(read), "again") == [read]


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("schedule ", ["cpu0", "cpu3"]),
        ("schedule cpu0 ", ["until", "all"]),
        ("schedule cpu0 until st", ["store:"]),
        ("schedule cpu0 until before-_re", ["before-_refcount:"]),
        ("schedule cpu0 all, cpu", ["cpu1"]),
        ("schedule cpu0 until store:1 ", []),
    ],
)
def test_completion_knows_schedules(line: str, some: list[str]) -> None:
    found = complete(line, (), ())
    assert set(some) <= set(found)
    assert bool(found) == bool(some)
