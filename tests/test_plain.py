"""`mmtui --plain`: the application as a stream of text."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from mmtui.cli import dispatch
from mmtui.commands.registry import COMMANDS
from mmtui.exit_codes import ExitCode
from mmtui.model.bench import Bench
from mmtui.model.script import open_source
from mmtui.model.workbook import Workbook
from mmtui.plain_desk import PlainDesk
from sandbox.errors import SandboxError


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *lines: str) -> str:
    """What preset 3 tells of some lines, on the kernel where its rule breaks."""
    text = "".join(f"{line}\n" for line in lines)
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert dispatch(["--plain", "3", "--kernel", "ryan-v2"]) == ExitCode.OK
    return capsys.readouterr().out


def test_a_story_is_told_to_its_violation_and_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(monkeypatch, capsys, "", "", "", "", "until I-05", "step", "back", "previous")
    assert found.startswith("3. A pinned page in the middle of a batch, on kernel ryan-v2.\n")
    whole = " ".join(found.split())
    for sentence in (
        "Step 1 of 5.",
        "To do: fork A C",
        "How does a page lose AnonExclusive while its neighbour keeps it?",
        "Holds: exclusive = {5}.",
        "Changed: F1._pincount from 0 to 1.",
        "BROKEN: I-05 for F1:",
        "There are never more mappings than references (refcount >= mapcount).",
        "in folio_try_dup_anon_rmap_pte()",
    ):
        assert sentence in whole, sentence
    broke = whole.index("BROKEN: I-05 for F1:", whole.index("Step 5 of 5."))
    assert "I-05 is not broken for F1 here." in whole[broke:]
    assert "Back to event" in whole[broke:]
    assert whole.count("Step 5 of 5.") == 1, "told once, as long as it is the next one"
    assert "\x1b" not in found
    assert max(map(len, found.splitlines())) < 200


def test_it_works_through_a_pipe_and_says_what_was_refused() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mmtui", "--plain"],
        input=b"mmap A R 64K\nwrite A R 0 2\nno-such-thing\ns\nprocesses\n:pane processes\n",
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    out = run.stdout.decode()
    assert run.returncode == ExitCode.USAGE, run.stderr
    assert "action 2: write A R 0 2, returned 0." in out
    assert "Refused: there is no command 'no-such-thing'" in out
    assert "rss anon 2" in out
    assert "the session is on file" in run.stderr.decode()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_something(name: str) -> None:
    book = Workbook(Bench(open_source("3"), "ryan-v2"))
    lines: list[str] = []
    desk = PlainDesk(book, lines.append)
    try:
        book.bench.step_story()
        try:
            COMMANDS[name].run(desk, {"do": "fork A B", "begin": "fork A B"}.get(name, ""))
        except SandboxError as error:
            lines.append(str(error))
        assert any(lines) or desk.over or name in ("cancel",)
        assert all(line.isprintable() for line in lines)
    finally:
        book.close()


def test_it_replays_on_another_kernel_and_ends_at_quit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(monkeypatch, capsys, "", "kernel 7.2", "kernel", "explain _refcount", "quit", "n")
    assert "Replayed on 7.2." in found
    assert "This is 7.2." in found
    assert "Changed: F1._pincount" not in found, "nothing is read after quit"
