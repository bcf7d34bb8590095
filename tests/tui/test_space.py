"""What the screen's room is used for, on the screen of preset 3's broken rule."""

from __future__ import annotations

import pytest
from textual.geometry import Offset

from mmtui.app import MmtuiApp
from mmtui.model import foresight
from mmtui.screens.main import MainScreen
from mmtui.views.lines import length, plain, wrap_line
from mmtui.views.panes import FORESEEING
from tests.tui.support import until


@pytest.mark.parametrize(("size", "least"), [((120, 40), 0.50), ((200, 60), 0.40)], ids=str)
async def test_nothing_is_cut_and_the_room_is_used(size: tuple[int, int], least: float) -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        desk = app.screen
        assert isinstance(desk, MainScreen)
        await until(pilot, lambda: desk.frame.story.rows)
        for line in ("next 7", "violation", "violation", "place"):
            desk.entered(":", line)
            await until(pilot, lambda: not desk.mover.busy and app.screen is desk)
            await pilot.pause()
        ahead = foresight.pending(desk.bench)
        if ahead is not None:
            ahead.finish()
        desk.refresh_panes()
        desk.show_again(FORESEEING)
        await pilot.pause()
        rows = [(pane.id, plain(row), pane.room[0]) for pane in desk.frame.shown()
                for row in pane._shown]  # fmt: skip
        rows += [(bar.id, plain(bar.line), size[0]) for bar in (desk.status, desk.message)]
        cut = [(name, text) for name, text, width in rows
               if len(text) > width or (len(text) == width and text.endswith("~"))]  # fmt: skip
        assert not cut
        strips = desk._compositor.render_strips()
        drawn = "".join(segment.text for strip in strips for segment in strip)
        assert len(drawn) == size[0] * size[1]
        assert sum(cell != " " for cell in drawn) / len(drawn) >= least


def test_a_long_line_is_broken_at_blanks_with_its_tokens() -> None:
    line = (("  12 if ", "dim"), ("(yield from a_function(one, two)):", "keyword"))
    rows = wrap_line(line, 30, 8)
    assert [plain(row) for row in rows] == ["  12 if (yield from", "        a_function(one, two)):"]
    assert rows[1][-1][1] == "keyword"
    assert wrap_line(line, 60, 8) == [line]
    assert all(length(row) <= 12 for row in wrap_line((("x" * 50, ""),), 12, 4))


async def test_the_terminal_s_cursor_stands_at_the_focus() -> None:
    """What reads or magnifies the screen follows it."""
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        desk = app.screen
        assert isinstance(desk, MainScreen)
        for line in ("next 7", "violation"):
            desk.entered(":", line)
            await until(pilot, lambda: not desk.mover.busy and app.screen is desk)
        for key, name, token in (("3", "tables", "cursor"), ("2", "source", "current"),
                                 ("7", "log", "current")):  # fmt: skip
            await pilot.press(key)
            await pilot.pause()
            pane = desk.frame.panes[name]
            at = app.cursor_position - pane.content_region.offset
            row = pane._shown[at.y]
            before = 0
            for text, found in row:
                if token in found.split("+"):
                    break
                before += len(text)
            assert before <= at.x < before + 20, (name, at, row)
            assert any(token in found.split("+") for _, found in row)
        await pilot.press("3", "l")
        await pilot.pause()
        here = app.cursor_position
        await pilot.press("l")
        await pilot.pause()
        assert app.cursor_position == here + Offset(1, 0)
        await pilot.press(":", "n", "e")
        await pilot.pause()
        strips = desk._compositor.render_strips()
        row = "".join(segment.text for segment in strips[38])
        assert app.cursor_position == (len(row.rstrip()), 38), row
