"""Commands that move the eye, and those of the application itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from mmtui.commands.acting import parse, perform
from mmtui.commands.model import Command, Desk, Group
from mmtui.commands.stepping import forward
from mmtui.model.bench import Bench
from mmtui.model.cursor import LEVELS
from mmtui.model.selection import Selection, areas_of
from mmtui.model.stack import look_up
from mmtui.views import glyphs
from mmtui.views.panes import PANES
from mmtui.views.rules import choose, view
from sandbox.errors import UsageError
from sandbox.kernels import must_be_named, name_kernel

__all__ = ["APP", "LOOK"]


def _cursor(across: int, down: int) -> Callable[[Desk, str], None]:
    return lambda desk, _text: desk.cursor(across, down)


def _page(pages: float) -> Callable[[Desk, str], None]:
    return lambda desk, _text: desk.page(pages)


def _resize(wider: int, taller: int) -> Callable[[Desk, str], None]:
    return lambda desk, _text: desk.resize(wider, taller)


def _numbered(number: int) -> Callable[[Desk, str], None]:
    return lambda desk, _text: desk.focus_pane(number)


def _pane(desk: Desk, text: str) -> None:
    if text in PANES:
        desk.focus_pane(list(PANES).index(text) + 1)
    elif text.isascii() and text.isdigit() and 1 <= int(text[:3]) <= len(PANES):
        desk.focus_pane(int(text))
    else:
        raise UsageError(f"there is no pane {text[:20]!r}", expected=", ".join(PANES))


def _mark(desk: Desk, _text: str) -> None:
    chosen = desk.bench.selection
    anchor = chosen.page if chosen.anchor is None else None
    desk.bench.select(lambda s: replace(s, anchor=anchor))
    desk.moved("move the cursor to select a range; V drops it" if anchor is not None else "")


def _mark_all(desk: Desk, _text: str) -> None:
    desk.bench.select(lambda s: replace(s, page=1 << 40, anchor=0))
    desk.bench.select_settled()
    desk.moved()


def _level(desk: Desk, _text: str) -> None:
    desk.bench.level = (desk.bench.level + 1) % len(LEVELS)
    desk.moved(f"page tables: {LEVELS[desk.bench.level]}")


def _other_rule(step: int) -> Callable[[Desk, str], None]:
    def run(desk: Desk, _text: str) -> None:
        choose(desk.bench, view(desk.bench).cursor + step)
        desk.moved()

    return run


def _broken(bench: Bench) -> str | None:
    return None if bench.session.rules.violations else "no rule was broken so far"


def _begin(desk: Desk, text: str) -> None:
    action = parse(text)
    desk.work(lambda: desk.bench.act(action, paused=True), lambda _: desk.moved())


def _kernel(desk: Desk, text: str) -> None:
    if not text:
        desk.choose_kernel()
        return
    if must_be_named(text):
        name_kernel(text)  # typed, so what it is in may be run
    desk.replay_on(text)


def _rule(desk: Desk, text: str) -> None:
    if not text:
        raise UsageError("no rule", expected="FILE.py:CLASS, or one that `mmtui rules` lists")
    from sandbox.rules.own import name_rule

    name_rule(text)  # typed, so what it is in may be run
    desk.replay_on(desk.bench.kernel)  # from the first event on


def _up(calls: int) -> Callable[[Desk, str], None]:
    """Look at the frame of a caller, or back towards the innermost one."""

    def run(desk: Desk, _text: str) -> None:
        if look_up(desk.bench, calls):
            desk.looked()
        else:
            desk.say("nothing runs: there is no call stack")

    return run


def _card(desk: Desk, _text: str) -> None:
    """Keep the folio that is shown in sight, or let it go."""
    kept = desk.bench.cards.toggle()
    desk.looked()
    desk.say("this folio stays in sight; F lets it go" if kept else "the card follows the event")


def _glyphs(desk: Desk, text: str) -> None:
    """Draw with the other set of shapes, or with one by name."""
    sets = {one.name: one for one in (glyphs.UNICODE, glyphs.ASCII)}
    if text and text not in sets:
        raise UsageError(f"there are no glyphs {text[:20]!r}", expected=", ".join(sets))
    other = next(one for one in sets.values() if one is not glyphs.glyphs())
    desk.set_glyphs(sets[text] if text else other)
    desk.say(f"glyphs: {glyphs.glyphs().name}")


def _select(desk: Desk, text: str) -> None:
    """`select P R [a b]` or `select P`."""
    words = text.split()
    areas = areas_of(desk.bench.session)
    numbers = words[2:]
    if (
        not words
        or len(words) not in (1, 2, 4)
        or not all(n.isascii() and n.isdigit() for n in numbers)
    ):
        raise UsageError("not a selection", expected="P, P R, or P R a b")
    procs = desk.bench.procs()
    regions = [area.region for area in areas if area.proc == words[0]]
    if words[0] not in procs:
        raise UsageError(
            f"there is no process {words[0][:20]}", expected=", ".join(procs) or "none yet"
        )
    if len(words) > 1 and words[1] not in regions:
        raise UsageError(f"{words[0]} has no region {words[1][:20]}", expected=", ".join(regions))
    first, after = (int(n[:9]) for n in numbers) if numbers else (0, 1)
    anchor = first if after > first + 1 else None
    region = words[1] if len(words) > 1 else None
    desk.bench.select(lambda _: Selection(words[0], region, max(first, after - 1), anchor))
    desk.bench.select_settled()
    desk.moved()


def _cat(desk: Desk, text: str) -> None:
    """`cat smaps A` or `cat /proc/A/smaps`: of a process, or of all."""
    from sandbox.truth.procfs.proc import WHATS, proc_text

    words = text.split()
    if text.startswith("/proc/"):
        words = text.removeprefix("/proc/").split("/")[::-1]
    if not 1 <= len(words) <= 2:
        raise UsageError("not a file of /proc", expected=", ".join(WHATS) + ", then a process")
    desk.proc(proc_text(desk.bench.session, *words))


LOOK = (
    Command("left", "left", "Move the cursor left.", Group.LOOK, _cursor(-1, 0), ("h", "left")),
    Command("right", "right", "Move the cursor right.", Group.LOOK, _cursor(1, 0), ("l", "right")),
    Command("up", "up", "Move up or scroll up.", Group.LOOK, _cursor(0, -1), ("k", "up")),
    Command(
        "down", "down", "Move down or scroll down.", Group.LOOK,
        _cursor(0, 1), ("j", "down"),
    ),
    Command(
        "pageup", "page up", "Scroll up by a page.", Group.LOOK,
        _page(-0.9), ("pageup", "ctrl+b"),
    ),
    Command(
        "pagedown", "page down", "Scroll down by a page.", Group.LOOK,
        _page(0.9), ("pagedown", "ctrl+f"),
    ),
    Command(
        "top", "top", "Go to the top of the pane.", Group.LOOK,
        _page(-math.inf), ("g", "home"),
    ),
    Command(
        "bottom", "bottom", "Go to the bottom of the pane.", Group.LOOK,
        _page(math.inf), ("G",),
    ),
    Command(
        "tab", "next pane", "Go to the next pane.", Group.LOOK,
        lambda desk, _text: desk.focus_pane(0), ("tab",),
    ),
    Command(
        "backtab", "previous pane", "Go to the previous pane.", Group.LOOK,
        lambda desk, _text: desk.focus_pane(-1), ("shift+tab",),
    ),
    *(
        Command(
            f"pane{number}", name, f"Go to the {name} pane.", Group.LOOK,
            _numbered(number), (str(number),),
        )
        for number, name in enumerate(PANES, 1)
    ),
    Command("pane", "go to pane", "Go to a pane by name or number.", Group.LOOK, _pane, (), "NAME"),
    Command(
        "zoom", "zoom pane", "Give the whole screen to the pane, or share it again.", Group.LOOK,
        lambda desk, _text: desk.zoom(), ("z",), footer=35,
    ),
    Command(
        "wider", "wider", "Give the column of the pane more of the width; remembered.", Group.LOOK,
        _resize(2, 0), (")",),
    ),
    Command(
        "narrower", "narrower", "Give the column of the pane less of the width; remembered.",
        Group.LOOK, _resize(-2, 0), ("(",),
    ),
    Command(
        "taller", "taller", "Give the pane more rows; remembered.", Group.LOOK,
        _resize(0, 1), ("+",),
    ),
    Command(
        "shorter", "shorter", "Give the pane fewer rows; remembered.", Group.LOOK,
        _resize(0, -1), ("-",),
    ),
    Command(
        "layout", "layout anew", "Share the screen among the panes as at first.", Group.LOOK,
        lambda desk, _text: desk.share_anew(),
    ),
    Command(
        "level", "zoom tables", "Show page tables by region, by entry, or decoded.", Group.LOOK,
        _level, ("t",), footer=34,
    ),
    Command(
        "frame", "caller's frame", "Look at the caller's line and variables in the source pane; "
        "beyond the outermost is the innermost again.", Group.LOOK, _up(1), ("u",),
    ),
    Command(
        "hold", "hold panes", "Let the panes stay where they are, or go to what an event changed.",
        Group.LOOK, lambda desk, _text: desk.toggle_hold(), ("H",),
    ),
    Command(
        "card", "keep folio", "Keep the folio whose card is shown in sight, or let it go.",
        Group.LOOK, _card, ("F",),
    ),
    Command(
        "pick", "choose", "Explain the words at the cursor; of a broken rule, go to its event.",
        Group.LOOK, lambda desk, _text: desk.pick(), ("enter",),
    ),
    Command(
        "cancel", "back out", "Drop the marked range, the zoom, or the message.", Group.LOOK,
        lambda desk, _text: desk.back_out(), ("escape",),
    ),
    Command(
        "mark", "select range", "Begin or drop a range of pages.", Group.LOOK, _mark, ("V",),
        footer=50,
    ),
    Command(
        "mark-all", "select region", "Select all pages of the region.", Group.LOOK, _mark_all,
        ("a",),
    ),
    Command(
        "select", "select", "Select a process, a region, or pages of it.", Group.LOOK, _select, (),
        "P [R [a b]]",
    ),
    Command(
        "rule-next", "next rule", "Explain the next rule that was broken.", Group.LOOK,
        _other_rule(1), (".",), "", _broken,
    ),
    Command(
        "rule-back", "previous rule", "Explain the previous rule that was broken.", Group.LOOK,
        _other_rule(-1), (",",), "", _broken,
    ),
    Command(
        "cat", "cat /proc", "Show a file of /proc: pagemap, kpagecount, kpageflags, smaps, status.",
        Group.LOOK, _cat, (), "FILE [P]",
    ),
    Command(
        "quiz", "quiz", "Guess what the next action does to counters; it is played on a copy.",
        Group.LOOK, lambda desk, _text: desk.quiz(), (), "", forward,
    ),
    Command(
        "explain", "explain", "Explain a word, flag, field or rule, or those at the cursor.",
        Group.LOOK, lambda desk, text: desk.explain(text), (), "[WORD]",
    ),
    Command(
        "search", "search", "Go to the next line of the pane with a text in it.", Group.LOOK,
        lambda desk, text: desk.search(text) if text else desk.prompt("/"), ("/",), "[TEXT]",
    ),
)  # fmt: skip
"""Cursor, panes and selection."""

APP = (
    Command(
        "command", "command line", "Type a line of the scenario language, or any command by name.",
        Group.APP, lambda desk, _text: desk.prompt(":"), (":",), footer=88,
    ),
    Command(
        "kernel", "kernel", "Replay on another kernel, up to the same place.", Group.APP,
        _kernel, ("K",), "[ID | FILE.py:CLASS]", footer=75,
    ),
    Command(
        "begin", "begin an action", "Begin an action and wait at its first event.", Group.APP,
        _begin, (), "ACTION [| cpu1 ACTION]",
    ),
    Command(
        "rule", "rule", "Watch a rule of your own too, from the first event on.", Group.APP,
        _rule, (), "FILE.py:CLASS | NAME",
    ),
    Command(
        "pause", "pause actions", "Let actions wait at their first event, or run to their end.",
        Group.APP, lambda desk, _text: desk.toggle_pause(), ("i",),
    ),
    Command(
        "do", "do", "Do a line of the scenario language; the word may be left out.", Group.APP,
        perform, (), "ACTION | cpu0 ACTION | cpu1 ACTION [| schedule cpu1 until store:2]",
    ),
    Command(
        "theme", "theme", "Change the colours; without a name, take the next one; remembered.",
        Group.APP,
        lambda desk, text: desk.set_theme(text), ("T",), "[NAME]",
    ),
    Command(
        "glyphs", "glyphs", "Draw with Unicode's shapes or with ASCII alone.", Group.APP,
        _glyphs, (), "[unicode | ascii]",
    ),
    Command(
        "save", "save", "Write what was done as a scenario file.", Group.APP,
        lambda desk, text: desk.save(text), (), "FILE",
    ),
    Command(
        "save!", "save over", "Write what was done over any file.", Group.APP,
        lambda desk, text: desk.save(text, insist=True), (), "FILE",
    ),
    Command(
        "open", "open", "Open a preset or a file; without a name, the library.", Group.APP,
        lambda desk, text: desk.open(text), ("L",), "[PRESET | FILE [SCENARIO]]",
    ),
    Command(
        "help", "help", "List every key and command; type to search.", Group.APP,
        lambda desk, _text: desk.help(), ("?", "f1"), footer=999,
    ),
    Command(
        "quit", "quit", "Leave; what was done is saved.", Group.APP,
        lambda desk, _text: desk.leave(), ("q",), footer=998,
    ),
)  # fmt: skip
"""The application itself."""
