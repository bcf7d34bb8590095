"""The text of the help, made from the tables of commands, verbs, glyphs and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mmtui.commands.model import Command, Group
from mmtui.commands.registry import COMMANDS
from mmtui.model.bench import Bench
from mmtui.views.entries import GLYPH_LEGEND
from mmtui.views.lines import EMPTY, TOKENS, Line, Lines, clip, join, say, wrap_words
from sandbox.scenario.schedule import HELP as BLOCK_HELP
from sandbox.scenario.verbs import VERBS

__all__ = ["help_doc"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One thing the help tells: how to say it, what it means, why it cannot be done now."""

    lead: Line
    text: str
    keys: tuple[str, ...] = ()
    reason: str | None = None

    def has(self, words: list[str]) -> bool:
        """Whether it has every word of a search."""
        text = f"{''.join(t for t, _ in self.lead)} {self.text}".casefold()
        return all(word in text for word in words)


def help_doc(bench: Bench | None, search: str, width: int) -> Lines:
    """The help, narrowed by a search; what a single key does comes first."""
    wanted = search.strip()
    lines: list[Line] = []
    key = wanted.removeprefix("@") or wanted
    by_key = [
        entry for group in Group for entry in _commands(group, bench) if key and key in entry.keys
    ]
    if by_key:
        lines.append(say(f" The key {key}", "strong"))
        lines += [line for entry in by_key for line in _entry_lines(entry, width)]
        lines.append(EMPTY)
    words = wanted.removeprefix("@").casefold().split()
    for title, entries in _sections(bench):
        found = [entry for entry in entries if entry.has(words)]
        if found:
            lines.append(say(f" {title}", "strong"))
            lines += [line for entry in found for line in _entry_lines(entry, width)]
            lines.append(EMPTY)
    return Lines(tuple(lines) or (say(" nothing found", "dim"),))


def _sections(bench: Bench | None) -> Iterator[tuple[str, list[_Entry]]]:
    for group in Group:
        yield group.value, list(_commands(group, bench))
    verbs = [_Entry(((verb.usage, "key"),), verb.meaning) for verb in VERBS.values()]
    yield "Actions of the scenario language, typed at :", verbs
    blocks = [_Entry(((text, "key"),), meaning) for text, meaning in BLOCK_HELP]
    yield "Several CPUs at once", blocks
    glyphs = [_Entry(((text, "strong"),), meaning) for text, meaning in GLYPH_LEGEND]
    yield "Glyphs of the page tables", glyphs
    tokens = [_Entry(((name, name),), meaning) for name, meaning in TOKENS.items()]
    yield "Colours and marks", tokens


def _commands(group: Group, bench: Bench | None) -> Iterator[_Entry]:
    for command in COMMANDS.values():
        if command.group is group:
            yield _command(command, bench)


def _command(command: Command, bench: Bench | None) -> _Entry:
    keys = " ".join(command.keys)
    lead = join(((f"{keys:<15} ", "key"), (command.syntax, "")))
    reason = command.check(bench) if bench is not None else None
    return _Entry(lead, command.help, command.keys, reason)


_LEAD = 38


def _entry_lines(entry: _Entry, width: int) -> Iterator[Line]:
    """The lead at the left, the text beside it, or below where it is narrow."""
    text = entry.text + (f" Not now: {entry.reason}." if entry.reason else "")
    used = sum(len(part) for part, _ in entry.lead)
    beside = width >= 72
    indent = _LEAD if beside else 6
    body = list(wrap_words(text, width, " " * indent))
    lead = join(((" " * 3, ""),), entry.lead)
    token = "dim" if entry.reason else ""
    if beside and used + 4 <= _LEAD and body:
        gap = " " * (_LEAD - used - 3)
        yield clip(join(lead, ((gap, ""), (body[0][_LEAD:], token))), width)
        body = body[1:]
    else:
        yield clip(lead, width)
    for line in body:
        yield clip(say(line, token), width)
