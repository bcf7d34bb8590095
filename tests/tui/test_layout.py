"""Where the panes stand: at every size, without gaps, and as a person has shared them."""

from __future__ import annotations

import pytest

from mmtui.app import MmtuiApp
from mmtui.model.shares import Shares, shares_file
from mmtui.screens.main import MainScreen
from mmtui.views.layout import arrange, columns_of
from mmtui.views.panes import PANES
from mmtui.widgets.pane import Pane
from tests.tui.support import until

FIRST = ("story",)
SIZES = [(80, 24), (100, 30), (120, 40), (200, 60)]


@pytest.mark.parametrize("width", [60, 79, 80, 99, 100, 119, 120, 159, 160, 200, 250])
def test_the_panes_fill_the_room_and_do_not_overlap(width: int) -> None:
    for height in range(1, 80):
        for recent in (FIRST, ("log", "rules"), ("processes",)):
            plan = arrange(width, height, recent)
            assert recent[0] in plan.places
            used = [
                (x, y)
                for place in plan.places.values()
                for x in (place.x, place.x + place.width - 1)
                for y in range(place.y, place.y + place.height)
            ]
            assert len(used) == len(set(used))
            gaps = max(0, len({place.x for place in plan.places.values()}) - 1)
            area = sum(place.width * place.height for place in plan.places.values())
            assert area == (width - gaps) * height


def test_more_room_is_one_pane_more_or_two_and_not_all_of_them() -> None:
    def count(width: int, height: int) -> int:
        return len(arrange(width, height, FIRST).places)

    for height in range(12, 80):
        for width in range(60, 240):
            assert 0 <= count(width + 1, height) - count(width, height) <= 2
            assert count(width, height + 1) >= count(width, height)
    assert [count(*size) for size in ((80, 21), (100, 27), (120, 37), (200, 57), (80, 57))] == [
        2, 4, 7, 7, 6,
    ]  # fmt: skip


def test_every_pane_can_be_gone_to_and_those_behind_are_named() -> None:
    for size in ((40, 8), (80, 21), (100, 27), (120, 21), (160, 18), (80, 57)):
        for name in PANES:
            plan = arrange(*size, (name, "story"))
            assert name in plan.places
            hidden = set(PANES) - set(plan.places)
            assert hidden <= {other for names in plan.behind.values() for other in names}


def test_one_pane_can_have_everything() -> None:
    plan = arrange(200, 57, ("rules",), alone=True)
    assert plan.places == {"rules": (0, 0, 200, 57)}
    assert plan.behind == {"rules": tuple(PANES)}


def test_shares_are_kept_and_odd_ones_are_harmless() -> None:
    shares = Shares()
    shares.put("2/0", 90)
    shares.put("2/tables", 0)
    shares.save()
    assert shares_file().read_text() == "2/0 90\n2/tables 1\n"
    shares_file().write_bytes(b"2/0 900\n2/1 0\n\xff\x00 2/rules 7\n3/9 9999\nnonsense\n")
    for width in (80, 120, 200):
        plan = arrange(width, 37, FIRST, shares=Shares().all)
        assert min(place.width for place in plan.places.values()) >= 20
        assert min(place.height for place in plan.places.values()) >= 3
    Shares().clear()
    assert Shares().all == {}


@pytest.mark.parametrize("size", SIZES)
async def test_on_the_screen_they_are_where_they_are_planned(size: tuple[int, int]) -> None:
    app = MmtuiApp("3")
    async with app.run_test(size=size) as pilot:
        screen = app.screen
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        screen = app.screen
        assert isinstance(screen, MainScreen)
        frame = screen.frame
        await until(pilot, lambda: frame.story.room[0])
        plan = arrange(size[0], size[1] - 3, FIRST)
        assert {pane.id for pane in frame.shown()} == set(plan.places)
        for name, place in plan.places.items():
            assert frame.panes[name].region == (place.x, place.y + 1, place.width, place.height)
        await pilot.press("7", "z")
        assert [pane.id for pane in frame.shown()] == ["log"]
        await pilot.press("escape", "1")
        assert {pane.id for pane in frame.shown()} >= {"story"}


def _drawn(pane: Pane) -> bool:
    """Whether a pane shows anything: what a move changed is drawn after it."""
    return any(pane.render_line(y).text.strip() for y in range(pane.room[1]))


@pytest.mark.parametrize(("size", "most"), [((120, 40), 4), ((200, 60), 6)])
async def test_the_screen_of_a_violation_is_used(size: tuple[int, int], most: int) -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        screen = app.screen
        assert isinstance(screen, MainScreen)
        await pilot.press(*"nnnnnnnJvv")
        await until(pilot, lambda: screen.bench.session.rules.broken)
        await until(pilot, lambda: all(_drawn(pane) for pane in screen.frame.shown()))
        columns: dict[int, list[str]] = {}
        for pane in screen.frame.shown():
            rows = [pane.render_line(y).text.rstrip() for y in range(pane.room[1])]
            columns.setdefault(pane.region.x, []).extend(rows)
    for rows in columns.values():
        assert sum(not row for row in rows) < len(rows) / 2  # no column is half blank
    cut = [row for rows in columns.values() for row in rows if row.endswith("~")]
    assert len(cut) <= most, cut


async def test_the_split_moves_and_is_remembered() -> None:
    width, height = arrange(120, 37, FIRST).places["story"][2:]
    assert columns_of(120) == 2
    assert await _size_of_story() == (width, height)
    assert await _size_of_story("right_parenthesis", "plus", "plus") == (width + 2, height + 2)
    assert await _size_of_story() == (width + 2, height + 2)
    assert await _size_of_story("colon", *"layout", "enter") == (width, height)
    assert Shares().all == {}


async def _size_of_story(*keys: str) -> tuple[int, int]:
    """Width and height of the story's pane at 120x40 after some keys."""
    app = MmtuiApp("3")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        screen = app.screen
        assert isinstance(screen, MainScreen)
        story = screen.frame.story
        await until(pilot, lambda: story.room[0])
        await pilot.press(*keys)
        await pilot.pause()
        return story.region.width, story.region.height
