"""A state as Markdown: for a bug report or a page."""

from __future__ import annotations

from collections.abc import Iterator

from mmtui.export.exhibit import Exhibit
from mmtui.export.mail import event_words
from sandbox.compare.text import cell_words, folded
from sandbox.truth.text import step_lines

__all__ = ["markdown"]


def markdown(exhibit: Exhibit) -> Iterator[str]:
    """Yield the lines: a heading, the state or what changed, a table of what broke, the command."""
    step = exhibit.state
    yield f"## {_plain(exhibit.name)} on {_plain(exhibit.kernel)}"
    yield ""
    if exhibit.about:
        yield _plain(exhibit.about)
        yield ""
    yield f"After step {step['step']}, `{_code(step['action'])}`:"
    yield ""
    if exhibit.since is None:
        yield from _fenced(step_lines(step))
    else:
        yield f"What differs from the state after step {exhibit.since}:"
        yield ""
        cells = (" ".join(cell_words(group)) for group in folded(exhibit.cells))
        yield from _fenced(cells if exhibit.cells else iter(["nothing"]))
    yield from _rules(exhibit)
    if exhibit.walk:
        yield from _fenced(" ".join(event_words(*changed)) for changed in exhibit.changes())
    yield "Replay:"
    yield ""
    yield from _fenced(iter([exhibit.replay()]))


def _fenced(lines: Iterator[str]) -> Iterator[str]:
    """Yield lines as a block of code, with a fence that none of them can end."""
    inside = list(lines)
    fence = "```"
    while any(line.startswith(fence) for line in inside):
        fence += "`"
    yield fence
    yield from inside
    yield fence
    yield ""


def _rules(exhibit: Exhibit) -> Iterator[str]:
    if not exhibit.violations:
        yield "No rule is broken."
        yield ""
        return
    yield "| rule | what is wrong | event | function |"
    yield "|---|---|---:|---|"
    for v in exhibit.violations:
        cells = (v.rule, v.text, f"{v.event} (step {v.action + 1})", v.function)
        yield f"| {' | '.join(_plain(cell) for cell in cells)} |"
    yield ""


def _plain(text: str) -> str:
    """A text that Markdown does not take for anything else, on one line."""
    for char in "\\`*_[]<>|#":
        text = text.replace(char, f"\\{char}")
    return " ".join(text.split())


def _code(text: str) -> str:
    return text.replace("`", "'")
