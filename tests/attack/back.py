"""Going back over presets and scenarios, with everything drawn that a screen would show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mmtui.model.bench import Bench
from mmtui.model.script import Source, open_source
from mmtui.views import status
from mmtui.views.layout import arrange
from mmtui.views.marks import marks_of
from mmtui.views.panes import PANES, document
from sandbox.errors import SandboxError
from sandbox.scenario.language import parse_scenarios
from sandbox.scenario.library import list_cards
from tests.attack.report import Report

__all__ = ["SIZES", "draw", "go_back", "presets", "quickly", "scenarios", "thoroughly"]

SCENARIOS = Path(__file__).parent.parent / "scenarios"


def _rooms(width: int, height: int) -> dict[str, tuple[int, int]]:
    """The room of each pane when it was gone to, without its title."""
    places = {name: arrange(width, height - 3, (name, "story")).places[name] for name in PANES}
    return {name: (place.width, place.height - 1) for name, place in places.items()}


SIZES = {size: _rooms(*size) for size in ((80, 24), (120, 40), (200, 60), (60, 15), (20, 5))}
"""Sizes of the screen, and the room that each pane has on it while it is shown."""

_MANY = 20_000
"""Events of a document that the quick pass goes back over once, not twice."""
_EVERY = 8
"""Of the scenarios, every eighth is in the quick pass."""


def presets() -> Iterator[Source]:
    """The library, in its order."""
    return (open_source(card.slug) for card in list_cards())


def scenarios() -> Iterator[Source]:
    """Every scenario that has recordings."""
    for path in sorted(SCENARIOS.glob("*.scn")):
        for scenario in parse_scenarios(path.read_text("utf-8"), path.name):
            yield Source(scenario.name, scenario.name, ("7.2",), scenario=scenario)


def draw(bench: Bench, sizes: Iterable[tuple[int, int]] = tuple(SIZES)) -> None:
    """Draw every pane, the status and the message, as screens of these sizes show them."""
    marks = marks_of(bench)
    seen = status.view(bench)
    for size in sizes:
        for name, (width, height) in SIZES[size].items():
            doc = document(name, bench, marks, width, height)
            rows = max(0, height - len(doc.head) - len(doc.foot))
            top = max(0, min((doc.focus or 0) - rows // 2, doc.height - rows))
            for row in range(top, min(doc.height, top + rows)):
                doc.line(row)
        status.render(seen, size[0])
    status.news(bench)


def to_the_end(source: Source) -> Bench:
    """A document done to its end, or to the action that is refused."""
    bench = Bench(source)
    try:
        bench.run_to_end()
    except SandboxError:
        bench.select_settled()
    return bench


def go_back(report: Report, bench: Bench, key: str, sizes: list[tuple[int, int]]) -> None:
    """Go back to the start by `N`, `[` or `S` and draw after each move; `S` before every third `N`.

    Draws at *sizes*, or at one that changes from move to move if there are none.
    """
    moves = {"N": bench.back_action, "[": bench.back_story, "S": bench.back_event}
    everything = list(SIZES)
    number = 0
    while bench.session.position:
        number += 1
        turn = everything[number % len(everything)]
        if key == "N" and number % 3 == 1:
            bench.back_event()
            _drawn(report, bench, "S", [turn])
            if not bench.session.position:
                break
        moves[key]()
        _drawn(report, bench, key, sizes or [turn])


def _drawn(report: Report, bench: Bench, key: str, sizes: list[tuple[int, int]]) -> None:
    """Draw, and note what cannot be drawn."""
    report.tried += 1
    report.counts[f"moves {key}"] += 1
    try:
        draw(bench, sizes)
    except Exception as error:  # noqa: BLE001  # whatever it is, it would end the application
        place = f"{bench.source.name} on {bench.kernel}, {key} to event {bench.session.position}"
        report.fault("drawing", f"{place}: {type(error).__name__}: {error}", place)


def quickly(report: Report) -> None:
    """All presets by `N` at all sizes, the small ones by `[`, and every eighth scenario."""
    for source in presets():
        bench = to_the_end(source)
        report.counts["documents"] += 1
        small = bench.session.position <= _MANY
        go_back(report, bench, "N", list(SIZES) if small else [])
        if small:
            bench.goto(bench.end)
            go_back(report, bench, "[", [])
    for number, source in enumerate(scenarios()):
        if number % _EVERY == 0:
            report.counts["documents"] += 1
            go_back(report, to_the_end(source), "N", [])


def thoroughly(report: Report, events: int = 2_000) -> None:
    """Everything at all sizes on every kernel of its own; by `S` the last *events* of each."""
    for source in [*presets(), *scenarios()]:
        bench = to_the_end(source)
        report.counts["documents"] += 1
        for key in ("N", "["):
            bench.goto(bench.end)
            go_back(report, bench, key, list(SIZES))
        bench.goto(min(bench.end, events))
        go_back(report, bench, "S", [])
