"""Two states held against each other, on synthetic states and on recordings against themselves."""

from __future__ import annotations

import copy
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.conform.packed import packed, read_packed, recordings_in
from sandbox.conform.states import Run, conform_paths, conform_recording
from sandbox.conform.text import markdown_report, text_report
from sandbox.errors import SandboxError, UsageError
from sandbox.scenario.language import Action, CpuBlock
from sandbox.truth.compare import Cell, FolioNames, compare, count_cells
from tests.conftest import RECORDINGS, STATES, read, recorded, sampled

State = dict[str, Any]

KERNELS = sorted({file.parent.name for file in STATES})


def load(file: Path) -> State:
    recording: State = read(file)
    return recording


class Replay:
    """A run that answers each action with the next of some states."""

    def __init__(self, states: list[State]) -> None:
        self._states = iter(states)

    def do(self, step: Action | CpuBlock) -> State:
        state = next(self._states)
        assert state["action"] == step.text
        return state


def replaying(recording: State) -> Callable[[str], Run]:
    return lambda _kernel: Replay(recording["steps"])


def folio(**fields: object) -> State:
    base: State = {
        "order": 4,
        "refcount": 16,
        "mapping": "anon",
        "index": ["R", 0],
        "flags": ["uptodate", "lru"],
        "mapcount": [[0, 16]],
        "mm_ids": [["A", 15], [None, -1]],
    }
    return base | fields


def state(ptes: list[list[Any]], folios: State | None = None, **fields: object) -> State:
    tables: State = {
        "vmas": [["R", 0, 16, "rw--", "hugepage", True]],
        "ptes": ptes,
        "rss": {"anon": 16},
        "has_pinned": 0,
        "pinned_vm": 0,
        "locked_vm": 0,
    }
    base = {"step": 3, "action": "drain", "ret": 0, "procs": {"A": tables}}
    return base | {"folios": {"F1": folio()} if folios is None else folios} | fields


WHOLE = [["R", 0, 16, "present", "F1", 0, "wdyc"]]


def wrong(expected: State, got: State, names: FolioNames | None = None) -> list[Cell]:
    return [cell for cell in compare(expected, got, names) if not cell.ok]


def test_a_state_matches_itself_and_every_cell_is_counted() -> None:
    cells = list(compare(state(WHOLE), state(WHOLE)))
    assert all(cell.ok for cell in cells)
    # step, action, ret; 3 of the VMA, 16 PTEs, 1 RSS, has_pinned; 5 + 16 + 2 of the folio
    assert len(cells) == 3 + 3 + 16 + 1 + 1 + 5 + 16 + 2
    assert count_cells(state(WHOLE)) == len(cells)


def test_run_lengths_are_expanded() -> None:
    halves = [
        ["R", 0, 8, "present", "F1", 0, "wdyc"],
        ["R", 8, 8, "present", "F1", 8, "wdyc"],
    ]
    other = state(halves, {"F1": folio(mapcount=[[0, 3], [0, 13]])})
    assert not wrong(state(WHOLE), other)


def test_a_wrong_page_is_named_with_both_values() -> None:
    got = state(WHOLE, {"F1": folio(mapcount=[[0, 5], [1, 1], [0, 10]])})
    assert wrong(state(WHOLE), got) == [Cell(3, "F1", "mapcount[5]", 0, 1, ok=False)]


def test_an_unmapped_page_is_one_cell_without_a_value() -> None:
    holed = [
        ["R", 0, 5, "present", "F1", 0, "wdyc"],
        ["R", 6, 10, "present", "F1", 6, "wdyc"],
    ]
    (cell,) = wrong(state(WHOLE), state(holed))
    assert (cell.object, cell.field) == ("A", "R[5]")
    assert (cell.expected, cell.got) == ("present F1.5 wdyc", None)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (["R", 0, 1, "protnone", "F1", 0, "wdy"], "protnone F1.0 wdy"),
        (["R", 0, 1, "present", "F1", 1, "wdy"], "present F1.1 wdy"),
        (["R", 0, 1, "present", "F1", 0, "ody"], "present F1.0 ody"),
        (["R", 0, 1, "zero", None, 0, "oy"], "zero oy"),
        (["R", 0, 1, "swap", "count 1", 7, "e"], "swap count 1 e"),
    ],
)
def test_kind_target_page_and_flags_of_an_entry_count(entry: list[Any], shown: str) -> None:
    expected = state([["R", 0, 1, "present", "F1", 0, "wdy"]])
    cell = wrong(expected, state([entry]))[0]
    assert (cell.expected, cell.got) == ("present F1.0 wdy", shown)


def test_the_swap_slot_does_not_count() -> None:
    mapped = ["R", 2, 1, "present", "F1", 2, "wdy"]
    there = state([["R", 0, 2, "swap", "count 1", 0, "e"], mapped], {"F1": folio(swap=3)})
    here = state([["R", 0, 2, "swap", "count 1", 9, "e"], mapped], {"F1": folio(swap=4)})
    assert not wrong(there, here)


def test_overlapping_runs_do_not_hide_each_other() -> None:
    twice = [*WHOLE, ["R", 5, 1, "present", "F1", 5, "wdyc"]]
    assert [cell.field for cell in wrong(state(WHOLE), state(twice))] == ["R[5] again"]


def test_the_notes_of_a_vma_and_locked_pages_do_not_count() -> None:
    got = state(WHOLE)
    got["procs"]["A"]["vmas"][0][4] = ""
    got["procs"]["A"] |= {"pinned_vm": 1, "locked_vm": 16}
    assert not wrong(state(WHOLE), got)


def test_only_some_folio_flags_count() -> None:
    unseen = state(WHOLE, {"F1": folio(flags=["uptodate", "lru", "referenced", "active"])})
    seen = state(WHOLE, {"F1": folio(flags=["uptodate", "lru", "dirty"])})
    assert not wrong(state(WHOLE), unseen)
    assert [cell.field for cell in wrong(state(WHOLE), seen)] == ["flags"]


def test_folios_match_by_place_and_keep_their_partner() -> None:
    names = FolioNames()
    renamed = state([["R", 0, 16, "present", "f@40", 0, "wdyc"]], {"f@40": folio()})
    assert not wrong(state(WHOLE), renamed, names)
    elsewhere = state([["R", 0, 16, "present", "f@80", 0, "wdyc"]], {"f@80": folio()})
    cells = wrong(state(WHOLE), elsewhere, names)
    assert cells[0].got == "present f@80(engine).0 wdyc"
    assert {cell.object for cell in cells} == {"A", "F1", "f@80(engine)"}


def test_two_folios_that_change_places_do_not_match() -> None:
    first = ["R", 0, 1, "present", "F1", 0, "wdy"]
    second = ["R", 1, 1, "present", "F2", 0, "wdy"]
    both = {"F1": folio(refcount=1), "F2": folio(refcount=2)}
    names = FolioNames()
    assert not wrong(state([first, second], both), state([first, second], both), names)
    swapped = [[*first[:4], "F2", 0, "wdy"], [*second[:4], "F1", 0, "wdy"]]
    assert [c.field for c in wrong(state([first, second], both), state(swapped, both), names)] == [
        "R[0]",
        "R[1]",
    ]


def test_a_folio_on_one_side_only_differs_in_every_field() -> None:
    extra = state(WHOLE, {"F1": folio(), "F2": folio(order=0, mapcount=[[0, 1]])})
    assert {cell.object for cell in wrong(state(WHOLE), extra)} == {"F2(engine)"}
    assert {cell.object for cell in wrong(extra, state(WHOLE))} == {"F2"}


def test_a_process_on_one_side_only_differs() -> None:
    gone = state(WHOLE) | {"procs": {}}
    assert {cell.object for cell in wrong(state(WHOLE), gone)} >= {"A"}


def block(*flags: str) -> list[list[Any]]:
    return [["R", page, 1, "present", "F1", page, word] for page, word in enumerate(flags)]


def test_any_entry_of_a_contiguous_block_may_carry_its_young_and_dirty_mark() -> None:
    spread = state(block("ocy", *["oc"] * 14, "ocd"))
    assert not wrong(state([["R", 0, 16, "present", "F1", 0, "odyc"]]), spread)
    assert len(wrong(state([["R", 0, 16, "present", "F1", 0, "oyc"]]), spread)) == 16


def test_hardware_may_dirty_any_entry_of_a_contiguous_block() -> None:
    spread = state(block("wyc", *["woc"] * 15))
    assert not wrong(state([["R", 0, 16, "present", "F1", 0, "wyc"]]), spread)
    assert len(wrong(state([["R", 0, 16, "present", "F1", 0, "woyc"]]), spread)) == 16


def test_marks_do_not_leave_their_block() -> None:
    mixed = block(*["odyc"] * 16, *["odc"] * 16)
    plain = state([["R", 0, 32, "present", "F1", 0, "odc"]])
    assert len(wrong(plain, state(mixed))) == 16


def test_marks_of_single_entries_are_their_own() -> None:
    assert len(wrong(state(block(*["od"] * 16)), state(block("ody", *["od"] * 15)))) == 1


def test_a_block_follows_the_folio_not_the_region() -> None:
    shifted = [["R", 3 + page, 1, "present", "F1", page, "odc"] for page in range(16)]
    shifted[15][6] = "odyc"
    assert not wrong(state([["R", 3, 16, "present", "F1", 0, "odyc"]]), state(shifted))


def test_what_was_read_and_held_counts() -> None:
    hold = {"1": {"kind": "pin", "pages": ["F1.5"]}}
    expected = state(WHOLE, out='{"held":1}', holds=hold)
    same = state(WHOLE, out='{"held": 1}', holds=copy.deepcopy(hold))
    assert not wrong(expected, same)
    assert [c.field for c in wrong(expected, state(WHOLE, holds=hold))] == ["out"]
    other = {"1": {"kind": "get", "pages": ["F1.6"]}}
    cells = wrong(expected, state(WHOLE, out='{"held":1}', holds=other))
    assert [(c.object, c.field) for c in cells] == [("hold 1", "kind"), ("hold 1", "page[0]")]


def test_runs_of_what_was_read_are_expanded() -> None:
    assert not wrong(state(WHOLE, out="3x8 4x1"), state(WHOLE, out="3x5 3x3 4x1"))
    assert wrong(state(WHOLE, out="3x8 4x1"), state(WHOLE, out="3x9"))


def test_a_tail_without_references_of_its_own_has_no_cell() -> None:
    assert not wrong(state(WHOLE), state(WHOLE, {"F1": folio(page_ref=[[0, 16]])}))


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_recording_matches_itself(kernel: str) -> None:
    for file in filter(sampled, recordings_in(RECORDINGS / kernel)):
        recording = load(file)
        report = conform_recording(recording, kernel, replaying(recording), str(file))
        assert report.ok
        assert report.cells > 0
        assert report.states == report.states_matching == len(recording["steps"])


def leaves(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of the numbers in a state."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for key, item in enumerate(value) for leaf in leaves(item, (*path, key))]
    return [path] if isinstance(value, int) else []


def is_compared(path: tuple[Any, ...]) -> bool:
    return not {"pinned_vm", "locked_vm"} & set(path)


def test_every_changed_number_of_a_recording_is_found() -> None:
    recording = load(recorded("7.2", "preset-pin-middle"))
    whole = recording["steps"][-1]
    paths = [path for path in leaves(whole) if is_compared(path)]
    assert len(paths) > 50
    for path in paths:
        changed = copy.deepcopy(whole)
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = int(inner[path[-1]]) + 1
        assert wrong(whole, changed), path


def test_an_error_of_the_engine_leaves_the_rest_unmatched() -> None:
    recording = load(recorded("7.2", "fork-chain"))

    class Refusing(Replay):
        def do(self, step: Action | CpuBlock) -> State:
            if step.text.startswith("fork"):
                raise UsageError("no more processes")
            return super().do(step)

    steps = recording["steps"]
    report = conform_recording(recording, "7.2", lambda _kernel: Refusing(steps))
    assert not report.ok
    assert report.states == len(steps) > report.states_matching > 0
    assert report.cells == sum(count_cells(step) for step in steps)
    (mismatch,) = report.mismatches
    assert mismatch.cell.got == "UsageError: no more processes"


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Return a folder with one recording of a known kernel, and folders to leave out."""
    for kernel in ("7.2", "7.2-hwaf", "9.9"):
        (tmp_path / kernel).mkdir()
        text = read_packed(str(recorded("7.2", "seed-fork-64k")), "")
        (tmp_path / kernel / "seed-fork-64k.json").write_text(text, encoding="utf-8")
    return tmp_path


def start_replay(_kernel: str) -> Run:
    return Replay(load(recorded("7.2", "seed-fork-64k"))["steps"])


def test_the_folder_names_the_kernel_and_others_are_left_out(recordings: Path) -> None:
    report = conform_paths([recordings], start=start_replay, known=lambda kernel: kernel == "7.2")
    assert report.ok
    assert list(report.kernels) == ["7.2"]
    assert [line.partition(":")[0] for line in report.skipped] == ["7.2-hwaf", "9.9"]
    lines = list(text_report(report))
    assert lines[1].split()[:3] == ["7.2", "1", "1"]
    assert lines[1].endswith("all match")


def test_a_single_recording_belongs_to_its_folder(recordings: Path) -> None:
    file = recordings / "7.2" / "seed-fork-64k.json"
    report = conform_paths([file, file], start=start_replay, known=lambda _kernel: True)
    assert [len(kernel.scenarios) for kernel in report.kernels.values()] == [1]


def test_mismatches_are_listed_with_all_their_facts(recordings: Path) -> None:
    def start(kernel: str) -> Run:
        states = copy.deepcopy(load(recorded("7.2", "seed-fork-64k"))["steps"])
        states[3]["folios"]["F1"]["refcount"] = 17
        return Replay(states)

    report = conform_paths([recordings / "7.2"], start=start, known=lambda _kernel: True)
    assert not report.ok
    sentence = '7.2 seed-fork-64k step 4 "fork A B": F1 refcount: expected 32, got 17'
    assert sentence in list(text_report(report))
    row = "| seed-fork-64k | 4 | fork A B | F1 | refcount | 32 | 17 |"
    assert row in list(markdown_report(report))


def test_nothing_compared_is_no_success(recordings: Path) -> None:
    assert not conform_paths([recordings / "9.9"], known=lambda _kernel: False).ok


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting"),
        ("[]", "not a recording"),
        ('{"scenario": "x", "source": [], "steps": [{}]}', "1 states but 0 actions"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SandboxError, match=words):
        conform_paths([file], start=start_replay, known=lambda _kernel: True)


def test_a_path_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no recordings"):
        conform_paths([tmp_path / "nowhere"])


def test_a_packed_recording_is_the_same(recordings: Path, tmp_path: Path) -> None:
    file = recordings / "7.2" / "seed-fork-64k.json"
    (file.parent / "packed.json.xz").write_bytes(packed(file.read_text(encoding="utf-8")))
    report = conform_paths([file.parent], start=start_replay, known=lambda _kernel: True)
    assert report.ok
    assert [len(kernel.scenarios) for kernel in report.kernels.values()] == [2]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut off"),
        (b"{}" * 10, "not packed by xz"),
        (packed("{}")[:-5], "cut off"),
        (packed("{}") + b"more", "goes on"),
        (packed("[" * (16 << 20) + "x"), "holds too much"),
        (lzma.compress(b"\xff"), "not UTF-8"),
        (packed("[]"), "not a recording"),
    ],
    ids=["empty", "json", "half", "more", "bomb", "bytes", "list"],
)
def test_what_is_not_packed_well_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "7.2").mkdir()
    file = tmp_path / "7.2" / "x.json.xz"
    file.write_bytes(data)
    with pytest.raises(SandboxError, match=words):
        conform_paths([file])
