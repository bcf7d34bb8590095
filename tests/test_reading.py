"""What is read and what is refused: files, pipes, FIFOs, devices, endless and odd things."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mmtui.__main__ import main
from sandbox import reading
from sandbox.errors import Cancelled, SandboxError
from sandbox.reading import MAX_BYTES, read_bytes, read_text

SCENARIO = "scenario from-a-pipe\nmmap A R 64K\nend\n"
PRESET = (
    '+++\ntitle = "t"\nkernels = ["7.2"]\ntags = []\nsummary = "s"\n+++\n'
    "```mm\nmmap A R 64K\n```\n```expect\nret = 0\n```\n"
)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a writer as long as it takes, whatever else the machine does."""
    monkeypatch.setattr(reading, "PATIENCE", 120)


@pytest.fixture
def impatient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the reader give up at once: what is said is the same."""
    monkeypatch.setattr(reading, "PATIENCE", 0.05)


@pytest.fixture
def pipe() -> Callable[[bytes], str]:
    """Return a function that makes a path from which some bytes come out, and no more."""

    def make(data: bytes) -> str:
        reader, writer = os.pipe()
        thread = threading.Thread(target=_write, args=(writer, data), daemon=True)
        thread.start()
        return f"/dev/fd/{reader}"

    return make


def _write(writer: int, data: bytes) -> None:
    with open(writer, "wb") as file:
        file.write(data)


def refusal(path: str) -> str:
    with pytest.raises(SandboxError) as raised:
        read_text(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_pipe_is_read_like_a_file(
    pipe: Callable[[bytes], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", pipe(SCENARIO.encode())]) == 0
    assert "== from-a-pipe on 7.2" in capsys.readouterr().out
    for command in (["run"], ["check"], ["proc"]):
        what = ["smaps"] if command == ["proc"] else []
        assert main([*command, pipe(PRESET.encode()), *what]) == 0
        assert capsys.readouterr().out


def test_a_fifo_with_a_writer_is_read_like_a_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    data = b"x" * (3 << 16)  # more than a pipe holds
    thread = threading.Thread(target=fifo.write_bytes, args=(data,), daemon=True)
    thread.start()
    assert read_bytes(str(fifo)) == data


@pytest.mark.usefixtures("impatient")
def test_a_fifo_that_nobody_writes_to_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert f"nothing comes out of {fifo}" in refusal(str(fifo))


@pytest.mark.usefixtures("impatient")
def test_a_writer_that_stops_in_the_middle_is_refused() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"scenario")
    assert "nothing comes out of" in refusal(f"/dev/fd/{reader}")
    os.close(writer)


def test_nothing_larger_than_the_bound_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, MAX_BYTES + 1)
    assert "too large; expected at most 16 MB" in refusal(str(large))
    os.truncate(large, MAX_BYTES)
    assert len(read_bytes(str(large))) == MAX_BYTES


def test_an_endless_pipe_is_refused() -> None:
    reader, writer = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            while True:
                os.write(writer, b"x" * (1 << 16))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    assert "too large" in refusal(f"/dev/fd/{reader}")
    os.close(reader)
    thread.join()
    os.close(writer)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/dev/zero", "it is a device"),
        ("/dev/null", "it is a device"),
        ("/proc", "it is a directory"),
        ("/proc/self/mem", "cannot read"),
        ("nowhere", "No such file"),
        ("a\0b", "no file has such a name"),
        ("\ud800", "no file has such a name"),
        ("x" * 5000, "File name too long"),
        ("", "No such file"),
    ],
)
def test_what_is_no_file_is_refused(path: str, words: str) -> None:
    message = refusal(path)
    assert words in message
    assert len(message) < 400


def test_bytes_that_are_not_utf_8_have_a_place(tmp_path: Path) -> None:
    file = tmp_path / "x.scn"
    file.write_bytes("scenario x\n# größer \xff\n".encode().replace(b"\xc3\xbf", b"\xff"))
    assert refusal(str(file)).startswith(f"{file}:2:10: not UTF-8 text")


def test_reading_stops_when_it_is_asked_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        read_text(str(fifo), stop=lambda: next(asked))
    descriptors = set(os.listdir("/dev/fd"))
    file = tmp_path / "file"
    file.write_bytes(b"x" * (1 << 20))
    asked = iter([False, True])
    with pytest.raises(Cancelled):
        read_text(str(file), stop=lambda: next(asked))
    assert set(os.listdir("/dev/fd")) == descriptors
