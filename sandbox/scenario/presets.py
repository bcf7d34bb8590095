"""Presets: Markdown documents that tell a story, run, and are tests.

A preset starts with TOML front matter between `+++` lines:

    +++
    title = "Mapcount before refcount"
    number = 1
    kernels = ["ryan-v2", "6.9"]      # the first one is shown first
    tags = ["fork"]
    summary = "One sentence."
    [[mails]]
    author = "David Hildenbrand"
    date = "2023-11-16"
    id = "271f1e98-...@redhat.com"
    subject = "..."                   # optional
    +++

Then follows prose with fenced blocks: `mm` (lines of the scenario language) and
`expect` (expectations about the state after the commands above).  Kernel ids after
either word limit a block to these kernels, and `!ID` to all others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from sandbox.errors import Cancelled, PresetError, SandboxError, Where
from sandbox.kernels import model_of
from sandbox.reading import StopAsked, read_text
from sandbox.scenario.front_matter import FrontMatter, Mail, check_kernels, read_front_matter
from sandbox.scenario.language import Action, CpuBlock, Scenario, parse_lines
from sandbox.scenario.lines import Budget, near

if TYPE_CHECKING:
    from sandbox.scenario.expect import Expectation

__all__ = [
    "Commands",
    "Expect",
    "KernelFilter",
    "Mail",
    "Preset",
    "Prose",
    "StoryStep",
    "lines_of",
    "load_preset",
    "open_preset_text",
    "parse_preset",
    "read_document",
    "slug_of",
    "stem_of",
]

_FENCE = re.compile(r"`{3,}|~{3,}")
_NUMBERED = re.compile(r"([0-9]+)-(.+)")


class KernelFilter(NamedTuple):
    """Which kernels a block is for: those named, or all but those named."""

    names: frozenset[str] = frozenset()
    others: bool = True
    """Whether the names are the kernels that are left out."""

    def applies_to(self, kernel: str) -> bool:
        """Tell whether the block is for a kernel."""
        return (kernel in self.names) is not self.others


class Prose(NamedTuple):
    """Markdown between the blocks, code fences of other languages included."""

    text: str
    where: Where


class Commands(NamedTuple):
    """A block of actions."""

    steps: tuple[Action | CpuBlock, ...]
    text: str
    kernels: KernelFilter
    where: Where


class Expect(NamedTuple):
    """A block of expectations about the state after the commands above it."""

    text: str
    kernels: KernelFilter
    where: Where

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """Its lines, read when they are first asked for.

        Raises `ExpectationError`, but never in a document that was read as `strict`.
        """
        return _read_expectations(self)


@cache
def _read_expectations(block: Expect) -> tuple[Expectation, ...]:
    # Imported here: running a preset needs no expectations, and start-up time counts.
    from sandbox.scenario.expect import parse_expectations

    return tuple(parse_expectations(block.text, block.where.file, block.where.line + 1))


Part = Prose | Commands | Expect


class StoryStep(NamedTuple):
    """Commands with the prose that leads to them and what is said about their result.

    What is said after everything is a last step without commands.
    """

    prose: str
    commands: Commands | None
    after: tuple[Prose | Expect, ...] = ()
    """Expectations, each with the prose before it, in the order of the document."""

    @property
    def expects(self) -> tuple[Expect, ...]:
        """The blocks of expectations alone."""
        return tuple(part for part in self.after if isinstance(part, Expect))


class Preset(NamedTuple):
    """A preset document, read."""

    slug: str
    title: str
    number: int | None
    kernels: tuple[str, ...]
    mails: tuple[Mail, ...]
    tags: tuple[str, ...]
    summary: str
    parts: tuple[Part, ...]
    path: str

    def story(self, kernel: str) -> tuple[StoryStep, ...]:
        """Return the steps of the story as they are told on one kernel.

        Prose before expectations belongs to the commands above them, other prose to
        the commands below; that of a block for other kernels goes on to the next step.
        """
        kernel = self._known(kernel)
        told: list[tuple[str, Commands | None, list[Prose | Expect]]] = []
        prose: list[str] = []
        for part, after in zip(self.parts, (*self.parts[1:], None), strict=True):
            if isinstance(part, Prose) and isinstance(after, Expect) and told:
                told[-1][2].append(part)
            elif isinstance(part, Prose):
                prose.append(part.text)
            elif not part.kernels.applies_to(kernel):
                continue
            elif isinstance(part, Commands):
                told.append(("\n\n".join(prose), part, []))
                prose = []
            elif told:
                told[-1][2].append(part)
        if prose:
            told.append(("\n\n".join(prose), None, []))
        return tuple(StoryStep(words, block, tuple(after)) for words, block, after in told)

    def _known(self, kernel: str) -> str:
        """What the blocks call a kernel: a person's own is told as the model it is made of is."""
        return kernel if kernel in self.kernels else model_of(kernel)

    def scenario(self, kernel: str) -> Scenario:
        """Return the actions for one kernel as a scenario named after the preset."""
        kernel = self._known(kernel)
        blocks = [
            part
            for part in self.parts
            if isinstance(part, Commands) and part.kernels.applies_to(kernel)
        ]
        steps = tuple(step for block in blocks for step in block.steps)
        return Scenario(self.slug, self.title, steps, Where(self.path, 1, 1))


class _Fence(NamedTuple):
    """A fenced block that is being read: its mark, info words and first line."""

    mark: str
    info: str
    line: int
    column: int


def _read_filter(fence: _Fence, front: FrontMatter, filename: str) -> KernelFilter:
    """Read the kernel ids after `mm` or `expect`."""
    names: set[str] = set()
    others: set[bool] = set()
    for match in re.finditer(r"[^ \t]+", fence.info):
        if match.start() == 0:
            continue
        name = match[0].removeprefix("!")
        where = Where(filename, fence.line, fence.column + match.start())
        if name not in front.kernels:
            message = f"kernel {name[:40]!r} is not of this preset{near(name, front.kernels)}"
            raise PresetError(message, where, f"one of {', '.join(front.kernels)}")
        names.add(name)
        others.add(match[0].startswith("!"))
        if len(others) > 1:
            expected = "either kernels or !kernels"
            raise PresetError("kernels and !kernels in one block", where, expected)
    return KernelFilter(frozenset(names), all(others))


def _read_block(
    fence: _Fence, lines: Sequence[str], front: FrontMatter, filename: str, budget: Budget
) -> Part:
    """Read the inside of an `mm` or `expect` block."""
    text, where = "\n".join(lines), Where(filename, fence.line, 1)
    budget.blocks -= 1
    if budget.blocks < 0:
        raise PresetError("too many blocks in one document", where, "fewer of them")
    kernels = _read_filter(fence, front, filename)
    if _word(fence) == "mm":
        steps = tuple(parse_lines(text, filename, fence.line + 1, budget))
        return Commands(steps, text, kernels, where)
    budget.expectations -= len(lines)
    if budget.expectations < 0:
        raise PresetError("too many expectations in one document", where, "fewer of them")
    return Expect(text, kernels, where)


def _prose(lines: Sequence[str], first: int, filename: str) -> Iterator[Prose]:
    """Yield the prose of some lines, if there is any."""
    text = "\n".join(lines).strip("\n")
    if text.strip():
        yield Prose(text, Where(filename, first, 1))


def _read_parts(
    lines: Sequence[str], first: int, front: FrontMatter, filename: str
) -> Iterator[Part]:
    """Yield the parts of the document after its front matter, which ends before line `first`."""
    fence: _Fence | None = None
    kept: list[str] = []
    start, budget = first, Budget()
    for number, line in enumerate(islice(lines, first - 1, None), first):
        found = _read_fence(line, number)
        if fence is None and found is not None:
            fence = found
            if _is_ours(fence):
                yield from _prose(kept, start, filename)
                kept = []
                continue
        elif fence is not None and found is not None and _closes(fence, found):
            closed, fence = fence, None
            if _is_ours(closed):
                yield _read_block(closed, kept, front, filename, budget)
                kept, start = [], number + 1
                continue
        kept.append(line)
    if fence is not None:
        where = Where(filename, fence.line, 1)
        raise PresetError("the block is never closed", where, f"a line {fence.mark}")
    yield from _prose(kept, start, filename)


def _read_fence(line: str, number: int) -> _Fence | None:
    """Read the mark that opens or closes a block, if a line has one."""
    mark = _FENCE.match(line)
    if mark is None:
        return None
    info = line[mark.end() :].lstrip(" \t")
    return _Fence(mark[0], info.rstrip(" \t"), number, len(line) - len(info) + 1)


def _word(fence: _Fence) -> str:
    """The first word after a mark, which says whose the block is."""
    return next(iter(fence.info.split(maxsplit=1)), "")


def _is_ours(fence: _Fence) -> bool:
    return _word(fence) in ("mm", "expect")


def _closes(fence: _Fence, other: _Fence) -> bool:
    return other.mark.startswith(fence.mark) and not other.info


def _check_order(parts: Sequence[Part]) -> None:
    """Refuse expectations before any commands: there is no state to hold them against."""
    for part in parts:
        if isinstance(part, Commands):
            return
        if isinstance(part, Expect):
            raise PresetError("expectations before any commands", part.where, "an mm block first")


def lines_of(text: str) -> list[str]:
    """The lines of a document."""
    return [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]


def stem_of(path: str) -> str:
    """The name of a file without its ending."""
    return os.path.splitext(os.path.basename(path))[0]


def slug_of(stem: str) -> str:
    """Return the name of a document without the number before it."""
    numbered = _NUMBERED.fullmatch(stem)
    return numbered[2] if numbered else stem


def parse_preset(text: str, filename: str, *, strict: bool = True) -> Preset:
    """Read a preset document; unless it is to be `strict`, expectations are read when asked for.

    Raises `PresetError`, and `ScenarioError` or `ExpectationError` for what is
    inside its blocks.
    """
    lines = lines_of(text)
    front, first = read_front_matter(lines, filename)
    parts = tuple(_read_parts(lines, first, front, filename))
    _check_order(parts)
    if strict:
        for part in parts:
            if isinstance(part, Expect):
                _read_expectations(part)
    return Preset(
        slug=slug_of(stem_of(filename)),
        title=front.title,
        number=front.number,
        kernels=front.kernels,
        mails=front.mails,
        tags=front.tags,
        summary=front.summary,
        parts=parts,
        path=filename,
    )


def open_preset_text(text: str, filename: str, *, strict: bool = True) -> Preset:
    """Read a preset document that is going to be run, as `parse_preset` does.

    Raises `PresetError` also if it is for a kernel that is not known: a document names ids, and
    classes of files only if the person at this process has named them.
    """
    preset = parse_preset(text, filename, strict=strict)
    check_kernels(preset.kernels, text, filename)
    return preset


def load_preset(
    path: str | os.PathLike[str], *, strict: bool = True, stop: StopAsked | None = None
) -> Preset:
    """Read a preset from a file; `strict` is that of `parse_preset`, `stop` that of `read_text`.

    Raises `PresetError`, also if the file cannot be read, and what `open_preset_text` does.
    """
    return open_preset_text(read_document(os.fspath(path), stop), os.fspath(path), strict=strict)


def read_document(path: str, stop: StopAsked | None = None) -> str:
    """The text of a document.  Raises `PresetError` if it cannot be read."""
    try:
        return read_text(path, "a preset document", stop)
    except Cancelled:
        raise
    except SandboxError as error:
        raise PresetError(error.message, error.where, error.expected) from error
