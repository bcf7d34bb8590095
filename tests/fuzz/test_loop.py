"""The loop, model against model: what differs is found, grouped, made small, and found again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmtui.cli import dispatch
from sandbox.conform.states import conform_paths

PLANTED = '''\
"""7.2, but munlock forgets one thing."""

from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import load


class Planted(Linux72):
    """munlock leaves PG_mlocked."""

    id = "planted"

    def munlock_folio(self, folio):
        """Look, and do nothing."""
        yield load(folio.flags)
'''
FAMILY = """\
length = [4, 7]
pages = 4
odd = 0.0
[weights]
write = 2
mlock = 3
munlock = 4
"""


@pytest.fixture
def planted(tmp_path: Path) -> list[str]:
    """The command against a kernel with one mistake."""
    (tmp_path / "planted.py").write_text(PLANTED)
    (tmp_path / "own.toml").write_text(FAMILY)
    words = [
        "fuzz",
        "-k",
        "7.2",
        "--against",
        f"{tmp_path / 'planted.py'}:Planted",
        "--count",
        "12",
    ]
    return [*words, "--family", str(tmp_path / "own.toml"), "--shrink", "1", "--json", "-o"]


def results(folder: Path) -> dict[str, str]:
    """Everything that a run leaves, but for the journal, whose order may be another."""
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix != ".jsonl"
    }  # fmt: skip


def test_a_planted_difference_is_found_and_made_small(
    tmp_path: Path, planted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert dispatch([*planted, str(folder)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((folder / "report.json").read_text())
    (group,) = report["groups"]
    assert (group["verb"], group["field"]) == ("munlock", "folio flags")
    assert group["count"] == len(group["cases"]) > 1
    smallest = group["cases"][0]["smallest"]
    assert [action.split()[0] for action in smallest] == ["mmap", "mlock", "munlock"]
    assert "mlocked" in group["cases"][0]["change"]
    # What is written is a test: the scenario runs, and its recording differs as it says.
    name = group["cases"][0]["scenario"]
    assert dispatch(["run", str(folder / "scenarios" / f"{name}.scn"), "-k", "7.2"]) == 0
    (folder / "Planted").rename(folder / "7.2")
    found = conform_paths([folder / "7.2" / f"{name}.json"]).kernels["7.2"]
    assert {each.cell.field for each in found.mismatches} >= {"flags"}
    # The same again does nothing, and says the same.
    journal = (folder / "journal.jsonl").read_bytes()
    capsys.readouterr()
    assert dispatch([*planted, str(folder)]) == 1
    assert json.loads(capsys.readouterr().out)["groups"] == report["groups"]
    assert (folder / "journal.jsonl").read_bytes() == journal


def test_a_folder_is_of_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fuzz", "-k", "7.2", "--against", "7.2", "--family", "core", "-o", str(tmp_path / "o")]
    assert dispatch([*words, "--count", "3"]) == 0
    assert " 0 differ" in capsys.readouterr().out
    assert dispatch([*words, "--count", "4"]) == 2
    said = capsys.readouterr().err
    assert "is of another run: count is 3 there" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-k", "7.2", "--against", "nothing"], "unknown kernel 'nothing'"),
        (["-k", "nothing", "--against", "7.2"], "unknown kernel 'nothing'"),
        (["-k", "7.2", "--against", "7.2", "--family", "what"], "no family 'what'"),
        (["-k", "7.2", "--against", "7.2", "--jobs", "0"], "no job"),
        (["--against", "7.2"], "--kernel"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["fuzz", *words, "-o", str(tmp_path / "o")]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "o").exists()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    said = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in said.read_text().split()] if said.exists() else []


def is_alive(pid: int) -> bool:
    """Whether a process runs, or did not even see that it has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    whole, cut, family = tmp_path / "whole", tmp_path / "cut", tmp_path / "pins.toml"
    family.write_text("length = [3, 6]\npages = 8\n[weights]\npin = 2\nwrite = 3\nfork = 1\n")
    mmtui = [sys.executable, "-m", "mmtui", "fuzz", "-k", "7.2", "--against", "pin-bias-16"]
    mmtui += ["--family", str(family), "--count", "42", "--shrink", "1", "-o"]
    subprocess.run([*mmtui, str(whole), "--jobs", "2"], check=False, capture_output=True)
    kills, words = 0, [*mmtui, str(cut)]
    journal = cut / "journal.jsonl"
    for lines, jobs in ((2, "2"), (46, "1"), (50, "1")):
        process = subprocess.Popen(
            [*words, "--jobs", jobs], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
                served = children(process.pid)
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                kills += process.returncode == -signal.SIGKILL
                while any(map(is_alive, served)):
                    time.sleep(0.01)
            time.sleep(0.005)
    assert kills >= 2
    with open(journal, "ab") as file:
        file.write(b'{"played": 1, "ki')  # as a kill in the middle of a line leaves it
    assert subprocess.run(words, check=False, capture_output=True).returncode == 1
    assert results(cut) == results(whole)
    said = [json.loads(each) for each in journal.read_text().splitlines()]
    for kind in ("played", "found"):
        numbers = [each[kind] for each in said if kind in each]
        assert len(numbers) == len(set(numbers))
