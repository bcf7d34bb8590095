"""docs/streams.md: the status of each command with each stream closed, full, unread or missing.

The gate runs every ninth cell of the matrix; with MMTUI_ALL=1 in the environment it is all of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmtui.exit_codes import ExitCode

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/streams.md").read_text(encoding="utf-8")
WHOLE = bool(os.environ.get("MMTUI_ALL"))
EACH = 9
"""The columns are eight: each ninth cell is in another one, and in another row."""


def table(heading: str) -> list[list[str]]:
    """The rows of the table of a section, the first one being its head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*) \|$", section, re.M)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows]


HEAD, *ROWS = table("Streams")
STREAMS = [name.strip("`") for name in HEAD[1:]]
CELLS = [
    (row[0].strip("`"), stream, int(status))
    for row in ROWS
    for stream, status in zip(STREAMS, row[1:], strict=True)
]


def close(*numbers: int) -> Callable[[], None]:
    """What to do in the child: leave it without these streams."""

    def act() -> None:
        for number in numbers:
            os.close(number)

    return act


@contextlib.contextmanager
def unread() -> Iterator[int]:
    """The end of a pipe whose other end nobody has."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def status_of(command: str, stream: str) -> tuple[int, str]:
    """Run a command line with a stream that is not as it should be; its status and stderr."""
    with unread() as nobody, open("/dev/full", "wb") as full:
        stdout = {">/dev/full": full, "unread stdout": nobody}.get(stream, subprocess.DEVNULL)
        stderr = {"2>/dev/full": full, "unread stderr": nobody}.get(stream, subprocess.PIPE)
        closed = {">&-": (1,), "2>&-": (2,), "<&-": (0,)}.get(stream, ())
        done = subprocess.run(
            [sys.executable, "-m", "mmtui", *command.split()],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=close(*closed) if closed else None,
            check=False,
        )
    return done.returncode, (done.stderr or b"").decode()


@pytest.mark.parametrize(("command", "stream", "status"), CELLS if WHOLE else CELLS[::EACH])
def test_a_cell_of_the_matrix_is_so(command: str, stream: str, status: int) -> None:
    found, err = status_of(command, stream)
    assert (found, "Traceback" in err, "Exception" in err) == (status, False, False), err
    if status == ExitCode.USAGE and stream not in ("2>&-", "2>/dev/full", "unread stderr"):
        *narration, line = err.splitlines()
        assert line.startswith("mmtui: ")
        assert not any(line.startswith("mmtui: ") for line in narration)
    if status == ExitCode.BROKEN_PIPE:
        assert "mmtui: " not in err


def test_every_stream_and_many_commands_are_in_the_sample() -> None:
    sample = CELLS[::EACH]
    assert {stream for _, stream, _ in sample} == set(STREAMS)
    assert len({command for command, _, _ in sample}) > len(ROWS) * 0.8


def test_a_closed_stdout_is_not_taken_by_a_file(tmp_path: Path) -> None:
    """The lowest free descriptor is 1: what is opened next would get the data."""
    document = tmp_path / "own.scn"
    text = "scenario x\nmmap A R 64K\nend\n"
    document.write_text(text, encoding="utf-8")
    status, err = status_of(f"run {document}", ">&-")
    assert (status, err) == (2, "mmtui: cannot write the output: stdout is closed\n")
    assert document.read_text(encoding="utf-8") == text


def test_the_data_is_the_same_without_stderr() -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-m", "mmtui", "check", "3"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=preparation,
            check=True,
        ).stdout
        for preparation in (None, close(0, 2))
    ]
    assert outputs[0] == outputs[1] != b""


def test_the_page_has_every_exit_status() -> None:
    assert [int(row[0]) for row in table("Exit statuses")[1:]] == list(ExitCode)
