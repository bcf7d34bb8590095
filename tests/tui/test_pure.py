"""No byte that a terminal acts upon reaches it, whatever the texts hold."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from mmtui.app import MmtuiApp
from mmtui.model.history import History
from mmtui.model.script import open_source
from mmtui.screens.choose import ChooseScreen
from mmtui.screens.opening import OpeningScreen
from mmtui.screens.proc import ProcScreen
from mmtui.views.lines import Lines
from mmtui.widgets.chooser import Choice
from sandbox.printable import one_line
from tests.tui.support import until

MARK = "\x1b]0;OWNED\x07\x9b31m\u202eevil\u2066\x00\x7f\ud800\u200f[bold]x[/]"
OURS = re.compile(r"\x1b\[[0-9;]*[mH]|\r?\n|\x1b\[\?25[lh]")


def frame(app: MmtuiApp) -> str:
    """All of the screen as it is written to a terminal."""
    update = app.screen._compositor.render_full_update()
    return update.render_segments(app.console)


async def assert_pure(app: MmtuiApp, pilot: Pilot[None]) -> None:
    """The mark gets on the screen (a move may still be shown there), and nothing acts."""
    await until(pilot, lambda: "OWNED" in frame(app))
    written = frame(app)
    rest = OURS.sub("", written)
    acted = {c for c in rest if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not acted, repr(rest)


async def test_marks_in_every_text_of_the_screens() -> None:
    source = open_source("3")
    assert source.preset is not None
    marked = replace(source, title=MARK, name="x", others=(MARK,))
    app = MmtuiApp(marked)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("n")
        await assert_pure(app, pilot)  # the title
        desk = app.desk
        assert desk is not None
        desk.bench.source = replace(marked, title="")
        desk.moved(MARK)
        await pilot.pause()
        await assert_pure(app, pilot)
        desk.message.show(((MARK, "strong"), (MARK, "")))
        desk.frame.panes["story"].show(Lines((((MARK, "dim"),),)))
        await pilot.pause()
        await assert_pure(app, pilot)
        desk.say("")
        await pilot.press("n", "colon")
        field = app.screen.query_one("#prompt Input", Input)
        for value in (f"open {MARK}", MARK):
            field.value = value
            await pilot.pause()
            await assert_pure(app, pilot)
        field.value = ""
        field.post_message(events.Paste(MARK + "\nsecond"))
        await pilot.pause()
        await assert_pure(app, pilot)
        await pilot.press("escape")
        choice = Choice(MARK, ((MARK, "strong"),), MARK, MARK)
        for screen in (
            ChooseScreen("t", [choice]), ProcScreen([MARK] * 3), OpeningScreen(MARK)
        ):  # fmt: skip
            await app.push_screen(screen)
            await pilot.pause()
            await assert_pure(app, pilot)
            for found in screen.query(Input):
                found.value = MARK
            await pilot.pause()
            screen.dismiss()
            await pilot.pause()


async def test_marks_in_a_notification() -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await pilot.press("n")
        app.notify(MARK, title=MARK)
        await until(pilot, lambda: "[bold]" in frame(app))
        await assert_pure(app, pilot)


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_one_line_is_one_line_and_pure(text: str) -> None:
    line = one_line(text)
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in line)
    assert len(line.splitlines()) <= 1


def test_a_history_that_is_no_file_is_done_without(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), Path("/dev/null"), tmp_path, tmp_path / "no" / "file"):
        history = History(path)
        assert history.older("present") == "present"
        history.add("mmap A R 4K")
        assert history.older("") == "mmap A R 4K"
    assert fifo.is_fifo()
    assert not Path("/dev/zero").is_file()


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00" * 100_000 + b"\ngood\n",
        b"x" * (1 << 22) + b"\ngood\n",
        b"\x1b]0;OWNED\x07\n" * 1000 + b"good\n",
    ],
    ids=["binary", "huge", "marked"],
)
def test_of_any_history_only_lines_are_kept(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(content)
    history = History(path)
    assert history.older("") == "good"
    assert history.older("") == "good"
    history.add("\ud800 no text")
    history.add("better")
    assert path.read_text() == "good\nbetter\n"


def test_what_a_kill_has_left_of_the_history_is_taken_away_later(tmp_path: Path) -> None:
    path = tmp_path / "history"
    old, new, other = (tmp_path / name for name in (".history.1a0", ".history.1b0", ".other.1"))
    for file in (old, new, other):
        file.write_text("fork A B\n")
    for file in (old, other):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    History(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".history.1b0", ".other.1"]
