"""The library as a course: parts, what was opened and finished, and what is told of a preset."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from mmtui.app import MmtuiApp
from mmtui.model.course import Stage, course_file, note, stages
from mmtui.model.script import empty_source, open_source
from mmtui.screens.course import preset_choices
from mmtui.screens.library import LibraryScreen
from mmtui.screens.main import MainScreen
from mmtui.views.lines import plain
from sandbox.scenario.library import list_cards, recorded_presets
from tests.recorded_presets import table
from tests.tui.support import until


def test_what_was_opened_and_finished_is_kept() -> None:
    third = open_source("3")
    assert stages() == {}
    note(third, Stage.OPENED)
    note(open_source("4"), Stage.OPENED)
    note(third, Stage.FINISHED)
    note(third, Stage.OPENED)  # again
    assert stages() == {
        "seed-pin-middle": Stage.FINISHED,
        "seed-pin-tail-exclusive": Stage.OPENED,
    }
    assert [path.name for path in course_file().parent.iterdir()] == ["course"]
    note(empty_source(), Stage.FINISHED)
    assert len(stages()) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\x00\n", b"finished \x1b[2J\n", b"opened 3\nread it\n" * 9, b"x" * 99_999],
)
def test_a_file_of_anything_is_harmless(content: bytes) -> None:
    course_file().parent.mkdir(parents=True)
    course_file().write_bytes(content)
    assert set(stages()) <= {"3"}
    note(open_source("3"), Stage.OPENED)
    assert stages()["seed-pin-middle"] is Stage.OPENED


def test_where_nothing_can_be_written_nothing_is_noted() -> None:
    course_file().mkdir(parents=True)
    note(open_source("3"), Stage.FINISHED)
    assert stages() == {}


def test_the_parts_have_headings_with_how_far_they_were_followed() -> None:
    cards = list_cards()
    known = {"seed-pin-middle": Stage.FINISHED, "seed-hole-batch": Stage.OPENED}
    choices = preset_choices(cards, known, recorded_presets())
    headings = list(dict.fromkeys(choice.heading for choice in choices))
    assert len(headings) == 6
    assert headings[0] == "Part 1. The seed thread   1 of 14 finished, 1 begun"
    third = next(choice for choice in choices if choice.value == "3")
    assert plain(third.columns).startswith("  3 + A pinned page")
    assert "Mails: Ryan Roberts 2023-11-15 [PATCH v2 01/14]" in third.about
    assert "action by action: 6.12 7.2" in third.about
    assert "real kernels" not in next(c for c in choices if c.value == "45").about.casefold()


def test_the_table_of_what_was_recorded_is_true() -> None:
    made = [tuple(line.split()) for line in table().splitlines()]
    assert made == [(slug, *kernels) for slug, kernels in recorded_presets().items()]


async def test_numbers_files_and_the_way_back() -> None:
    app = MmtuiApp()
    async with app.run_test(size=(120, 40)) as pilot:
        library = app.screen
        assert isinstance(library, LibraryScreen)
        await pilot.press("2", "4")
        assert library.chooser.chosen is not None
        assert library.chooser.chosen.value == "24"
        await pilot.press("o")
        library.query_one("#file", Input).value = "/nowhere/x.scn"
        await pilot.press("enter")
        await until(pilot, lambda: "nowhere" in plain(library.message.line))
        await pilot.press("escape", "3", "enter")
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        await until(pilot, stages)
        assert stages() == {"seed-pin-middle": Stage.OPENED}
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, LibraryScreen))
        behind = app.screen
        assert isinstance(behind, LibraryScreen)
        await until(pilot, lambda: behind.chooser.chosen and behind.chooser.chosen.value == "3")


async def test_a_story_read_to_its_end_is_finished() -> None:
    app = MmtuiApp("19")
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, stages)
        for _ in range(40):
            if stages()["one-call-dontneed"] is Stage.FINISHED:
                break
            await pilot.press("right_square_bracket")
        screen = app.screen
        assert isinstance(screen, MainScreen)
        assert screen.bench.next_item is None
        assert stages() == {"one-call-dontneed": Stage.FINISHED}
