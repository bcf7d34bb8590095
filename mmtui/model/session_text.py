"""The text of a session: a scenario whose comments say what else was done, and where it stands.

A file begins with a line that says that mmtui wrote it.  Then follow sections, a scenario each;
the last one is the present one, those before it were put aside by a change of the kernel.

    # mmtui session 2
    scenario seed-pin-middle
    #@ kernel "7.2"
    #@ document "3"
    mthp 64K madvise #@ line=12
    #@ branch 1 +0
    #: write A R 0 1
    #@ end
    mmap A R 64K #@ line=13
    #@ at 2 +0
    end

Actions of the present line stand alone, so that the file is what was done to whoever runs it.
Those of other futures stand behind `#:`, from `#@ branch NUMBER +OFFSET [TURNS]` to `#@ end`:
before the action that they begin before, or (offset in events) after the one they begin in.
An action that is not over has `done=EVENTS`, and if it has done none yet it stands behind `#:`.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from mmtui.model.session_mark import MARK
from mmtui.model.tree import DEEPEST, Done, Fork, Item, Place, Tree
from sandbox.errors import ScenarioError, Where
from sandbox.scenario.language import Action, CpuBlock, parse_lines
from sandbox.scenario.schedule import format_schedule, turns_of

__all__ = [
    "Head",
    "SavedSession",
    "Section",
    "done_lines",
    "parse_session",
    "section_text",
    "summed",
    "tail",
    "written_by_us",
]

_OLD_MARK = re.compile(r"# mmtui [^ ]+ --kernel [^ ]+")
"""The first line of what was saved before there was a mark."""
_SUM = re.compile(rf"{MARK} sum=([0-9a-f]{{8}})")
_RUNS = r"(?: [0-9]{1,4}(?:x[0-9]{1,9})?)*"
"""An order of CPUs as it was written before: `0x12 1` for `cpu0 12, cpu1 1`."""
_BRANCH = re.compile(
    rf"#@ branch ([0-9]{{1,9}}) \+([0-9]{{1,12}})({_RUNS}|(?:,? cpu[0-9]{{1,4}} [0-9]{{1,9}})*)"
)
_TURN = re.compile(r"cpu([0-9]+) ([0-9]+)|([0-9]+)(?:x([0-9]+))?")
_AT = re.compile(r"#@ at ([0-9]{1,9}) \+([0-9]{1,12})( left)? *")
_HEAD = re.compile(r"#@ (kernel|document|scenario) (.+)")
_META = re.compile(r"#@(?: line=([0-9]{1,9}))?(?: done=([0-9]{1,12}))?")


_LONGEST = 1_000_000
"""Events that an order of CPUs may have."""


class Head(NamedTuple):
    """What a section was done on."""

    kernel: str
    document: str = ""
    """What to open for the story; empty for an empty machine."""
    scenario: str = ""
    """Which scenario of the document."""


class Section(NamedTuple):
    """One scenario of a session."""

    name: str
    head: Head
    tree: Tree
    place: Place
    left: bool
    """Whether it was left, or ended in the middle of things."""
    text: str
    """Its own lines."""
    line: int
    """Its first line in the file."""


class SavedSession(NamedTuple):
    """A session that was read from a file."""

    path: str
    stamp: tuple[int, int]
    """The file's number and time of change when it was read."""
    sections: tuple[Section, ...]
    """The present one last."""


# -- writing -----------------------------------------------------------------------------


def section_text(name: str, head: Head, tree: Tree) -> str:
    """The lines of a section up to its place and end, which `tail` has."""
    return "".join([*_head_lines(name, head), *_lines(tree, "")])


def _head_lines(name: str, head: Head) -> Iterator[str]:
    yield f"scenario {name}\n"
    for key, value in head._asdict().items():
        if value:
            yield f"#@ {key} {json.dumps(value)}\n"


def tail(place: Place, *, left: bool) -> str:
    """The last lines of a section; always as long, so that they can be written over."""
    return f"{f'#@ at {place.steps} +{place.offset}' + ' left' * left:<36}\nend\n"


def _lines(items: Tree, lead: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, Done):
            yield done_lines(item, lead)
            continue
        order = format_schedule(turns_of(item.order)).removeprefix("schedule")
        yield f"#@ branch {item.number} +{item.offset}{order}\n"
        yield from _lines(item.items, "#: ")
        yield "#@ end\n"


def done_lines(done: Done, lead: str = "") -> str:
    """The lines of an action, with where it is told of and how far it came."""
    action = done.action
    lines = [action.source]
    if isinstance(action, CpuBlock):
        # The schedule keeps the block apart from one that may follow it.
        lines = [item.source for item in action.actions]
        lines.append(format_schedule(action.schedule))
    meta = f" line={done.line}" * bool(done.line)
    if done.events is not None:
        meta += f" done={done.events}"
        lead = lead or ("" if done.events else "#: ")
    lines[0] += f" #@{meta}" if meta else ""
    return "".join(f"{lead}{line}\n" for line in lines)


def summed(text: str) -> str:
    """A whole file: the mark, with a sum by which it can be told later whether it is ours still."""
    return f"{MARK} sum={zlib.crc32(text.encode()):08x}\n{text}"


# -- reading -----------------------------------------------------------------------------


def written_by_us(text: str) -> bool:
    """Whether nobody but mmtui wrote a text: with the sum it had, or as it used to be saved."""
    first, _, rest = text.partition("\n")
    if found := _SUM.fullmatch(first):
        return int(found[1], 16) == zlib.crc32(rest.encode())
    return _OLD_MARK.fullmatch(first) is not None and "#" not in rest


def parse_session(text: str, filename: str) -> list[Section]:
    """Read the sections of a session.

    A session whose last lines are missing, because it ended with the machine that wrote it, is
    read as far as it goes.

    Raises:
        ScenarioError: it is none, with the place.
    """
    sections: list[Section] = []
    lines = text.split("\n")
    at = 1
    while at < len(lines):
        if lines[at].startswith("scenario "):
            end = next((n for n in range(at, len(lines)) if lines[n] == "end"), len(lines))
            sections.append(_Reader(lines[at:end], filename, at + 1).section())
            at = end
        elif lines[at].strip() and not lines[at].startswith("#"):
            raise ScenarioError("outside a scenario", Where(filename, at + 1, 1), "scenario NAME")
        at += 1
    if not sections:
        raise ScenarioError("no scenario in the session", Where(filename, 1, 1), "scenario NAME")
    return sections


def _order(text: str, where: Where) -> tuple[int, ...]:
    order: list[int] = []
    for turn in _TURN.finditer(text):
        cpu, count = int(turn[1] or turn[3]), int(turn[2] or turn[4] or 1)
        if len(order) + count > _LONGEST:
            raise ScenarioError("the order of CPUs is too long", where, f"at most {_LONGEST}")
        order += [cpu] * count
    return tuple(order)


class _Open(NamedTuple):
    """A future that is being read: the number of its first line, and what it has so far."""

    line: int
    match: re.Match[str] | None
    content: dict[int, str]
    forks: dict[int, Fork]


class _Reader:
    """Reads one section; its lines by their number in the file."""

    def __init__(self, lines: list[str], filename: str, first: int) -> None:
        self._lines, self._filename, self._first = lines, filename, first
        self._head: dict[str, str] = {"kernel": ""}
        self._place, self._left = Place(1 << 30), False
        self._open = [_Open(first, None, {}, {})]

    def section(self) -> Section:
        """The section."""
        name = self._lines[0].removeprefix("scenario ").strip()
        for number, line in enumerate(self._lines[1:], self._first + 1):
            self._read(number, line)
        while len(self._open) > 1:  # what was being written when it all ended
            self._close()
        tree = self._tree(self._open[0])
        text = "".join(f"{line}\n" for line in self._lines)
        return Section(name, Head(**self._head), tree, self._place, self._left, text, self._first)

    def _read(self, number: int, line: str) -> None:
        top = self._open[-1]
        if line.startswith("#: "):
            top.content[number] = line[3:]
        elif not line.startswith("#@ "):
            if line.strip() and not line.startswith("#"):
                if len(self._open) > 1:
                    self._fail(number, "an action of the present line within a branch", "#@ end")
                top.content[number] = line
        elif line == "#@ end":
            if len(self._open) == 1:
                self._fail(number, "the end of no branch", "#@ branch before it")
            self._close()
        elif found := _BRANCH.fullmatch(line):
            if len(self._open) > DEEPEST:
                self._fail(number, "branches too deep", f"at most {DEEPEST}")
            self._open.append(_Open(number, found, {}, {}))
        elif found := _AT.fullmatch(line):
            self._place = Place(int(found[1]), int(found[2]))
            self._left = bool(found[3])
        elif found := _HEAD.fullmatch(line):
            self._head[found[1]] = self._word(number, found[2])
        else:
            self._fail(number, "not a line of a session", "#@ kernel, document, branch, end or at")

    def _word(self, number: int, text: str) -> str:
        try:
            word = json.loads(text)
        except (ValueError, RecursionError):
            word = None
        if not isinstance(word, str):
            self._fail(number, "not a word", '"..."')
        return word

    def _close(self) -> None:
        done = self._open.pop()
        assert done.match is not None
        number, offset, order = done.match.groups()
        where = Where(self._filename, done.line, 1)
        fork = Fork(int(number), int(offset), _order(order, where), self._tree(done))
        self._open[-1].forks[done.line] = fork

    def _tree(self, read: _Open) -> Tree:
        """The actions and futures of a line, in the order in which they were written."""
        if not read.content:
            return tuple(read.forks.values())
        first, last = min(read.content), max(read.content)
        text = "\n".join(read.content.get(number, "") for number in range(first, last + 1))
        items: dict[int, Item] = dict(read.forks)
        for step in parse_lines(text, self._filename, first):
            items[step.where.line] = self._done(step.where.line, read, step)
        return tuple(items[number] for number in sorted(items))

    def _done(self, number: int, read: _Open, step: Action | CpuBlock) -> Done:
        _, mark, meta = read.content[number].partition(" #@")
        found = _META.fullmatch(f"#@{meta}") if mark else None
        line, events = found.groups() if found else (None, None)
        return Done(step, int(line or 0), None if events is None else int(events))

    def _fail(self, number: int, message: str, expected: str) -> NoReturn:
        raise ScenarioError(message, Where(self._filename, number, 1), expected)
