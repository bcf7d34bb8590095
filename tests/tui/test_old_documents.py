"""A document is of the present state, or it is not painted."""

from __future__ import annotations

from textual.pilot import Pilot

from mmtui.app import MmtuiApp
from mmtui.model.bench import Bench
from mmtui.model.script import open_source
from mmtui.model.workbook import Workbook
from mmtui.screens.main import MainScreen
from mmtui.views.lines import Line, Lines, plain, say
from mmtui.views.marks import marks_of
from mmtui.views.panes import document

SIZES = [(200, 60), (80, 24), (50, 10), (120, 40)]


def desk(app: MmtuiApp) -> MainScreen:
    assert app.desk is not None
    return app.desk


def assert_true(app: MmtuiApp) -> None:
    """What a pane has drawn, if anything, is what it shows of the state as it is."""
    bench = desk(app).bench
    marks = marks_of(bench)
    for name, pane in desk(app).frame.panes.items():
        drawn, kept = list(pane._shown), pane.doc
        if drawn:
            pane._doc = document(name, bench, marks, *pane.room)
            height = pane.room[1]
            assert drawn == [pane._line(y, height) for y in range(height)], name
            pane._doc = kept


async def test_shrink_go_back_and_enlarge() -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=SIZES[-1]) as pilot:
        await pilot.press("n")
        bench = desk(app).bench
        for preset, size in zip(("3", "17", "31", "44"), SIZES, strict=True):
            desk(app).put_aside(Workbook(bench := Bench(open_source(preset))), "")
            bench.run_to_end()
            desk(app).moved()
            await pilot.resize_terminal(*size)
            assert_true(app)
            await pilot.resize_terminal(70, 20)
            while bench.session.position > 1:
                bench.back_action()
            desk(app).moved()
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
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("n")
        panes = desk(app).frame.panes
        for pane in panes.values():
            pane.show(Lines(tuple(say(f"line {y}") for y in range(200))))
            pane._doc = Live(())
        app.refresh(layout=True)
        for size in SIZES[:2]:
            desk(app).mover._future = forever = type("Busy", (), {"done": lambda _self: False})()
            await pilot.resize_terminal(*size)
            for pane in panes.values():
                for y in range(100):
                    pane.render_line(y)
            assert forever is desk(app).mover._future
        await waits(app, pilot)
        desk(app).mover._future = None
        for pane in panes.values():
            pane.let_go()
            assert not pane.doc.height
            assert not pane.render_line(0).text.strip()
            pane.scroll_lines(3)
            assert not pane.find("line")


async def waits(app: MmtuiApp, pilot: Pilot[None]) -> None:
    """Commands are refused while a move is under way."""
    for key in ("s", "t", "question_mark", "K"):
        desk(app).say("")
        await pilot.press(key)
        assert "still under way" in plain(desk(app).message.line)
        assert app.screen is desk(app)
