"""From the name of a pane to its document."""

from __future__ import annotations

from collections.abc import Callable

from mmtui.model.bench import Bench
from mmtui.model.selection import Selection
from mmtui.views import folios, log, processes, rules, source, story, tables
from mmtui.views.lines import Doc
from mmtui.views.marks import Marks, marks_of

__all__ = ["clicked", "document"]

_Make = Callable[[Bench, Marks, int, int], Doc]

_PANES: dict[str, _Make] = {
    "story": lambda bench, _marks, width, _height: story.view(bench, width),
    "source": lambda bench, marks, width, height: source.render(
        source.view(bench, marks), width, height
    ),
    "tables": lambda bench, marks, width, _height: tables.view(bench, marks, width),
    "folios": lambda bench, marks, width, _height: folios.view(bench, marks, width),
    "processes": lambda bench, marks, width, _height: processes.render(
        processes.view(bench, marks), width
    ),
    "rules": lambda bench, _marks, width, height: rules.render(rules.view(bench), width, height),
    "log": lambda bench, _marks, width, height: log.view(bench, width, height),
}


def document(name: str, bench: Bench, marks: Marks, width: int, height: int) -> Doc:
    """What the pane of that name shows, for its size."""
    return _PANES[name](bench, marks, width, height)


def clicked(bench: Bench, name: str, doc: Doc, line: int, column: int) -> bool:
    """Select what was clicked: a page, a folio's page, a process or region, or a rule."""
    selection = None
    if isinstance(doc, tables.Tables):
        selection = doc.at(line, column)
    elif isinstance(doc, folios.FoliosDoc):
        found = doc.at(line, column)
        selection = tables.page_of(bench, *found) if found is not None else None
    elif name == "processes":
        row = processes.row_at(processes.view(bench, marks_of(bench)), line)
        selection = Selection(*row) if row is not None else None
    elif name == "rules" and line < len(rules.view(bench).episodes):
        bench.rule = line
        return True
    if selection is None:
        return False
    bench.select(lambda _: selection)
    bench.select_settled()
    return True
