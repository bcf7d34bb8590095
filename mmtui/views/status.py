"""The line at the top (what, where, on which kernel) and what a move has to say for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from mmtui.model.bench import Bench
from mmtui.model.why import present
from mmtui.views.lines import Line, clip, join, length, ljust, say
from sandbox.machine.memory import DECIDE, LOAD, Globals
from sandbox.rules import Violation
from sandbox.truth.names.words import Words

__all__ = ["StatusView", "changed_words", "news", "render", "view"]


@dataclass(frozen=True, slots=True)
class StatusView:
    """Where we are."""

    title: str
    kernel: str
    position: int
    end: int
    action: str
    branches: int
    cpu: int | None
    """The CPU chosen to take the next events."""
    broken: str
    """The rule broken now that is explained, with its numbers."""
    window: bool


def view(bench: Bench) -> StatusView:
    """Look at where the bench is."""
    session = bench.session
    last = session.last_step
    action = ""
    if last is not None:
        result = session.result_of(last.number)
        state = (
            "running" if session.running else f"ret {result.ret}" if result and result.ret else ""
        )
        action = f"{last.number}: {last.action.text}" + (f" ({state})" if state else "")
    worst = present(bench)
    return StatusView(
        bench.source.title, bench.kernel, session.position, bench.end, action,
        len(session.machine.branches), bench.cpu, "" if worst is None else sentence(worst),
        worst is not None and worst.known_window is not None,
    )  # fmt: skip


def sentence(violation: Violation) -> str:
    """A violation in one line: the rule, what it is about, the numbers."""
    return f"{violation.rule} {violation.subject}: {violation.text}"


def render(seen: StatusView, width: int) -> Line:
    """Draw the status; the title gives way first when there is little room, then the rule."""
    end = [("kernel ", "dim"), (seen.kernel, "strong"), ("  event ", "dim")]
    end.append((f"{seen.position}/{seen.end}", "strong"))
    if seen.cpu is not None:
        end += [("  cpu ", "dim"), (f"{seen.cpu}", "strong")]
    if seen.branches:
        end += [("  branches ", "dim"), (f"{seen.branches}", "strong")]
    right = join(end, ((" ", ""),))
    alarm: Line = ()
    if seen.broken:
        glyph, token = ("~", "window") if seen.window else ("!", "alarm")
        alarm = clip(((f" {glyph} {seen.broken} ", token),), max(width - length(right) - 4, 0))
    room = max(width - length(right) - length(alarm) - 4, 0)
    left = ljust(_what(seen, room), room)
    return clip(join(left, (("  ", ""),), alarm, (("  ", ""),), right), width)


def _what(seen: StatusView, room: int) -> Line:
    """The title and the action; where there is no room for both, of the title the number alone."""
    number = seen.title.partition(" ")[0]
    short = number if number.removesuffix(".").isdigit() else ""
    found: Line = ()
    for title in dict.fromkeys((seen.title, short, "")):
        found = join(
            ((" ", ""), (title, "strong"), (f"  {seen.action}" if seen.action else "", ""))
        )
        if title + seen.action and length(found) <= room:
            return found
    return ((" ", ""), (short, "strong")) if 0 < len(short) < room else ()


def news(bench: Bench) -> Line:
    """What the last move brought: a broken rule, the values that changed, or what was read."""
    fresh = bench.fresh()
    if not fresh:
        return join(_verdict(bench), _changed(bench))
    shown = next((v for v in fresh if bench.chosen and v[:2] == bench.chosen[:2]), fresh[0])
    where = f" by event {shown.event} in {shown.function}()"
    parts: list[tuple[str, str]] = [(f" ! {sentence(shown)} ", "alarm"), (where, "violation")]
    if len(fresh) > 1:
        rules = ", ".join(sorted({violation.rule for violation in fresh}))
        parts.append((f"  {len(fresh)} times a rule broke: {rules}", "violation"))
    if bench.changes.end == bench.changes.start + 1:  # one event: what it did comes first
        return join(_verdict(bench), _changed(bench), parts)
    return join(_verdict(bench), parts)


def _verdict(bench: Bench) -> Line:
    """How many expectations held, and the first that did not."""
    if not bench.checked:
        return ()
    failed = [result for result in bench.checked if not result.ok]
    if not failed:
        return ((f"ok: all {len(bench.checked)} expectations hold  ", "ok"),)
    text = f"FAIL: {len(failed)} of {len(bench.checked)}: {failed[0].text}, got {failed[0].got}  "
    return ((text, "violation"),)


def _changed(bench: Bench) -> Line:
    words = Words(bench.session.ledger)
    if bench.changes.unmarked:
        events = abs(bench.changes.end - bench.changes.start)
        return say(f"{events:,} events, too many to mark what they changed")
    telling = _telling(bench)
    if not telling:
        return _event(bench, words)
    parts: list[tuple[str, str]] = [("* ", "changed")]
    for name, before, after in islice(changed_words(bench), 3):
        parts += [(name, "changed"), (f" {before} -> {after}  ", "")]
    if len(telling) > 3:
        parts.append((f"and {len(telling) - 3} more words", "dim"))
    return join(parts)


def _telling(bench: Bench) -> list[int]:
    """The words that the last move changed, those first that say most."""
    memory = bench.session.machine.memory
    size = len(memory.cells)
    olds = (addr for addr in bench.changes.olds if addr != Globals.step and addr < size)
    return sorted(olds, key=lambda addr: _rank(memory.field_at(addr).name))


def changed_words(bench: Bench) -> Iterator[tuple[str, str, str]]:
    """Each word that the last move changed, with what it was and is; those first that say most."""
    words, memory = Words(bench.session.ledger), bench.session.machine.memory
    former = words.before(bench.changes.size)
    telling = _telling(bench)
    for addr in telling:
        old, now = bench.changes.olds[addr], memory.cells[addr]
        alone = memory.field_at(addr).name in _FLAGS and len(telling) == 1
        if alone and isinstance(old, int):
            old, now = old & ~now, now & ~old  # the flags that it lost and gained
        before, after = (
            shown.removeprefix("VM_").replace(",VM_", ",")
            for shown in (former.value(addr, old), words.value(addr, now))
        )
        yield words.name(addr), before, after


_FLAGS = ("flags", "vm_flags")
"""Fields of many flags, of which only those are named that changed."""
_TELLING = ("_refcount", "_pincount", "_large_mapcount", "_entire_mapcount", "_mapcount", "pte")
"""The fields to name first when many words changed."""


def _rank(field: str) -> int:
    return _TELLING.index(field) if field in _TELLING else len(_TELLING)


def _event(bench: Bench, words: Words) -> Line:
    """The one event that was done, when it changed nothing: what was read."""
    changes, machine = bench.changes, bench.session.machine
    if changes.end != changes.start + 1 or not machine.events:
        return ()
    event, old = machine.events[-1], machine.olds[-1]
    value = f" = {words.value(event[1], old)}" if event[0] in (LOAD, DECIDE) else ""
    return say(f"{changes.start} {words.at(changes.start).event(event)}{value}", "dim")
