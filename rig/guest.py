"""From a scenario to the lines that the guest plays, and what it cannot play.

The guest's lines are those of the language with sizes in pages; holds have numbers for ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from rig.errors import UnplayableError
from sandbox.errors import Where
from sandbox.scenario.language import VERBS, Action, CpuBlock, Group, Kind, Scenario, Style
from sandbox.scenario.verbs import SIZE

__all__ = ["REGION_BASE", "REGION_PAGES", "REGION_STRIDE", "GuestScenario", "translate"]

REGION_BASE, REGION_STRIDE = 0x100000000, 0x2000000
REGION_PAGES = REGION_STRIDE >> 12
"""Regions lie so far apart: the guest's address of page 0 of the n-th is a sum of these."""

MAX_PROCESSES, MAX_REGIONS, MAX_FILES, MAX_HOLDS = 12, 12, 16, 63
MAX_NAME = 15
MAX_FILL = 1024
"""Pages that one write to a file may have."""
MAX_LINE = 400
MAX_TURNS, MAX_RACE = 8, 440
"""Actions of one CPU in a race, and characters of a whole race."""

NOT_PLAYED = frozenset({"exclusive", "reclaim", "unmerge", "exec"})
"""Verbs that a kernel could be asked for, but this guest does not know how."""
NOT_RACED = frozenset({"memfd", "file", "fsync", "mthp", "shmem", "swap", "dropcache", "drain",
                       "autodrain", "sleep", "sysfs", "quiet", "loud", "proc"})  # fmt: skip
"""Verbs that init does itself, so that they have no CPU of their own."""
BY_AGENT = frozenset({"unpin", "split", "poke", "clearrefs"})
"""Verbs that a helper of the guest's does in a race, for any process."""
NOTHING = frozenset({"quiet", "loud"})
"""Words of the console of another rig: steps that do nothing, here as in the model."""


class GuestScenario(NamedTuple):
    """A scenario as the guest gets it."""

    scenario: Scenario
    lines: tuple[str, ...]
    """One for each step."""
    regions: tuple[str, ...]
    """In the order of their addresses."""
    holds: Mapping[int, str]
    """Ids of holds by the guest's numbers for them."""
    traced: tuple[bool, ...]
    """Which steps have their stores logged."""

    @property
    def text(self) -> str:
        """The block that the guest reads."""
        marked = [
            f"traced {line}" if traced else line
            for line, traced in zip(self.lines, self.traced, strict=True)
        ]
        return "\n".join([f"scenario {self.scenario.name}", *marked, "end", ""])


def translate(
    scenario: Scenario, *, stores: bool = False, races: Mapping[int, int] | None = None
) -> GuestScenario:
    """Translate a scenario; `stores` logs the actions marked `traced`, or all if none is.

    `races` has the number of the race of each step that is a block; without it blocks are refused.

    Raises:
        UnplayableError: the guest cannot play it; with the place.
    """
    translation = _Translation()
    lines = []
    for index, step in enumerate(scenario.steps):
        if isinstance(step, Action):
            lines.append(translation.line(step))
        elif races is None:
            _refuse("a block of CPUs is for `mmtui race`", step.where, "one action at a time")
        else:
            lines.append(translation.block(step, races[index]))
    marked = [isinstance(step, Action) and step.traced for step in scenario.steps]
    every = stores and not any(marked)
    traced = tuple(stores and (mark or every) for mark in marked)
    regions, holds = tuple(translation.regions), translation.ids
    return GuestScenario(scenario, tuple(lines), regions, holds, traced)


def _refuse(message: str, where: Where, expected: str) -> NoReturn:
    raise UnplayableError(message, where, expected)


class _Translation:
    """What was named so far, and the limits of the guest."""

    def __init__(self) -> None:
        self.regions: dict[str, None] = {}
        self.ids: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._held: set[str] = set()
        self._processes: set[str] = set()
        self._files: set[str] = set()

    def line(self, action: Action) -> str:
        """One action as the guest reads it."""
        self._check(action)
        if action.verb in NOTHING:
            return "nop"
        words = [action.verb]
        for param in VERBS[action.verb].params:
            value = action.args[param.name]
            if param.style in (Style.OPTIONAL, Style.KEYWORD, Style.FLAG):
                if value == param.default:
                    continue
                if param.style is Style.FLAG:
                    words.append(param.name)
                    continue
            shown = self._number(value) if param.name == "id" else _show(param.kind, value)
            words.append(f"{param.name}={shown}" if param.style is Style.KEYWORD else shown)
        line = " ".join(words)
        if len(line) > MAX_LINE:
            _refuse(f"a line of {len(line)} characters", action.where, f"at most {MAX_LINE}")
        return line

    def block(self, block: CpuBlock, number: int) -> str:
        """The actions of two CPUs that race, as the guest reads them."""
        if block.cpus != (0, 1):
            _refuse("the rig races two CPUs", block.where, "actions on cpu0 and on cpu1")
        turns = []
        for cpu in (0, 1):
            actions = block.of_cpu(cpu)
            for action, following in zip(actions, (*actions[1:], None), strict=True):
                self._check_turn(action, following)
            if len(actions) > MAX_TURNS:
                message = f"{len(actions)} actions of one CPU"
                _refuse(message, actions[MAX_TURNS].where, f"at most {MAX_TURNS}")
            turns.append(" ; ".join(map(self.line, actions)))
        line = f"race {number} | {turns[0]} | {turns[1]}"
        if len(line) > MAX_RACE:
            _refuse(f"a block of {len(line)} characters", block.where, f"at most {MAX_RACE}")
        return line

    def _check_turn(self, action: Action, following: Action | None) -> None:
        """Refuse what no worker of a race can do, or not the one of the next action as well."""
        if action.verb in NOT_RACED:
            _refuse(f"{action.verb!r} cannot be raced", action.where, "an action of a process")
        if following is not None and _worker(action) != _worker(following):
            message = f"{_worker_name(following)} follows {_worker_name(action)} on one CPU"
            _refuse(message, following.where, "actions of one process on each CPU of a race")

    def _number(self, ident: str) -> str:
        """The guest's number for the id of a hold: itself where that is a number."""
        if ident not in self._numbers:
            plain = ident.isascii() and ident.isdigit() and len(ident) < 7
            plain = plain and str(int(ident)) == ident
            number = int(ident) if plain else 1_000_000 + len(self._numbers)
            self._numbers[ident] = number
            self.ids[number] = ident
        return str(self._numbers[ident])

    def _check(self, action: Action) -> None:
        """Refuse what the guest does not know, or has no room for."""
        verb, args, where = VERBS[action.verb], action.args, action.where
        if verb.group is Group.LABORATORY or action.verb in NOT_PLAYED:
            played = "an action that a process can be asked for"
            _refuse(f"no real kernel is asked for {action.verb!r} by the rig", where, played)
        for name in ("proc", "child", "region", "to_region", "name"):
            if len(str(args.get(name) or "")) > MAX_NAME:
                _refuse(f"{args[name]} is too long a name", where, f"{MAX_NAME} letters")
        self._count(self._processes, [args.get("proc"), args.get("child")], MAX_PROCESSES,
                    "processes", where)  # fmt: skip
        if action.verb in ("memfd", "file"):
            self._count(self._files, [args["name"]], MAX_FILES, "files", where)
            if (args.get("chunk") or (args["size"] if action.verb == "file" else 1)) > MAX_FILL:
                _refuse("a file is filled by writes of at most 4M", where, "a CHUNK up to 4M")
        self._check_pages(action)
        made = args["region"] if action.verb == "mmap" else args.get("to_region")
        if made is not None and made not in self.regions:
            if len(self.regions) == MAX_REGIONS:
                _refuse("too many regions", where, f"at most {MAX_REGIONS}")
            if action.verb in ("mmap", "mremap", "uffdmove"):
                self.regions[made] = None
        if action.verb in ("pin", "get", "repeat"):
            self._held.add(args["id"])
            if len(self._held) > MAX_HOLDS:
                _refuse("too many holds at a time", where, f"at most {MAX_HOLDS}")
        elif action.verb == "unpin":
            self._held.discard(args["id"])

    def _check_pages(self, action: Action) -> None:
        args = action.args
        last = max(
            args.get("end") or 0,
            (args.get("at") or 0) + (args["size"] if action.verb == "mmap" else 0),
            (args.get("to_page") or 0) + (args["end"] - args["start"] if "to_page" in args else 0),
        )
        if last > REGION_PAGES:
            message = f"page {last - 1} is beyond a region of the rig's"
            _refuse(message, action.where, f"pages below {REGION_PAGES} (32M)")

    def _count(self, known: set[str], names: list[Any], most: int, what: str, where: Where) -> None:
        known.update(name for name in names if name)
        if len(known) > most:
            _refuse(f"too many {what}", where, f"at most {most} in a scenario")


def _worker(action: Action) -> str:
    """Who does an action in a race: its process, or an agent of init's."""
    return "" if action.verb in BY_AGENT else action.args["proc"]


def _worker_name(action: Action) -> str:
    worker = _worker(action)
    return f"an action of {worker}'s" if worker else repr(action.verb)


def _show(kind: Kind, value: object) -> str:
    """A value as the guest reads it: sizes in pages, everything else as in the language."""
    return f"{value}p" if kind.read is SIZE.read else kind.show(value)
