"""Real kernels: what they do twice, and what the model says of it; only where they are set up.

`MMTUI_RIG_TESTS=1 pytest tests/rig/test_real.py`, with `MMTUI_RIG` where they are.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mmtui.__main__ import main
from mmtui.exit_codes import ExitCode
from rig.work import work_directory
from sandbox.conform.states import conform_paths
from tests.conftest import RECORDINGS, SCENARIOS

ASKED = os.environ.get("MMTUI_RIG_TESTS")
PLACE = str(work_directory().root)
KERNELS = [kernel.name for kernel in work_directory().kernels()] or ["none"]

pytestmark = [
    pytest.mark.skipif(not ASKED, reason="MMTUI_RIG_TESTS=1 asks real kernels (QEMU, minutes)"),
    pytest.mark.timeout(1800),
]
RACE = """\
scenario race
mthp 16K madvise
mmap A R 16K
write A R 0 4
cpu0: fork A B
cpu1: pin A R 1 2 1 w
schedule cpu1 until store:2, cpu0 until before-store:14, cpu1 until store:1, cpu0 all, cpu1 all
end
"""


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMTUI_RIG", PLACE)


@pytest.mark.parametrize("kernel", KERNELS)
def test_states_are_those_of_the_tree_and_the_models(kernel: str, tmp_path: Path) -> None:
    files = [str(SCENARIOS / name) for name in ("00-seed.scn", "20-pin.scn")]
    for into in ("one", "two"):
        assert main(["record", *files, "-k", kernel, "-o", str(tmp_path / into)]) == ExitCode.OK
    one, two = (sorted((tmp_path / into / kernel).glob("*.json")) for into in ("one", "two"))
    assert [file.name for file in one] == [file.name for file in two]
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]
    report = conform_paths([tmp_path / "one"])
    assert report.ok, list(report.kernels[kernel].mismatches)[:3]
    assert (RECORDINGS / kernel).is_dir() <= (len(one) > 20)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_a_processes_own_is_there_before_its_first_state(
    kernel: str, tmp_path: Path
) -> None:
    lines = ["mmap A R 8p", "proc B", "write A R 0 4", "proc C", "fork C D", "mmap A S 8p"]
    scenarios = ["\n".join([f"scenario own-{number}", *lines, "end", ""]) for number in range(20)]
    (tmp_path / "own.scn").write_text("".join(scenarios))
    words = ["record", str(tmp_path / "own.scn"), "-k", kernel, "-o", str(tmp_path)]
    assert main(words) == ExitCode.OK
    files = list((tmp_path / kernel).glob("own-*.json"))
    assert len(files) == 20
    told = [state for file in files for state in json.loads(file.read_text())["steps"]]
    assert not any("mapped" in process for state in told for process in state["procs"].values())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("more", [[], ["--stores"], ["--races", "--schedules", "4"]])
def test_the_loop_comes_to_its_end_and_goes_on(
    kernel: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fuzz", "-k", kernel, "--count", "6", "--shrink", "1", "-o", str(tmp_path)]
    words += [*more, *([] if "--races" in more else ["--family", "core"])]
    status = main(words)
    said = capsys.readouterr().out
    assert status in (ExitCode.OK, ExitCode.FAILED)
    assert " 0 were not played to the end" in said
    assert main(words) == status
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("kernel", KERNELS)
def test_stores_come_in_the_order_of_the_model(kernel: str, tmp_path: Path) -> None:
    file = str(SCENARIOS / "00-seed.scn")
    assert main(["record", file, "-k", kernel, "--stores", "-o", str(tmp_path)]) == ExitCode.OK
    marked = [f for f in (tmp_path / f"{kernel}-micro").glob("*.json") if "fork" in f.name]
    assert conform_paths(marked).ok


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_race_is_the_same_twice(kernel: str, tmp_path: Path) -> None:
    file = tmp_path / "race.scn"
    file.write_text(RACE)
    written = []
    for into in ("one", "two"):
        where = tmp_path / into
        assert main(["race", str(file), "-k", kernel, "-o", str(where)]) == ExitCode.OK
        written.append((where / f"{kernel}-race" / "race.json").read_text())
    assert written[0] == written[1]
