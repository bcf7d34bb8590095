"""Smaller forms of a scenario: without some actions, with shorter ranges, without options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sandbox.scenario.language import VERBS, Action, Style, format_action, parse_action

__all__ = ["Edit", "apply", "drops", "merged", "related", "simplified", "weight"]

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


def related(lines: Sequence[str]) -> Iterator[Edit]:
    """Without what is about other memory than the last action, the strictest first."""
    actions = [parse_action(line) for line in lines]
    names = [_names(action) for action in actions]
    last = names[-1]
    processes = _ancestors(actions, last)
    settings = [not (name - {"file", "memfd"}) for name in names]
    forks = [action.verb == "fork" for action in actions]
    near = [name & processes and (name & last) - processes for name in names]
    same = [name & processes for name in names]
    for keep in (
        [bool(n) for n in near],
        [bool(n) or f for n, f in zip(near, forks, strict=True)],
        [bool(n) or f or s for n, f, s in zip(near, forks, settings, strict=True)],
        [bool(n) or s for n, s in zip(same, settings, strict=True)],
    ):
        kept = (line if k else None for line, k in zip(lines[:-1], keep[:-1], strict=True))
        yield (*kept, lines[-1])


def _names(action: Action) -> set[str]:
    """The processes, regions, files and ids that an action names."""
    words = ("proc", "child", "region", "to_region", "name", "fd")
    found = {str(action.args[word]) for word in words if action.args.get(word)}
    return found | ({f"hold {action.args['id']}"} if action.args.get("id") else set())


def _ancestors(actions: Sequence[Action], names: set[str]) -> set[str]:
    """The processes among some names, and all that they were forked from."""
    alive = {a.args.get("proc") for a in actions} | {a.args.get("child") for a in actions}
    found = {name for name in names if name in alive}
    for action in reversed(actions):
        if action.verb == "fork" and action.args["child"] in found:
            found.add(action.args["proc"])
    return found


def simplified(lines: Sequence[str], *, finely: bool) -> Iterator[Edit]:
    """With one line much simpler (`finely`: a little), or a region moved to its first page."""
    actions = [parse_action(line) for line in lines]
    for at, action in enumerate(actions):
        for simpler in _finer(action) if finely else _simpler(action):
            line = format_action(simpler)
            if line != lines[at]:
                yield (*lines[:at], line, *lines[at + 1 :])
    if not finely:
        yield from _moved(lines, actions)


def _simpler(action: Action) -> Iterator[Action]:
    args = action.args
    if "end" in args:
        start, end = args["start"], args["end"]
        if end - start > 1:
            yield _with(action, start=start, end=start + 1)
            yield _with(action, start=end - 1, end=end)
    if action.verb in ("mthp", "shmem"):
        if args["size"] > 4:
            yield _with(action, size=4)
    elif args.get("size", 1) > 1:
        yield _with(action, size=args["size"] // 2)
    for param in VERBS[action.verb].params:
        optional = param.style in (Style.OPTIONAL, Style.KEYWORD, Style.FLAG)
        if optional and args[param.name] != param.default and param.name != "at":
            yield _with(action, **{param.name: param.default})
    if len(args.get("flags", "")) > 1:
        yield _with(action, flags=args["flags"][0])


def _finer(action: Action) -> Iterator[Action]:
    args = action.args
    if "end" in args and args["end"] - args["start"] > 1:
        start, end = args["start"], args["end"]
        middle = (start + end) // 2
        for one, other in ((start, middle), (middle, end), (start, end - 1), (start + 1, end)):
            yield _with(action, start=one, end=other)
    if action.verb in ("mthp", "shmem"):
        if args["size"] > 4:
            yield _with(action, size=args["size"] // 2)
    elif args.get("size", 1) > 1:
        for size in (1, args["size"] * 3 // 4, args["size"] - 1):
            yield _with(action, size=size)


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
