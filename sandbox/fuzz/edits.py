"""Smaller forms of a scenario: without some actions, with shorter ranges, without options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sandbox.scenario.language import VERBS, Action, Style, format_action, parse_action

__all__ = ["Edit", "apply", "drops", "merged", "simplified", "weight"]

Edit = tuple[str | None, ...]
"""For each line what it becomes; None if it goes."""


def apply(edit: Edit) -> tuple[str, ...]:
    """The lines that are left."""
    return tuple(line for line in edit if line is not None)


def merged(lines: Sequence[str], edits: Sequence[Edit]) -> Edit:
    """All that some edits do to the lines, at once."""
    result: list[str | None] = list(lines)
    for edit in edits:
        for at, line in enumerate(edit):
            if line is None:
                result[at] = None
            elif line != lines[at] and result[at] == lines[at]:
                result[at] = line
    return tuple(result)


def weight(lines: Sequence[str]) -> tuple[int, int, int]:
    """How large a scenario is: actions, then pages, then letters."""
    pages = 0
    for line in lines:
        args = parse_action(line).args
        pages += args.get("size", 0)
        if "end" in args:
            pages += args["end"] - args["start"]
    return len(lines), pages, sum(map(len, lines))


def drops(lines: Sequence[str], largest: int, smallest: int) -> Iterator[Edit]:
    """Without a window of actions, the larger ones first; the last action always stays."""
    droppable = len(lines) - 1
    size = largest
    while size >= max(1, smallest):
        for start in range(0, droppable, size):
            end = min(start + size, droppable)
            yield (*lines[:start], *[None] * (end - start), *lines[end:])
        size //= 2


def simplified(lines: Sequence[str]) -> Iterator[Edit]:
    """With one line made simpler, or one region moved to its first page."""
    actions = [parse_action(line) for line in lines]
    for at, action in enumerate(actions):
        for simpler in _simpler(action):
            line = format_action(simpler)
            if line != lines[at]:
                yield (*lines[:at], line, *lines[at + 1 :])
    yield from _moved(lines, actions)


def _simpler(action: Action) -> Iterator[Action]:
    args = action.args
    if "end" in args:
        start, end = args["start"], args["end"]
        middle = (start + end) // 2
        if end - start > 1:
            for one, other in ((start, start + 1), (end - 1, end), (start, middle), (middle, end),
                               (start, end - 1), (start + 1, end)):  # fmt: skip
                yield _with(action, start=one, end=other)
    if args.get("size", 1) > 1 and action.verb not in ("mthp", "shmem"):
        for size in {1, args["size"] // 2, args["size"] - 1}:
            yield _with(action, size=size)
    if action.verb in ("mthp", "shmem") and args["size"] > 4:
        yield _with(action, size=4)
        yield _with(action, size=args["size"] // 2)
    for param in VERBS[action.verb].params:
        optional = param.style in (Style.OPTIONAL, Style.KEYWORD, Style.FLAG)
        if optional and args[param.name] != param.default and param.name != "at":
            yield _with(action, **{param.name: param.default})
    if len(args.get("flags", "")) > 1:
        yield _with(action, flags=args["flags"][0])


def _moved(lines: Sequence[str], actions: Sequence[Action]) -> Iterator[Edit]:
    """With all pages of a region renumbered so that the first is 0."""
    regions = {a.args["region"] for a in actions if a.args.get("region") and "start" in a.args}
    for region in sorted(regions):
        of = [a.args for a in actions if a.args.get("region") == region]
        firsts = [args.get("at") or 0 if "size" in args else args["start"] for args in of
                  if "size" in args or "start" in args]  # fmt: skip
        firsts += [a.args["to_page"] for a in actions if a.args.get("to_region") == region]
        least = min(firsts, default=0)
        for by in {least, least // 16 * 16} - {0}:
            yield tuple(format_action(_shifted(action, region, by)) for action in actions)


def _shifted(action: Action, region: str, by: int) -> Action:
    args = action.args
    changes: dict[str, Any] = {}
    if args.get("region") == region:
        if action.verb == "mmap":
            changes["at"] = args["at"] - by
        elif "start" in args:
            changes |= {"start": args["start"] - by, "end": args["end"] - by}
    if args.get("to_region") == region:
        changes["to_page"] = args["to_page"] - by
    return _with(action, **changes)


def _with(action: Action, **changes: object) -> Action:
    return action._replace(args={**action.args, **changes})
