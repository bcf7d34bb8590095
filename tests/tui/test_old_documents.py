"""A document is of the present state, or it is not painted."""

from __future__ import annotations

import pytest

from mmtui.app import MmtuiApp
from mmtui.screens.main import MainScreen
from mmtui.views.lines import Line, Lines, say
from mmtui.views.marks import marks_of
from mmtui.views.panes import document

SIZES = [(250, 80), (80, 24), (50, 10), (120, 40)]


def desk(app: MmtuiApp) -> MainScreen:
    assert app.desk is not None
    return app.desk


def assert_true(app: MmtuiApp) -> None:
    """What a pane has drawn, if anything, is what it shows of the state as it is."""
    bench = desk(app).bench
    marks = marks_of(bench)
    for name, pane in desk(app).frame.panes.items():
        width, height = pane.room
        drawn = [pane.render_line(y).text.rstrip() for y in range(height)]
        if not any(drawn):
            continue
        doc = document(name, bench, marks, width, height)
        assert doc.height == pane.doc.height, name
        for y in range(doc.height):
            assert doc.line(y) == pane.doc.line(y), name


@pytest.mark.parametrize("preset", ["3", "17", "31"])
async def test_shrink_go_back_and_enlarge(preset: str) -> None:
    app = MmtuiApp(preset)
    async with app.run_test(size=SIZES[-1]) as pilot:
        await pilot.press("e")
        await pilot.pause()
        for size in SIZES:
            await pilot.resize_terminal(*size)
            desk(app).bench.goto(desk(app).bench.end)
            desk(app).moved()
            assert_true(app)
            await pilot.resize_terminal(70, 20)
            while desk(app).bench.session.position > 1:
                await pilot.press("N")
            assert_true(app)
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert_true(app)
            for pane in desk(app).frame.shown():
                assert any(pane.render_line(y).text.strip() for y in range(pane.room[1]))
            await pilot.press("z", "e", "z")
            assert_true(app)


class Live(Lines):
    """A document that must not be read."""

    @property
    def height(self) -> int:
        return 1000

    def line(self, y: int) -> Line:
        raise AssertionError(f"line {y} was read")


async def test_nothing_is_read_while_painting_or_while_it_moves() -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(250, 80)) as pilot:
        await pilot.press("n")
        panes = desk(app).frame.panes
        for pane in panes.values():
            pane.show(Lines(tuple(say(f"line {y}") for y in range(200))))
            pane._doc = Live(())
        app.refresh(layout=True)
        for size in SIZES:
            desk(app).mover._future = forever = type("Busy", (), {"done": lambda _self: False})()
            await pilot.resize_terminal(*size)
            for pane in panes.values():
                for y in range(100):
                    pane.render_line(y)
            assert forever is desk(app).mover._future
        desk(app).mover._future = None
        for pane in panes.values():
            pane.let_go()
            assert not pane.doc.height
            assert not pane.render_line(0).text.strip()
            pane.scroll_lines(3)
            assert not pane.find("line")


async def test_commands_wait_for_a_long_move() -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("n")
        screen = desk(app)
        screen.mover._future = type("Busy", (), {"done": lambda _self: False})()
        for key in ("s", "t", "question_mark", "K"):
            await pilot.press(key)
            assert "still under way" in "".join(text for text, _ in screen.message.line)
            assert app.screen is screen
        screen.mover._future = None
