"""Going back over the whole library, drawing all that a screen of five sizes would show."""

from __future__ import annotations

from tests.attack import back
from tests.attack.report import Report


def test_every_way_back_can_be_drawn_at_every_size() -> None:
    report = Report("back")
    back.quickly(report)
    assert report.ok, str(report)
    assert report.counts["documents"] > 60
    assert {report.counts[f"moves {key}"] > 100 for key in "NS["} == {True}


def test_the_rooms_are_those_of_the_panes() -> None:
    for size, rooms in back.SIZES.items():
        assert len(rooms) == 7
        assert all(width <= size[0] and height < size[1] for width, height in rooms.values())
