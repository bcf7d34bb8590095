"""The application under its pilot: the main job from the library to a broken rule and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.command import CommandList
from textual.pilot import Pilot
from textual.widgets import Input

from mmtui.app import MmtuiApp
from mmtui.keys import textual_key
from mmtui.model.files import state_directory
from mmtui.palette import Palette
from mmtui.screens.choose import ChooseScreen
from mmtui.screens.help import HelpScreen
from mmtui.screens.library import LibraryScreen
from mmtui.screens.main import MainScreen
from mmtui.screens.proc import ProcScreen
from mmtui.views.lines import plain
from mmtui.views.panes import PANES
from mmtui.widgets.bars import Bar
from mmtui.widgets.pane import Pane
from tests.tui.support import until

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]


def desk(app: MmtuiApp) -> MainScreen:
    screen = app.screen
    assert isinstance(screen, MainScreen)
    return screen


def message(app: MmtuiApp) -> str:
    return plain(desk(app).message.line)


def shown(pane: Pane) -> str:
    """What a pane has on the screen."""
    return "\n".join(pane.render_line(y).text.rstrip() for y in range(pane.room[1]))


async def type_line(pilot: Pilot[None], line: str) -> None:
    """Type a line at `:` and enter it."""
    await pilot.press("colon")
    pilot.app.screen.query_one("#prompt Input", Input).value = line
    await pilot.press("enter")
    await pilot.pause()


async def test_from_the_library_to_a_broken_rule() -> None:
    app = MmtuiApp(kernel="ryan-v2")
    async with app.run_test(size=(120, 40)) as pilot:
        assert isinstance(app.screen, LibraryScreen)
        await pilot.press("j", "j", "enter")
        await pilot.pause()
        assert desk(app).bench.source.name == "seed-pin-middle"
        await pilot.press("v")
        await pilot.pause()
        assert "I-05 F1: mapcount 17 > refcount 16" in message(app)
        panes = desk(app).frame.panes
        assert "17 mappings: 1 reference short" in shown(panes["folios"])
        assert "I-05" in shown(panes["rules"])
        assert "!" in str(panes["rules"].border_title)


async def test_forth_and_back_by_every_step() -> None:
    app = MmtuiApp("3", "7.2")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        bench = desk(app).bench
        await pilot.press("s", "s", "s")
        assert bench.session.position == 3
        await pilot.press("S", "b", "backspace")
        assert bench.session.position == 0
        await pilot.press("n", "n")
        assert len(bench.session.steps) == 2
        await pilot.press("N")
        assert len(bench.session.steps) == 1
        while not bench.checked:  # what is unread is shown first
            await pilot.press("right_square_bracket")
        assert "ok A.R cont = 0" in shown(desk(app).frame.panes["story"])
        assert "expectations hold" in message(app)
        await pilot.press("left_square_bracket")
        assert bench.session.position == 0
        await pilot.press("e")
        assert bench.next_item is None
        await pilot.press("s")
        assert "nothing is left" in message(app)


async def test_the_kernel_is_switched_and_the_story_replayed() -> None:
    app = MmtuiApp("1", "ryan-v2")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("e")
        steps = len(desk(app).bench.session.steps)
        await pilot.press("K")
        assert isinstance(app.screen, ChooseScreen)
        await pilot.press(*"6.9", "enter")
        await pilot.pause()
        assert desk(app).bench.kernel == "6.9"
        assert len(desk(app).bench.session.steps) == steps
        await type_line(pilot, "kernel nonsense")
        assert "unknown kernel" in message(app)
        assert desk(app).bench.kernel == "6.9"


async def test_keys_act_on_the_selection() -> None:
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("n", "n", "n", "3", "l", "l", "V", "l", "w", "p")
        bench = desk(app).bench
        assert [s.action.text for s in bench.session.steps[3:]] == [
            "write A R 2 4",
            "pin A R 2 4 1 w",
        ]
        await pilot.press("escape", "u", "f", "x")
        assert bench.procs() == ("B",)


async def test_errors_at_the_prompt_are_messages() -> None:
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(80, 24)) as pilot:
        for line, said in (
            ("forc A B", "did you mean fork?"), ("fork Q B", "there is no process Q"),
            ("write A R 9", "expected"), ("[bold]x[/]", "there is no command"), ("goto 99", "0 to"),
        ):  # fmt: skip
            await type_line(pilot, line)
            assert said in message(app)
        assert desk(app).bench.session.position == 0


async def test_the_prompt_completes_and_remembers() -> None:
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(80, 24)) as pilot:
        await type_line(pilot, "mthp 64K madvise")
        await pilot.press("colon", *"mm", "tab")
        field = app.screen.query_one("#prompt Input", Input)
        assert field.value == "mmap "
        await pilot.press("up")
        assert field.value == "mthp 64K madvise"
        await pilot.press("escape")
        assert not field.has_focus
        assert (state_directory() / "history").read_text() == "mthp 64K madvise\n"


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_every_size_can_be_worked_with(size: tuple[int, int]) -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=size) as pilot:
        await pilot.press("v", "s", "tab", "z", "z")
        keys = desk(app).query_one("#keys", Bar).line
        assert len(plain(keys)) <= size[0]
        assert "q quit" in plain(keys)
        for number, name in enumerate(PANES, 1):
            await pilot.press(str(number))
            await pilot.pause()
            pane = desk(app).frame.panes[name]
            assert pane.has_focus
            assert pane.room[1] > 2
            assert shown(pane).strip()


async def test_the_number_of_panes_follows_the_size() -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(120, 40)) as pilot:
        for (width, height), count in (
            ((120, 40), 7), ((80, 24), 2), ((60, 20), 2), ((40, 12), 1), ((9, 4), 1),
        ):  # fmt: skip
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert len(list(desk(app).frame.shown())) == count


async def test_proc_is_shown_and_searched() -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("e", "colon", *"cat", "space", *"smaps", "space", "A", "enter")
        await pilot.pause()
        assert isinstance(app.screen, ProcScreen)
        assert "/proc/A/smaps" in shown(app.screen.pane)
        await pilot.press(*"rss")
        await pilot.pause()
        assert {line.split()[0] for line in shown(app.screen.pane).split("\n") if line.strip()} == {
            "Rss:"
        }
        await pilot.press("escape", "escape")
        assert isinstance(app.screen, MainScreen)


async def test_resizing_under_the_help_is_harmless() -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.resize_terminal(60, 20)
        await pilot.press("v")
        await pilot.pause()
        assert "The key v" in shown(app.screen.pane)
        await pilot.press("escape", "escape")
        assert isinstance(app.screen, MainScreen)


async def test_geometry_is_stable_while_stepping() -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        await until(pilot, lambda: list(desk(app).frame.shown()))  # planned with the first layout
        await until(pilot, lambda: all(pane.region for pane in desk(app).frame.shown()))
        before = {pane.id: pane.region for pane in desk(app).frame.shown()}
        await pilot.press("n", "n", "n", "s", "s", "v", "N")
        await pilot.pause()
        assert {pane.id: pane.region for pane in desk(app).frame.shown()} == before


async def test_filter_and_back_out_of_the_library() -> None:
    app = MmtuiApp()
    async with app.run_test(size=(80, 24)) as pilot:
        library = app.screen
        assert isinstance(library, LibraryScreen)
        total = len(library.chooser.found)
        await pilot.press("slash", *"pinned")
        await pilot.pause()
        assert 0 < len(library.chooser.found) < total
        await pilot.press("escape")
        assert len(library.chooser.found) == total
        await pilot.press("G", "enter")
        await pilot.pause()
        assert desk(app).bench.source.name == "machine"
        await pilot.press("L")
        assert isinstance(app.screen, LibraryScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, MainScreen)


async def test_quitting_saves_what_was_done() -> None:
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n", "n", "q")
    (log,) = (state_directory() / "sessions").iterdir()
    assert "mmap A R 64K" in log.read_text()


async def test_ctrl_c_asks_once() -> None:
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+c")
        assert "again to leave" in message(app)
        assert app.is_running
        await pilot.press("ctrl+c")
    assert app.return_code == 0


async def test_saving_writes_a_scenario(tmp_path: Path) -> None:
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n", "n")
        await type_line(pilot, f"save {tmp_path}/log.scn")
        await type_line(pilot, f"save {tmp_path}")
        assert "no regular file" in message(app)
    assert "mmap A R 64K" in (tmp_path / "log.scn").read_text()


async def test_names_with_brackets_are_text(tmp_path: Path) -> None:
    path = tmp_path / "odd.md"
    path.write_text(
        '+++\ntitle = "[/] [0x1000] [bold"\nkernels = ["7.2"]\n'
        'tags = ["[x]"]\nsummary = "[/b]"\n+++\n'
        "\n[/] [@click=app.quit]x[/]\n\n```mm\nmmap A R 64K\n```\n"
    )
    app = MmtuiApp(str(path))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("n")
        assert "[/] [0x1000] [bold" in plain(desk(app).query_one("#status", Bar).line)


async def test_the_palette_finds_commands() -> None:
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p")  # while the application opens: meant for what comes then
        await until(pilot, lambda: isinstance(app.screen, Palette))
        assert [type(screen) for screen in app.screen_stack].index(MainScreen) > 0
        await pilot.press(*"munmap")
        found = app.screen.query_one(CommandList)
        await until(pilot, lambda: found.option_count and "unmap" in str(found.options[0].prompt))
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)


async def test_one_step_is_one_frame_and_few_lines() -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("v")
        await pilot.pause()
        drawn: list[tuple[str, int]] = []
        for pane in desk(app).frame.shown():
            original = pane.paint

            def paint(line, width, original=original, pane=pane):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
                drawn.append((pane.id, width))
                return original(line, width)

            pane.paint = paint  # type: ignore[method-assign]
        await pilot.press("s")
        await pilot.pause()
        still = [name for name, _ in drawn if name in ("tables", "story", "processes")]
        assert len(still) <= 12
        assert drawn


async def test_keys_typed_ahead_are_taken_in_order() -> None:
    """Nothing typed after `:` is taken for a key, nothing typed after Enter for text."""
    app = MmtuiApp("2", "7.2")
    async with app.run_test(size=(100, 30)) as pilot:
        for key in ["e", ":", *"1x", "backspace", *"2", "enter", "s", ":", *"fork", "enter"]:
            character = key if len(key) == 1 else None
            app.post_message(events.Key(textual_key(key), character))
        for _ in range(20):
            await pilot.pause()
        assert desk(app).bench.session.position == 13
        assert "fork lacks its proc" in message(app)


async def test_a_click_selects_what_is_clicked() -> None:
    app = MmtuiApp("2", "7.2")
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("e", "H", "3", "g")  # panes stay where they are, tables at their top
        await pilot.pause()
        screen = desk(app)
        bench = screen.bench
        await pilot.click("#processes", offset=(5, 4))
        assert bench.selection.proc == "B"
        rows = shown(screen.frame.panes["tables"]).splitlines()
        at = next(y for y, row in enumerate(rows) if "WWWW" in row)
        await pilot.click("#tables", offset=(rows[at].index("WWWW") + 5, at + 1))
        assert bench.selection.text == "A R 5 6"
        await pilot.pause()
        rows = shown(screen.frame.panes["folios"]).splitlines()
        at = next(y for y, row in enumerate(rows) if " exclusive " in row)
        column = rows[at].index("X")
        await pilot.click("#folios", offset=(column + 3, at + 1))
        assert bench.selection.page == 3
        await pilot.click("#story", offset=(3, 3))
        assert bench.selection.page == 3


@pytest.mark.parametrize("lead", [":", "/"])
async def test_a_line_that_is_typed_keeps_its_keys_after_a_click(lead: str) -> None:
    app = MmtuiApp("3", "7.2")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        await pilot.press(lead, "a", "b")
        await pilot.click("#tables", offset=(5, 3))
        await pilot.press("c", "backspace", "d")
        await until(pilot, lambda: desk(app).query_one(Input).value == "abd")
        await pilot.press("escape", "n")
        assert len(desk(app).bench.session.steps) == 1


async def test_a_tiny_screen_names_its_pane() -> None:
    app = MmtuiApp("2", "7.2")
    async with app.run_test(size=(40, 10)) as pilot:
        await pilot.press("6")
        await pilot.pause()
        assert "6 rules" in str(desk(app).frame.panes["rules"].border_title)
        assert "story" not in str(desk(app).frame.panes["rules"].border_title)
