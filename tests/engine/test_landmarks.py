"""Schedules by landmarks: where a turn ends, and what real kernels came to under the same ones.

`landmarks.json` has outcomes of two calls on two CPUs of real kernels (6.12.117 and 7.2.12) that
were stopped at the same landmarks: entries of every page, and counters of every folio.  Where the
kernel counts stores that the model does not have (PG_active and PG_referenced of the multi-gen
LRU), `schedule` is the same place by the model's count, `recorded` what the kernel was given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import UsageError
from sandbox.machine.frames import calls_of
from sandbox.run.session import Session
from sandbox.scenario.language import CpuBlock, parse_lines
from sandbox.scenario.schedule import COUNTED
from tests.engine.support import act, begin, run, snapshot

RECORDED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("landmarks.json").read_text())
FIELDS = ("order", "refcount", "large_mapcount", "pincount")

PAIR = "mthp 16K madvise\nmmap A R 16K\nwrite A R 0 4"
FORK_PIN = "cpu0: fork A B\ncpu1: pin A R 1 2 1 w\n"


def outcome(row: dict[str, Any]) -> dict[str, Any]:
    """The end of a block as the recordings have it, with the folios of before named as such."""
    session = run(row["kernel"], "\n".join(row["before"]))
    names = {folio: f"f{at}" for at, folio in enumerate(_mapped(session), 1)}
    act(session, f"cpu0: {row['cpu0']}\ncpu1: {row['cpu1']}\nschedule {row['schedule']}")
    state = session.state()
    fresh = [f for f in (*_mapped(session), *state["folios"]) if f not in names]
    names |= {folio: f"n{at}" for at, folio in enumerate(dict.fromkeys(fresh), 1)}
    out: dict[str, Any] = {}
    for proc, tables in state["procs"].items():
        for region, first, count, kind, folio, page, flags in tables["ptes"]:
            for at in range(count):
                where = f"{names.get(folio, folio)}.{page + at if kind != 'swap' else 0}"
                out[f"{proc}.{region}[{first + at}]"] = f"{kind} {where} {flags}"
    for folio, words in state["folios"].items():
        out |= {f"{names[folio]}.{key}": words[key] for key in FIELDS if key in words}
        for key in ("mapcount", "exclusive"):
            if key in words:
                each = [str(value) for value, count in words[key] for _ in range(count)]
                out[f"{names[folio]}.{key}"] = " ".join(each)
    return out


def _mapped(session: Session) -> list[str]:
    """Folios in the order in which the page tables of the processes have them."""
    procs = sorted(session.state()["procs"].items())
    entries = [entry for _, tables in procs for entry in sorted(tables["ptes"], key=str)]
    return list(dict.fromkeys(e[4] for e in entries if e[3] == "present" and e[4]))


@pytest.mark.parametrize(
    "row", RECORDED, ids=lambda row: f"{row['kernel']} {row['cpu0']} | {row['cpu1']}"
)
def test_a_real_kernel_came_to_the_same_under_the_same_schedule(row: dict[str, Any]) -> None:
    assert outcome(row) == row["state"]


# -- where a turn ends ---------------------------------------------------------------------


def stopped(schedule: str, lines: str = FORK_PIN, setup: str = PAIR) -> Session:
    """A session in the middle of a block, where the turns of a schedule end."""
    from sandbox.run.scheduling import play

    session = run("7.2", setup)
    begin(session, lines)
    (block,) = parse_lines(f"{lines}schedule {schedule}", "<test>")
    assert isinstance(block, CpuBlock)
    play(session, block.schedule)
    return session


def changes(session: Session, cpu: int, word: str | None = None) -> int:
    """Events of the last block on a CPU that changed a watched word, by the log."""
    start = session.starts[-1]
    return sum(
        e["cpu"] == cpu
        and e.get("old") != e.get("new")
        and (e["field"] == word if word else e["field"] in COUNTED)
        and (e["field"] != "flags" or e["object"][0] == "F")
        for e in session.event_log(start)
        if "new" in e
    )


@pytest.mark.parametrize("number", range(1, 9))
def test_a_turn_ends_right_after_the_store_and_right_before_it(number: int) -> None:
    after, before = (
        stopped(f"cpu0 until store:{number}"),
        stopped(f"cpu0 until before-store:{number}"),
    )
    assert changes(after, 0) == number
    last = next(iter(after.event_log(after.position - 1)))
    assert last["old"] != last["new"]
    assert before.position == after.position - 1
    assert changes(before, 0) == number - 1


@pytest.mark.parametrize("word", ["_mapcount", "write_protect_seq", "pte"])
def test_one_word_is_counted_by_its_name(word: str) -> None:
    session = stopped(f"cpu0 until {word}:2")
    assert changes(session, 0, word) == 2
    assert next(iter(session.event_log(session.position - 1)))["field"] == word


def test_a_turn_counts_from_its_beginning() -> None:
    one, two = stopped("cpu0 until store:7"), stopped("cpu0 until store:3, cpu0 until store:4")
    assert snapshot(one) == snapshot(two)
    before = stopped("cpu0 until before-store:3, cpu0 until store:1")
    assert snapshot(before) == snapshot(stopped("cpu0 until store:3"))
    # one who stands right before a store goes on to the next
    twice = stopped("cpu0 until before-store:3, cpu0 until before-store:1")
    assert snapshot(twice) == snapshot(stopped("cpu0 until before-store:4"))


def test_a_turn_ends_where_a_function_is_entered() -> None:
    name = "folio_try_dup_anon_rmap_ptes"
    session = stopped("cpu0 until copy_present_ptes:1")
    functions = [frame.function for frame in session.stack(0)]
    assert "copy_present_ptes" in functions
    third = stopped("cpu0 until ptep_get:3")
    task = third.machine.running[0]
    assert task is not None
    (gen,) = [g for g in calls_of(third.machine.live(task)) if g.gi_code.co_name == "ptep_get"]
    assert third.machine.called_at(task) == third.position - 1
    assert gen.gi_frame is not None
    with pytest.raises(UsageError, match=f"without {name}:99: [0-9]+ of 99 calls"):
        stopped(f"cpu0 until {name}:99")


def test_a_number_of_events_and_all() -> None:
    session = stopped("cpu1 3, cpu0 5, cpu1 all")
    start = session.starts[-1]
    cpus = list(session.machine.cpus[start:])
    assert cpus[:8] == [1, 1, 1, 0, 0, 0, 0, 0]
    assert set(cpus[8:]) == {1}
    assert session.machine.running[1] is None
    assert session.machine.running[0] is not None


def test_a_turn_goes_over_from_one_action_of_its_cpu_to_the_next() -> None:
    lines = "cpu0: read A R 0 1\ncpu0: write A R 0 1\ncpu0: dontneed A R 0 1\ncpu1: read A R 1 2\n"
    session = stopped("cpu0 until _refcount:1, cpu1 all", lines)
    (task,) = session.running
    assert task.name == "dontneed A R 0 1"
    assert session.machine.running[1] is None


def test_a_cpu_that_must_wait_yields() -> None:
    lines = "cpu0: munmap A R 0 1\ncpu1: mmap A S 16K\n"
    session = stopped("cpu0 40, cpu1 until store:50, cpu0 3", lines)
    assert session.machine.blocked(1) is not None
    assert session.machine.cpus[-1] == 0
    session.finish()
    assert not session.running


@pytest.mark.parametrize(
    ("schedule", "column", "part"),
    [
        ("cpu1 all, cpu0 until store:999", 20, "cpu0 comes to its end without store:999: "),
        (
            "cpu1 until before-_pincount:3",
            10,
            "cpu1 comes to its end without before-_pincount:3: 1 of",
        ),
        ("cpu1 all, cpu1 until store:1", 20, "0 of 1"),
        ("cpu0 until copy_present_pte:1", 10, "did you mean 'copy_present_pte"),
        ("cpu0 until kernel_panic:1", 10, "kernel 7.2 has no function kernel_panic"),
    ],
)
def test_a_landmark_that_is_not_reached_refuses_the_block(
    schedule: str, column: int, part: str
) -> None:
    session = run("7.2", PAIR)
    before = snapshot(session)
    with pytest.raises(UsageError) as raised:
        act(session, FORK_PIN + "schedule " + schedule)
    assert part in str(raised.value)
    assert str(raised.value).startswith(f"<test>:3:{column}: ")
    assert raised.value.expected
    assert snapshot(session) == before
    assert not session.machine.branches
    act(session, FORK_PIN)
