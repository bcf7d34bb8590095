"""What a key costs does not grow with what was done, and going forth and back keeps nothing.

Calls of functions are counted, not milliseconds: by a fixed rule, a frame after thousands of
actions makes at most one and a half times the calls of one after twenty.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mmtui import collector
from mmtui.commands.registry import COMMANDS, completions
from mmtui.model.bench import Bench
from mmtui.model.script import empty_source, open_source
from mmtui.views import status
from mmtui.views.marks import marks_of
from mmtui.views.panes import PANES, document
from mmtui.widgets.bars import key_line
from sandbox.errors import SandboxError
from sandbox.run.long_move import LongMove
from sandbox.scenario.language import parse_action

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 58, 14
SMALL = ("mmap A R 16K nohuge", "touch A R 0 4 w")
BLOCK = "cpu0: write A R 0 1\ncpu1: read A R 3 4"
Lines = Callable[[int], tuple[str, ...]]

KINDS: dict[str, tuple[str, int, Lines]] = {
    "writes": ("7.2", 1200, lambda i: (f"write A R {i % 4} {i % 4 + 1}",)),
    "processes": ("7.2", 300, lambda i: (f"fork A B{i}", f"exit B{i}")),
    "folios": ("7.2", 300, lambda _: ("dontneed A R 0 1", "write A R 0 1")),
    "blocks": ("7.2", 300, lambda i: (BLOCK, f"read A R {i % 4} 4")),
    "refused": ("7.2", 300, lambda _: ("unpin 9", "write A R 1 2")),
    "broken": ("ryan-v2", 400, lambda _: ("fork A B", "exit B")),
}  # fmt: skip
"""By name: the kernel, how many actions are many, and the actions."""


def lines_of(kind: str, count: int) -> list[str]:
    start = ("mthp 16K madvise", "mmap A R 16K", "touch A R 0 4 w") if kind == "broken" else SMALL
    found: list[str] = []
    for number in range(count):
        found += KINDS[kind][2](number)
        if len(found) >= count:
            break
    return [*start, *found, "write A R 0 3", "fork A C", "write C R 0 2"]


def told(bench: Bench, left: int) -> Bench:
    """Do all but the last few actions of the script, whatever is refused."""
    last = len(bench.script.items) - left
    while bench.next_item is not None and bench.next_item < last:
        try:
            bench.step_action(last - bench.next_item)
        except SandboxError:
            continue
    return bench


def scenario(tmp_path: Path, lines: list[str]) -> str:
    file = tmp_path / f"{len(lines)}.scn"
    file.write_text("\n".join(["scenario many", *lines, "end", ""]))
    return str(file)


def preset(tmp_path: Path, lines: list[str]) -> str:
    """A story whose one step has all the actions, and expectations about them."""
    head = '+++\ntitle = "Many"\nkernels = ["7.2"]\ntags = ["x"]\nsummary = "Many actions."\n+++\n'
    text = "\n".join(lines)
    file = tmp_path / f"{len(lines)}.md"
    file.write_text(f"{head}\nProse.\n\n```mm\n{text}\n```\n\n```expect\nA.rss.anon = 4\n```\n")
    return str(file)


def draw(bench: Bench) -> None:
    """Make what a frame shows: the visible lines of every pane, and the bars."""
    marks = marks_of(bench)
    for name in PANES:
        doc = document(name, bench, marks, WIDTH, HEIGHT)
        top = max(0, min(doc.height - HEIGHT, (doc.focus or 0) - HEIGHT // 2))
        for y in range(top, min(top + HEIGHT, doc.height)):
            doc.line(y)
    status.render(status.view(bench), 120)
    status.news(bench)
    key_line(COMMANDS.values(), bench, 120)


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, those written in C included."""
    count = 0

    def called(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def cost_of(bench: Bench, move: Callable[[], object]) -> int:
    """Calls of a move with the frame that it brings."""

    def press() -> None:
        LongMove(bench.session)
        with suppress(SandboxError):  # the end of the story
            move()
        draw(bench)

    return calls_of(press)


def cost_of_moves(bench: Bench) -> dict[str, int]:
    """Calls of each kind of move with the frame that it brings; they end where they begin."""
    moves: dict[str, Callable[[], object]] = {
        "s": bench.step_event,
        "S": bench.back_event,
        "n": bench.step_action,
        "N": bench.back_action,
        "]": bench.step_story,
        "[": bench.back_story,
        "goto": lambda: bench.goto(bench.session.position + 2),
        "N from within": bench.back_action,
        "N before": bench.back_action,
        "n again": bench.step_action,
        "j": lambda: None,
        ":": lambda: completions("write A", bench, []),
    }

    bench.step_action()
    bench.back_action()
    draw(bench)  # what a first frame makes is not counted
    return {name: cost_of(bench, move) for name, move in moves.items()}


def assert_level(few: dict[str, int], many: dict[str, int]) -> None:
    grown = {name: (few[name], many[name]) for name in few if many[name] > 1.5 * few[name]}
    assert not grown


def elsewhere(name: str, *args: str) -> Any:  # noqa: ANN401  # what JSON has
    """Measure in an interpreter of its own, where no thread of another test is counted."""
    code = (
        f"import json; from tests.tui import test_cost as t; print(json.dumps(t.{name}(*{args})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT
    )
    return json.loads(done.stdout)


def of_kind(kind: str, folder: str) -> list[dict[str, int]]:
    """The costs after few actions of a kind and after many."""
    kernel, many, _ = KINDS[kind]
    benches = [
        told(Bench(open_source(scenario(Path(folder), lines_of(kind, count))), kernel), 2)
        for count in (20, many)
    ]
    if kind == "broken":
        assert len(benches[1].session.rules.violations) > 400
    return [cost_of_moves(bench) for bench in benches]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_costs_the_same_after_many_actions(kind: str, tmp_path: Path) -> None:
    assert_level(*elsewhere("of_kind", kind, str(tmp_path)))


def of_one_step(folder: str) -> list[list[int]]:
    """The costs within a story step of few actions and of many."""
    found = []
    for count in (20, 800):
        bench = told(Bench(open_source(preset(Path(folder), lines_of("writes", count)))), 2)
        bench.step_event()
        draw(bench)
        found.append([cost_of(bench, move) for move in (bench.step_event, bench.back_event)])
    return found


def test_a_key_costs_the_same_in_a_story_step_of_many_actions(tmp_path: Path) -> None:
    few, many = elsewhere("of_one_step", str(tmp_path))
    assert all(b <= 1.5 * a for a, b in zip(few, many, strict=True))


def of_ones_own() -> list[dict[str, int]]:
    """The costs after few actions of one's own and after many."""
    found = []
    for count in (20, 800):
        bench = Bench(empty_source(), "7.2")
        for line in (*SMALL, *("write A R 0 1",) * count, "write A R 1 4", "fork A C"):
            bench.act(parse_action(line))
        bench.back_action(2)
        found.append(cost_of_moves(bench))
    return found


def test_a_key_costs_the_same_after_many_actions_of_ones_own() -> None:
    assert_level(*elsewhere("of_ones_own"))


# -- memory ------------------------------------------------------------------------------


@pytest.fixture
def thawed() -> Iterator[None]:
    """Leave nothing kept from the collector to other tests."""
    yield
    gc.unfreeze()


class Ring:
    """Garbage as a screen leaves it: only the collector can free it."""

    def __init__(self) -> None:
        self.me = self


def test_what_is_kept_from_the_collector_is_looked_through_in_time(thawed: None) -> None:
    ring = Ring()
    gone = weakref.ref(ring)
    collector.keep_history(collector._LONG, 10)
    del ring
    gc.collect()
    assert gone() is not None  # it was kept
    for _ in range(-(-collector._LEAST // collector._LONG)):
        collector.keep_history(collector._LONG, 10)
    assert gone() is None


def test_going_forth_and_back_keeps_nothing() -> None:
    bench = Bench(open_source("seed-pin-middle"), "ryan-v2")

    def trip() -> int:
        bench.run_to_end()
        draw(bench)
        bench.goto(0)
        draw(bench)
        gc.collect()
        return len(gc.get_objects())

    trip()
    first = trip()
    assert max(trip() for _ in range(3)) <= first + 50
