"""The panes, each declared once: what it is called, where it stands, what makes and moves it.

Commands, keys, help, the frame of the main screen and its style sheet follow from `PANES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mmtui.model.bench import Bench
from mmtui.model.cursor import (
    Move,
    move_across,
    move_over_areas,
    move_over_frames,
    move_over_pages,
)
from mmtui.views import folios, log, processes, rules, source, story, tables
from mmtui.views.lines import Doc
from mmtui.views.marks import Marks

__all__ = ["COLUMNS", "FORESEEING", "PANES", "Column", "PaneSpec", "clicked", "document", "titled"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a large screen."""

    name: str
    upper: bool = False
    """Where there is no room for columns, one pane of these stands over one of the others."""


LEFT, MIDDLE, RIGHT = COLUMNS = (
    Column("left", upper=True),
    Column("middle"),
    Column("right"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaneSpec:
    """Everything that there is to know of one pane."""

    name: str
    """The word at `:pane`, and its identity on the screen."""
    title: str
    column: Column
    share: int
    """Its share of the column's height."""
    document: Callable[[Bench, Marks, int, int], Doc]
    """What it shows, for its width and height."""
    clicked: Callable[[Bench, Doc, int, int], bool] | None = None
    """Selects what was clicked at a line and column of the document; whether there was something.
    """
    move: Move | None = None
    """How the cursor moves in it; None where there is none, so that it scrolls."""
    event: Callable[[Bench], int | None] | None = None
    """Where Enter goes: the position after the event that is looked at, None if there is none.
    Without it, Enter explains what is shown, or changes the zoom of the page tables."""
    explains: bool = False
    """Whether Enter explains the words at the cursor."""
    letters: bool = False
    """Whether single letters are such words."""
    alarms: bool = False
    """Whether it shows what is broken, and says so in its title."""


_ALL = (
    PaneSpec(
        name="story", title="story", column=LEFT, share=5, document=story.document,
    ),
    PaneSpec(
        name="source", title="source", column=LEFT, share=5, document=source.document,
        move=move_over_frames,
    ),
    PaneSpec(
        name="tables", title="page tables", column=MIDDLE, share=7,
        document=tables.document, clicked=tables.clicked, move=move_over_pages,
        explains=True, letters=True,
    ),
    PaneSpec(
        name="folios", title="folios", column=MIDDLE, share=5,
        document=folios.document, clicked=folios.clicked, move=move_across, alarms=True,
        explains=True,
    ),
    PaneSpec(
        name="processes", title="processes", column=MIDDLE, share=3,
        document=processes.document, clicked=processes.clicked, move=move_over_areas,
        explains=True,
    ),
    PaneSpec(
        name="rules", title="rules", column=RIGHT, share=5, document=rules.document,
        clicked=rules.clicked, move=rules.move, event=rules.event, alarms=True,
    ),
    PaneSpec(
        name="log", title="log", column=RIGHT, share=6, document=log.document,
    ),
)  # fmt: skip

PANES: dict[str, PaneSpec] = {spec.name: spec for spec in _ALL}
"""The panes by name, in the order of their numbers, from 1."""


FORESEEING = ("rules",)
"""The panes that show what is found ahead."""


def titled(name: str) -> str:
    """The title of a pane with its number, which is its key."""
    return f"{list(PANES).index(name) + 1} {PANES[name].title}"


def document(name: str, bench: Bench, marks: Marks, width: int, height: int) -> Doc:
    """What the pane of that name shows, for its size."""
    return PANES[name].document(bench, marks, width, height)


def clicked(bench: Bench, name: str, doc: Doc, line: int, column: int) -> bool:
    """Select what was clicked: a page, a folio's page, a process or region, or a rule."""
    answer = PANES[name].clicked
    return answer is not None and answer(bench, doc, line, column)
