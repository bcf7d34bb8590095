"""The story as its reader sees it: from the top, line by line, and nothing taken away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmtui.app import MmtuiApp
from mmtui.model.bench import Bench
from mmtui.model.script import open_source
from mmtui.screens.main import MainScreen
from mmtui.views.layout import arrange
from mmtui.views.lines import plain
from mmtui.views.reading import Reader
from mmtui.views.story import StoryDoc, view
from sandbox.scenario.library import list_cards
from tests.conftest import WHOLE
from tests.tui.support import machine, preset, until

SIZES = ((80, 24), (100, 30), (120, 40), (200, 60))
STORY = {size: arrange(size[0], size[1] - 3, ("story",)).places["story"] for size in SIZES}
ROOMS = {size: (place.width, place.height - 1) for size, place in STORY.items()}
"""The room of the story's pane by the size of the terminal."""
SLUGS = [card.slug for card in list_cards()]
SAMPLE = SLUGS if WHOLE else SLUGS[2::6]


class Seat:
    """A reader before the pane of a story, without the screen."""

    def __init__(self, bench: Bench, width: int, rows: int) -> None:
        self.bench, self.width, self.rows = bench, width, rows
        self.reader, self.top = Reader(), 0
        self.seen: dict[str, set[int]] = {}
        """Lines that were on the screen by their text."""
        self.show()

    @property
    def doc(self) -> StoryDoc:
        return view(self.bench, self.width)

    def show(self) -> None:
        """What is shown after each move."""
        self.turn(self.reader.settle(self.doc, self.rows))

    def turn(self, top: int) -> None:
        doc, self.top = self.doc, top
        self.reader.look(doc, top, self.rows)
        for y in range(top, min(top + self.rows, doc.height)):
            self.seen.setdefault(_bare(doc, y), set()).add(y)

    def read(self, *, step: bool) -> None:
        """`space`, or `]` for a step, until all was read up to what is done next."""
        while self.reader.unread(self.doc, step=step):
            before = self.reader.hint(self.doc, self.top, self.rows)
            self.turn(self.reader.next_page(self.doc, self.rows))
            assert self.reader.hint(self.doc, self.top, self.rows) != before

    def told(self) -> None:
        """What is shown after an action that `space` did."""
        self.show()
        self.turn(self.reader.after(self.doc, self.rows))

    def never_seen(self) -> list[str]:
        """The lines of the story that were never on the screen as they read now."""
        doc = self.doc
        texts = ((y, _bare(doc, y)) for y in range(doc.told))
        return [text for y, text in texts if text and y not in self.seen.get(text, ())]


def _bare(doc: StoryDoc, y: int) -> str:
    """A line without the mark of an action."""
    return re.sub(r"^ [+>] ", "   ", plain(doc.line(y))).rstrip()


@pytest.mark.parametrize("slug", SAMPLE)
def test_every_line_of_a_story_is_seen_from_the_top_on(slug: str) -> None:
    for step in (False, True) if WHOLE else (len(slug) % 2 == 0,):
        seats = read_through(preset(slug), step=step)
        assert [seat.never_seen() for seat in seats] == [[]] * len(ROOMS)


def read_through(bench: Bench, *, step: bool) -> list[Seat]:
    """Read a story to its end by `space`, or by `]`, in a pane of every size."""
    seats = [Seat(bench, *room) for room in ROOMS.values()]
    assert [seat.top for seat in seats] == [0] * len(seats)
    while True:
        for seat in seats:
            seat.read(step=step)
        if bench.idle and bench.next_item is None:
            return seats
        bench.step_story() if step else bench.step_action()
        for seat in seats:
            seat.told()


def test_a_step_does_not_take_the_text_away() -> None:
    bench = preset("3", "ryan-v2")
    seat = Seat(bench, 50, 17)
    for _ in range(8):
        seat.read(step=False)
        bench.step_action()
        seat.told()
    seat.turn(seat.top - 10)
    top = seat.top
    for move in (bench.step_event, bench.step_action, bench.run_to_end, bench.back_event):
        move()
        seat.show()
        assert seat.top == top
    assert "J: it stands below" in seat.reader.hint(seat.doc, seat.top, seat.rows)
    seat.turn(seat.reader.go_there(seat.doc, seat.rows))
    assert seat.doc.focus is not None
    assert seat.top <= seat.doc.focus < seat.top + seat.rows


def test_where_the_story_stands_stays_in_sight_but_skips_nothing() -> None:
    bench = preset("3", "7.2")
    seat = Seat(bench, 50, 6)
    bench.step_action(4)  # by `n`, without a look at the story
    seat.show()
    assert seat.top == 0
    seat.read(step=True)
    top = seat.top
    assert top <= (seat.doc.focus or 0) < top + seat.rows
    bench.back_action(4)
    seat.show()
    assert seat.top < top  # it was in sight, and all above was read
    assert seat.top <= (seat.doc.focus or 0) < seat.top + seat.rows


def test_what_was_checked_is_to_be_read_again() -> None:
    bench = preset("3", "7.2")
    seat = Seat(bench, 50, 200)
    assert not seat.reader.unread(seat.doc, step=True)  # all of it is on the screen
    seat.rows = 9
    seat.turn(0)
    bench.step_story()
    seat.show()
    assert seat.reader.unread(seat.doc, step=False)
    seat.read(step=False)
    assert "    ok A.R cont = 0" in seat.seen


def test_the_place_is_kept_at_another_width_and_on_another_kernel() -> None:
    bench = preset("3", "ryan-v2")
    seat = Seat(bench, 50, 12)
    for _ in range(6):
        seat.read(step=False)
        bench.step_action()
        seat.told()
    first = _bare(seat.doc, seat.top)
    seat.width = 84
    seat.show()
    assert _bare(seat.doc, seat.top)[:12] == first[:12]
    assert not seat.reader.unread(seat.doc, step=False)
    seat.bench = bench.replay_on("7.2")
    seat.show()
    assert seat.top > 0
    assert not seat.reader.unread(seat.doc, step=False)


def test_a_session_opens_where_it_stands_and_an_empty_machine_has_nothing_to_read() -> None:
    bench = preset("3", "7.2")
    bench.step_action(7)
    seat = Seat(bench, 50, 17)
    assert seat.top > 0
    assert seat.top <= (seat.doc.focus or 0) < seat.top + seat.rows
    assert Seat(machine("7.2", "mmap A R 64K"), 50, 17).top == 0


def test_an_expectation_that_fails_says_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "wrong.md"
    path.write_text(_WRONG)
    bench = Bench(open_source(str(path)))
    height = view(bench, 60).height
    bench.step_story()
    doc = view(bench, 60)
    lines = [plain(doc.line(y)) for y in range(doc.height)]
    at = lines.index("  FAIL expected refcount = 7")
    assert lines[at + 1] == "       got      1"
    assert lines[at + 2] == "    ok exclusive = {0}"
    assert doc.height == height + 1
    assert lines[-2] == " The end."


_WRONG = """+++
title = "Wrong"
kernels = ["7.2"]
summary = "A story that is mistaken."
+++

```mm
mmap A R 4K
write A R 0 1
```

One page.

```expect
refcount = 7
exclusive = {0}
```

The end.
"""


@pytest.mark.parametrize("size", ROOMS)
async def test_space_reads_and_then_acts(size: tuple[int, int]) -> None:
    app = MmtuiApp("3", "7.2")
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, MainScreen)
        story = screen.frame.story
        await until(pilot, lambda: "space" in str(story.border_title))
        assert story.room == ROOMS[size]
        bench, presses = screen.bench, 0
        while not bench.session.steps:
            assert screen.frame.story.reader.unread(view(bench, ROOMS[size][0]), step=False) == (
                "space reads on" in str(screen.frame.story.border_title)
            )
            await pilot.press("space")
            presses += 1
        assert presses > 1 or size == (200, 60)
        assert len(bench.session.steps) == 1
        await pilot.press("2", "right_square_bracket", "right_square_bracket")
        assert len(bench.session.steps) > 1 or screen.frame.current.id == "story"


async def test_the_story_comes_forward_when_something_is_unread() -> None:
    app = MmtuiApp("3", "7.2")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "space")
        screen = app.screen
        assert isinstance(screen, MainScreen)
        assert screen.frame.current.id == "story"
        assert not screen.bench.session.steps
        await pilot.press("n", "n", "J")
        assert "J: it stands" not in str(screen.frame.story.border_title)
