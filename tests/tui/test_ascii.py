"""The ASCII glyph set: nothing that is drawn has a byte above 0x7e in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from mmtui.ascii_filter import in_ascii
from mmtui.views import glyphs
from mmtui.views.lines import plain
from mmtui.views.marks import marks_of
from mmtui.views.panes import PANES, document
from tests.pty_app import PtyApp
from tests.tui.support import preset

PRESETS = range(1, 49) if os.environ.get("MMTUI_ALL") else (3, 17, 45)
"""Presets whose panes are drawn; all of them with MMTUI_ALL=1."""


@pytest.fixture
def ascii_alone() -> Iterator[None]:
    before = glyphs.glyphs()
    glyphs.choose(glyphs.ASCII)
    yield
    glyphs.choose(before)


@pytest.mark.usefixtures("ascii_alone")
def test_every_pane_is_drawn_in_ascii() -> None:
    for number in PRESETS:
        bench = preset(str(number))
        while bench.next_item is not None:
            bench.step_story()
            for name in PANES:
                doc = document(name, bench, marks_of(bench), 60, 30)
                lines = (*doc.head, *(doc.line(y) for y in range(min(doc.height, 60))), *doc.foot)
                beyond = {c for line in lines for c in plain(line) if c > "~"}
                assert not beyond, (number, name, beyond)


def test_a_terminal_without_unicode_is_sent_ascii() -> None:
    with PtyApp("3", "--kernel", "ryan-v2", size=(120, 40), LC_ALL="C", MMTUI_ASCII="") as app:
        app.wait_for(b"0/0")
        app.send(b"v")
        at = app.wait_for(b"mapcount 17 > refcount 16")
        app.send(b"4z")
        at = app.wait_for(b"refcount", at)
        app.send(b"\x10")  # the palette, which Textual draws
        app.wait_for(b"Search", at)
        assert not re.findall(rb"[^\x00-\x7e]+", app.output)


@pytest.mark.parametrize(
    ("env", "chosen"),
    [
        ({"MMTUI_ASCII": "1", "LC_ALL": "C.UTF-8"}, glyphs.ASCII),
        ({"MMTUI_ASCII": "0", "LC_ALL": "C"}, glyphs.UNICODE),
        ({"MMTUI_ASCII": "", "LC_ALL": "POSIX"}, glyphs.ASCII),
    ],
)
def test_the_environment_says_which_glyphs(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], chosen: glyphs.Glyphs
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(glyphs, "_CHOSEN", [])
    assert glyphs.glyphs() is chosen


async def test_the_glyphs_are_changed_while_it_runs() -> None:
    from mmtui.app import MmtuiApp
    from mmtui.screens.main import MainScreen

    before = glyphs.glyphs()
    glyphs.choose(glyphs.UNICODE)
    try:
        app = MmtuiApp("3", "ryan-v2")
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            await pilot.press("v")
            await pilot.pause()
            assert isinstance(app.screen, MainScreen)
            assert not app.export_screenshot(simplify=True).isascii()
            app.screen.give("glyphs", "ascii")
            await pilot.pause()
            drawn = re.findall(r"<text [^>]*>(.*?)</text>", app.export_screenshot(simplify=True))
            assert "".join(drawn).replace("\N{NO-BREAK SPACE}", "").isascii()
    finally:
        glyphs.choose(before)


@pytest.mark.parametrize(
    ("text", "shown"), [("┌─┐", "+-+"), ("█▒▲", "#=^"), ("a…b", "a.b"), ("漢x", "??x"), ("é", "?")]
)
def test_each_cell_has_a_character(text: str, shown: str) -> None:
    assert in_ascii(text) == shown
