"""From the guest's console to states of the state format."""

from __future__ import annotations

import json
from pathlib import Path

from rig.console import RawStep, read_transcript
from rig.results import write
from rig.states import Names, check_room
from sandbox.conform.recordings import read_recording
from tests.rig.samples import FRAME, REGION, folio, process, said

WRITE = "e8000045000f43"  # valid, young, dirty, written


def steps(text: str) -> list[RawStep]:
    return read_transcript(f"@B x\n{text}@E x\n@Q\n").scenarios["x"].steps


def test_a_transcript_is_scenarios_with_steps() -> None:
    text = (
        "@V Linux version 7.2\n@T {\"zero\": 5}\nnoise\n@X outside\n"
        "@B one\n" + said(1, []) + "@X no room\n" + said(2, [folio()], A=process([], 0))
        + "@E one\n@B two\n" + said(1, []) + '@P A {"pid": 7'
    )  # fmt: skip
    found = read_transcript(text)
    assert (found.version, found.layout) == ("Linux version 7.2", {"zero": 5})
    assert found.noise == ["noise", "outside"]
    one, two = found.scenarios.values()
    assert one.complete
    assert one.problems == ["no room"]
    assert [step.number for step in one.steps] == [1, 2]
    assert not two.complete, "the guest was ended in it"
    assert two.steps[0].processes == {}, "half a line is none"


def test_folios_are_named_as_they_appear_and_own_pages_do_not_count() -> None:
    ptes = [["p", REGION, 2, WRITE, FRAME + 1]]
    text = said(1, [folio(), folio(FRAME + 1, ref=3), folio(FRAME + 2)], A=process(ptes, 2))
    (step,) = steps(text)
    names = Names(["R"], {})
    state = names.state(step)
    assert list(state["folios"]) == ["F1", "F2", "F3"]
    assert state["folios"]["F1"]["refcount"] == 3, "the first in the tables"
    assert state["procs"]["A"]["ptes"] == [
        ["R", 0, 1, "present", "F1", 0, "wdy"],
        ["R", 1, 1, "present", "F2", 0, "wdy"],
    ]
    assert state["procs"]["A"]["rss"] == {"anon": 2, "file": 0, "shmem": 0, "swap": 0}
    assert "mapped" not in state["procs"]["A"]
    assert state["procs"]["A"]["vmas"] == [["R", 0, 2, "rw--", "hugepage", True]]
    assert state["folios"]["F1"]["index"] == ["R", 0]


def test_a_name_lasts_as_long_as_its_folio() -> None:
    ptes = [["p", REGION, 1, WRITE, FRAME]]
    text = said(1, [folio()], A=process(ptes, 1)) + said(2, [], A=process([], 0))
    text += said(3, [folio()], A=process(ptes, 1))
    names = Names(["R"], {})
    assert [list(names.state(step)["folios"]) for step in steps(text)] == [["F1"], [], ["F2"]]


def test_counters_that_the_walk_does_not_find_are_shown() -> None:
    text = said(1, [], A=process([], 0)) + said(2, [], A=process([], 3))
    names = Names(["R"], {})
    first, second = (names.state(step)["procs"]["A"] for step in steps(text))
    assert "mapped" not in first
    assert (second["rss"]["anon"], second["mapped"]["anon"]) == (3, 0)


def test_large_folios_have_their_words() -> None:
    large = folio(
        order=2, ref=5, large_mapcount=3, entire_mapcount=-1, nr_pages_mapped=4, pincount=0,
        mm_ids="8000000000000000", mm_id=[9, 0], mm_id_mapcount=[3, -1], deferred=1,
        mapcount=[[0, 4]], exclusive=[[1, 4]], page_ref=[[5, 1], [0, 3]], data=[[2, 4]],
    )  # fmt: skip
    ptes = [["p", REGION, 4, WRITE, FRAME]]
    (step,) = steps(said(1, [large], A=process(ptes, 4, mm_id=9)))
    found = Names(["R"], {}).state(step)["folios"]["F1"]
    assert found["mm_ids"] == [["A", 3], [None, -1]]
    assert found["maybe_shared"] is True
    assert found["deferred"] is True
    assert "page_ref" not in found, "tails have none"


def test_swap_entries_and_holds() -> None:
    ptes = [["s", REGION, 2, "4", 700, 2], ["z", REGION + 0x2000, 1, "40000000000483", 0x42000]]
    held = {"5": ["p", FRAME], "6": ["r", FRAME, FRAME]}
    rss = {"file": 0, "anon": 0, "swap": 2, "shmem": 0}
    (step,) = steps(said(1, [folio()], A=process(ptes, 0, rss=rss), holds=held))
    state = Names(["R"], {5: "x"}).state(step)
    assert state["procs"]["A"]["ptes"] == [
        ["R", 0, 2, "swap", "count 2", 0, "e"],
        ["R", 2, 1, "zero", None, 0, "oy"],
    ]
    assert state["procs"]["A"]["rss"]["swap"] == 2
    assert state["holds"] == {
        "x": {"kind": "pin", "pages": ["F1.0"]},
        "6": {"kind": "get", "times": 2, "pages": ["F1.0"]},
    }


def test_what_the_guest_had_no_room_for_is_said() -> None:
    told: list[str] = []
    step = RawStep(3, 0, "", 1, folios={"lost": 2, "unwatched": 5})
    check_room(step, told.append)
    assert [line.split(":")[0] for line in told] == ["step 3", "step 3"]
    check_room(RawStep(3, 0, "", 1, folios={"lost": 0}), told.append)
    assert len(told) == 2


def test_an_answer_may_be_long() -> None:
    """The prototype cut it at 370 characters."""
    out = " ".join(f"{value}x1" for value in range(4000))
    (step,) = steps(said(1, [], out=out))
    assert step.out == out


def test_a_recording_is_read_again(tmp_path: Path) -> None:
    (step,) = steps(said(1, [folio()], A=process([["p", REGION, 1, WRITE, FRAME]], 1)))
    state = {"step": 1, "action": "write A R 0 1", "ret": 0} | Names(["R"], {}).state(step)
    recording = {"scenario": "x", "source": ["write A R 0 1"], "steps": [state]}
    file = write(tmp_path, "7.2", recording)
    assert file == tmp_path / "7.2" / "x.json"
    assert json.loads(file.read_text()) == recording
    assert read_recording(str(file)) == recording
    assert [path.name for path in file.parent.iterdir()] == ["x.json"], "nothing half written"
