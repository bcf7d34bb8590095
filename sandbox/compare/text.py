"""A comparison as plain text that pastes well into a mail: 72 columns, ASCII."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from sandbox.compare.align import align
from sandbox.compare.changes import Change, keys
from sandbox.compare.runs import Comparison, Paired, Played
from sandbox.machine.memory import Word
from sandbox.truth.compare import Cell
from sandbox.truth.events import describe_events
from sandbox.truth.text import wrap

__all__ = ["cell_words", "change_words", "comparison_lines", "event_lines", "folded"]

_LISTED = 12
"""Steps after the first one that differs, and cells of a state, that are told; JSON has all."""
_NUMBER = re.compile(r"(?<=F\d\.)\d+|(?<=F\d\d\.)\d+|(?<=F\d\d\d\.)\d+")
"""The page in a folio of an entry's target."""


def comparison_lines(
    found: Comparison, told: Sequence[Paired], kernels: tuple[str, str]
) -> Iterator[str]:
    """Yield what differs in the steps *told*: the first in full, a line for each of the others."""
    yield from wrap("== ", f"{found.scenario}: {kernels[0]} | {kernels[1]}".split(), "   ")
    differing = [pair for pair in told if not pair.same]
    if differing:
        yield from _in_full(found, differing[0], kernels)
        for pair in islice(differing, 1, 1 + _LISTED):
            yield from wrap("", _in_short(found, pair), "  ")
        if len(differing) > 1 + _LISTED:
            yield f"and {len(differing) - 1 - _LISTED} steps more"
    else:
        yield "the same changes in the same order, and the same states"
    yield from _end(found)
    for fields, kernel in zip(found.only, kernels, strict=True):
        if fields:
            yield from wrap(f"only {kernel} changes: ", ", ".join(fields).split(), "  ")
    yield from _cost(found, told, kernels)


def _in_full(found: Comparison, pair: Paired, kernels: tuple[str, str]) -> Iterator[str]:
    yield from wrap("", _head(pair), "  ")
    width = max(map(len, kernels))
    sides = ((pair.left, kernels[0]), (pair.right, kernels[1]))
    for side, (played, kernel) in enumerate(sides):
        head = f"  {kernel:<{width}}  "
        if played is None:
            yield f"{head}has no such step"
        elif played.error is not None:
            yield from wrap(head, str(played.error).split(), " " * len(head))
        elif pair.first is not None:
            change = pair.first.left if side == 0 else pair.first.right
            yield from wrap(head, _told(found, side, change), " " * len(head))
    yield from _cell_lines("  after it: ", pair.cells)


def _head(pair: Paired) -> list[str]:
    side = pair.left or pair.right
    text = f"step {side.number if side else 0} {pair.text}:"
    if pair.first is not None:
        count = "change" if pair.first.at == 1 else "changes"
        text += f" {pair.first.at} {count} alike, then"
    return text.split()


def _told(found: Comparison, side: int, change: Change | None) -> list[str]:
    if change is None:
        return ["nothing", "more"]
    place = found.place(side, change)
    where = f"in {place['function']} ({place['file']}:{place['line']})"
    return [*change_words(change), *where.split()]


def change_words(change: Change) -> list[str]:
    """A change in words: the word and its old and new value, of flags which ones came and went."""
    if change.old is None and change.new is None:
        return [*change.word.split(), "changes"]
    if change.field in ("flags", "vm_flags"):
        old, new = (_flags(value) for value in (change.old, change.new))
        gone = [f"-{flag}" for flag in old if flag not in new]
        come = [f"+{flag}" for flag in new if flag not in old]
        return [*change.word.split(), *gone, *come]
    return [*change.word.split(), *f"{change.old} -> {change.new}".split()]


def _flags(value: Word | str) -> list[str]:
    return [flag for flag in str(value).split(",") if flag not in ("", "0")]


def _in_short(found: Comparison, pair: Paired) -> list[str]:
    """Where a step parts, in one line: what each of them does there."""
    words = _head(pair)
    for number, played in enumerate((pair.left, pair.right)):
        if played is None:
            return [*words, "on", found.runs[1 - number].session.kernel.id, "alone"]
        if played.error is not None:
            return [*words, *str(played.error).split()]
    if pair.first is None:
        return [*words, *_cells_differ(len(pair.cells))]
    ends = []
    for side, change in enumerate((pair.first.left, pair.first.right)):
        function = found.place(side, change)["function"] if change else "nothing"
        ends.append(f"{function} {change.word}" if change else "nothing more")
    return [*words, *" | ".join(ends).split()]


def _cells_differ(count: int) -> list[str]:
    return f"{count} {'cell' if count == 1 else 'cells'} of the states differ".split()


def _end(found: Comparison) -> Iterator[str]:
    if not found.end:
        if not found.same:
            yield "end: the same state"
        return
    yield from wrap("end: ", _cells_differ(len(found.end)), "  ")
    yield from _cell_lines("  ", found.end)


def folded(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Put cells that differ together: those of pages in a row that differ alike."""
    groups: list[list[Cell]] = []
    for cell in cells:
        if groups and _goes_on(groups[-1][-1], cell):
            groups[-1].append(cell)
        else:
            groups.append([cell])
    return groups


def _cell_lines(head: str, cells: Sequence[Cell]) -> Iterator[str]:
    """Yield a line for each group of cells, the first few."""
    groups = folded(cells)
    for group in groups[:_LISTED]:
        yield from wrap(head, cell_words(group), "    ")
    if len(groups) > _LISTED:
        yield f"  and {sum(map(len, groups[_LISTED:]))} cells more"


def _goes_on(before: Cell, cell: Cell) -> bool:
    """Whether a cell is the next page's and differs like the one before it."""
    name, _, index = cell.field.partition("[")
    its_name, _, its_index = before.field.partition("[")
    numbers = index[:-1], its_index[:-1]
    if not all(number.isdigit() for number in numbers) or cell.object != before.object:
        return False
    alike = [_NUMBER.sub("", f"{c.expected} | {c.got}") for c in (before, cell)]
    return name == its_name and int(numbers[0]) == int(numbers[1]) + 1 and alike[0] == alike[1]


def cell_words(group: Sequence[Cell]) -> list[str]:
    """A group of cells in words: the object, the field with its pages, and both values."""
    first, field = group[0], group[0].field
    if len(group) > 1:
        name, _, index = field.partition("[")
        field = f"{name}[{index[:-1]}-{int(index[:-1]) + len(group) - 1}]"
    values = ["none" if value is None else str(value) for value in (first.expected, first.got)]
    return f"{first.object} {field}: {values[0]} | {values[1]}".split()


def _cost(found: Comparison, told: Sequence[Paired], kernels: tuple[str, str]) -> Iterator[str]:
    """Yield the table of costs, of all that is told."""
    sides = [dict(found.cost(side).items()) for side in (0, 1)]
    if len(told) == 1:
        both: tuple[Played | None, ...] = (told[0].left, told[0].right)
        sides = [dict(each.cost.items()) if each else {} for each in both]
    widths = [max(8, len(kernel)) for kernel in kernels]
    heads = "".join(f"  {kernel:>{width}}" for kernel, width in zip(kernels, widths, strict=True))
    yield f"{'cost':<12}{heads}"
    for name in sides[0] | sides[1]:
        counts = [side.get(name, 0) for side in sides]
        if any(counts):
            row = "".join(f"  {n:>{width},}" for n, width in zip(counts, widths, strict=True))
            yield f"{name:<12}{row}"


def event_lines(found: Comparison, pair: Paired, kernels: tuple[str, str]) -> Iterator[str]:
    """Yield every event of a step: `<` is on the first kernel alone, `>` on the other."""
    spans = [(each.start, each.end) if each else (0, 0) for each in (pair.left, pair.right)]
    sides = list(zip((run.session for run in found.runs), spans, strict=True))
    both = [keys(session, *span) for session, span in sides]
    events = [list(describe_events(session, *span)) for session, span in sides]
    yield from wrap(f"-- {kernels[0]} < > {kernels[1]}: ", pair.text.split(), "   ")
    for left, right in align(*both):
        event = events[0][left] if left is not None else events[1][right or 0]
        mark = ">" if left is None else "<" if right is None else " "
        yield from wrap(f"{mark} ", _event_words(event), "    ")


def _event_words(event: dict[str, object]) -> list[str]:
    what = event.get("word") or event.get("object") or event.get("text") or ""
    return f"{event['n']} {event['op']} {what} {event['function']}".split()
