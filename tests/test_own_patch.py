"""docs/own-patch.md: every file on it is written, and every command on it run, in its order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmtui.__main__ import main
from mmtui.exit_codes import ExitCode
from sandbox.machine import memory
from tests.test_docs import pattern_of

PAGE = (Path(__file__).parent.parent / "docs" / "own-patch.md").read_text(encoding="utf-8")
_STATUS = re.compile(r" # status (\d+)$")


def blocks() -> Iterator[tuple[str, str]]:
    """The fenced blocks of the page in order: what each is of, and its text."""
    for found in re.finditer(r"^(`{3,4})(\w+)\n(.*?)^\1$", PAGE, re.M | re.S):
        yield found[2], found[3]


def commands(text: str) -> Iterator[tuple[str, int, str]]:
    """The commands of a console block: each with its status and what it writes."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        line, _, output = part.partition("\n")
        status = _STATUS.search(line)
        yield _STATUS.sub("", line), int(status[1]) if status else 0, output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page."""
    monkeypatch.chdir(tmp_path)
    for kind, text in blocks():
        if kind == "python":
            (name,) = re.findall(r"^class (\w+)", text, re.M)
            (tmp_path / f"{re.sub('(?<=[a-z])(?=[A-Z])', '_', name).lower()}.py").write_text(text)
        elif kind == "markdown":
            (tmp_path / "story.md").write_text(text)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_the_page_is_what_the_commands_write(capsys: pytest.CaptureFixture[str]) -> None:
    done = 0
    for kind, text in blocks():
        for line, status, output in commands(text) if kind == "console" else ():
            program, *arguments = shlex.split(line)
            assert program == "mmtui"
            assert main(arguments) == status, line
            out = capsys.readouterr().out
            assert re.fullmatch(pattern_of(output), out), f"{line}\n{out}"
            done += 1
    assert done >= 6


def test_the_files_begin_as_new_kernel_writes_them(here: Path) -> None:
    for stem, base, function in (
        ("halves", "7.2", "copy_present_ptes"), ("ro_fold", "6.15", "change_present_ptes")
    ):  # fmt: skip
        assert f"--base {base} {function} -o {stem}.py" in PAGE.replace("\n", " ")
        edited = (here / f"{stem}.py").read_text().splitlines()
        (here / f"{stem}.py").unlink()
        assert main(["new-kernel", "--base", base, function, "-o", f"{stem}.py"]) == ExitCode.OK
        written = (here / f"{stem}.py").read_text().splitlines()
        assert sum(line in edited for line in written) > 0.6 * len(written)


@pytest.mark.usefixtures("here")
def test_the_story_of_the_page_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "story.md"]) == ExitCode.OK, capsys.readouterr().out


def test_every_event_of_the_table_is_one() -> None:
    rows = re.findall(r"^\| `(?:\w+ = )?yield (?:from )?(\w+)\(", PAGE, re.M)
    assert len(rows) == 11
    assert all(hasattr(memory, name) for name in rows), rows
