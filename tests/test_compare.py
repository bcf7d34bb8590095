"""Two kernels beside each other: where they part, in what, at which cost; and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtui.exit_codes import ExitCode
from sandbox.compare.align import align
from sandbox.compare.runs import Comparison, compare_runs
from sandbox.errors import SandboxError
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import parse_scenarios
from sandbox.truth.events import describe_events

FORK = """scenario s
mthp 64K madvise
mmap A R 64K
touch A R 0 16 w
fork A B
write B R 3 4
exit B
end
"""
Mmtui = Callable[..., tuple[int, str, str]]


def compared(left: str, right: str, text: str = FORK) -> Comparison:
    scenario = parse_scenarios(text, "s.scn")[0]
    return compare_runs((ScenarioRun(left), scenario), (ScenarioRun(right), scenario))


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(0, 3), max_size=60))
def test_aligning_leaves_nothing_out_and_pairs_what_is_alike(
    left: list[int], right: list[int]
) -> None:
    pairs = list(align(left, right))
    assert [pair.left for pair in pairs if pair.left is not None] == list(range(len(left)))
    assert [pair.right for pair in pairs if pair.right is not None] == list(range(len(right)))
    for pair in pairs:
        assert pair.left is not None or pair.right is not None
        if pair.left is not None and pair.right is not None:
            assert left[pair.left] == right[pair.right]


@given(st.lists(st.integers(0, 9), max_size=200), st.data())
def test_what_was_put_in_is_what_stands_alone(items: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(items)))
    more = [10, 11, 12][: data.draw(st.integers(1, 3))]
    pairs = list(align(items, [*items[:at], *more, *items[at:]]))
    assert [pair.right for pair in pairs if pair.left is None] == [at + n for n in range(len(more))]


@pytest.mark.parametrize("kernel", ["6.6", "6.9", "7.2", "ryan-v2", "barry-entire"])
def test_a_kernel_is_the_same_as_itself(kernel: str) -> None:
    found = compared(kernel, kernel)
    assert found.same
    assert found.only == ([], [])
    assert found.cost(0) == found.cost(1)
    assert found.cost(0).entries >= 16


def test_the_first_difference_is_a_store_of_a_kernel_function() -> None:
    found = compared("6.9", "ryan-v2")
    first = found.first
    assert first is not None
    assert first.first is not None
    assert first.left is not None
    assert first.right is not None
    for side, played, change in (
        (0, first.left, first.first.left), (1, first.right, first.first.right)
    ):  # fmt: skip
        assert change is not None
        assert played.start <= change.n < played.end
        session = found.runs[side].session
        assert found.place(side, change) == next(describe_events(session, change.n, change.n + 1))
    alike = first.first.at
    assert [c.same for c in first.left.changes[:alike]] == [
        c.same for c in first.right.changes[:alike]
    ]
    assert first.left.changes[alike].same != first.right.changes[alike].same


def test_words_of_one_release_are_told_and_not_compared() -> None:
    found = compared("6.12", "7.2")
    assert not found.only[0]
    assert "mm_id" in found.only[1]
    for pair in found.steps:
        assert not any(cell.field.startswith("mm_ids") for cell in pair.cells)


def test_states_that_part_are_told_cell_by_cell() -> None:
    found = compared("6.6", "6.9")
    cells = {(cell.object, cell.field) for cell in found.steps[2].cells}
    assert ("A", "R[5]") in cells  # of its own folio on 6.6, of the large one on 6.9
    assert found.end


def test_an_action_that_both_refuse_is_an_error_and_of_one_a_difference() -> None:
    with pytest.raises(SandboxError, match=r"s\.scn:2"):
        compared("7.2", "7.3", "scenario s\nfork A A\nend\n")


def test_the_command_says_where_and_its_status_is_that_of_diff(
    mmtui: Mmtui, tmp_path: Path
) -> None:
    file = tmp_path / "s.scn"
    file.write_text(FORK)
    status, out, err = mmtui("compare", str(file), "-k", "7.2", "-k", "7.3")
    assert (status, err) == (ExitCode.OK, "")
    assert "the same changes in the same order" in out
    status, out, _err = mmtui("compare", str(file), "-k", "6.9", "-k", "ryan-v2")
    assert status == ExitCode.FAILED
    assert max(map(len, out.splitlines())) <= 72
    assert "(sandbox/mm/rmap.py:" in out
    status, out, _err = mmtui("compare", str(file), "-k", "6.9", "-k", "ryan-v2", "--step", "1")
    assert status == ExitCode.OK


def test_events_are_aligned(mmtui: Mmtui, tmp_path: Path) -> None:
    file = tmp_path / "s.scn"
    file.write_text(FORK)
    _, out, _ = mmtui("compare", str(file), "-k", "6.9", "-k", "ryan-v2", "--step=4", "--events")
    _, _, events = out.partition("-- 6.9 < > ryan-v2: fork A B\n")
    lines = [line for line in events.splitlines() if not line.startswith("    ")]
    assert {line[0] for line in lines} == {" ", "<", ">"}
    found = compared("6.9", "ryan-v2").steps[3]
    assert found.left is not None
    assert found.right is not None
    assert sum(line[0] != ">" for line in lines) == found.left.end - found.left.start
    assert sum(line[0] != "<" for line in lines) == found.right.end - found.right.start


def test_json_has_all_of_it(mmtui: Mmtui) -> None:
    status, out, _ = mmtui("compare", "3", "--json")
    found = json.loads(out)
    assert status == ExitCode.FAILED
    assert found["kernels"] == ["ryan-v2", "ryan-v3"]
    parted = next(step for step in found["steps"] if not step["same"])
    assert {place["function"] for place in parted["first"]}
    assert found["cost"][0]["atomics"] > found["cost"][1]["atomics"]


@pytest.mark.parametrize("kernels", [["7.2"], ["7.2", "7.2"], ["7.2", "7.3", "6.9"]])
def test_anything_but_two_kernels_is_refused(
    mmtui: Mmtui, tmp_path: Path, kernels: list[str]
) -> None:
    file = tmp_path / "s.scn"
    file.write_text(FORK)
    status, _, err = mmtui("compare", str(file), *(f"-k{kernel}" for kernel in kernels))
    assert status == ExitCode.USAGE
    assert err.count("\n") == 1
    assert "two: -k KERNEL -k KERNEL" in err


def test_a_kernel_of_ones_own_is_compared_with_its_base(mmtui: Mmtui, tmp_path: Path) -> None:
    text = "from sandbox.kernels.linux_7_2 import Linux72\n\n\nclass K(Linux72):\n"
    (tmp_path / "k.py").write_text(text + '    id = "k"\n    title = summary = "t"\n')
    (tmp_path / "s.scn").write_text(FORK)
    mine = f"{tmp_path}/k.py:K"
    status, out, err = mmtui("compare", str(tmp_path / "s.scn"), "-k", "7.2", "-k", mine)
    assert (status, err) == (ExitCode.OK, "")
    assert "the same changes" in out
