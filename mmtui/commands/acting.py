"""Commands that do something to the selected process or pages: lines of the language, by a key."""

from __future__ import annotations

import re
from collections.abc import Callable
from string import ascii_uppercase

from mmtui.commands.model import Command, Desk, Group
from mmtui.model.bench import Bench
from mmtui.model.cursor import entry_under_cursor
from sandbox.arch.arm64.pgtable import pte_page
from sandbox.errors import ScenarioError, UsageError
from sandbox.run.session import Step
from sandbox.scenario.language import Action, CpuBlock, parse_action, parse_lines
from sandbox.truth.book import Hold

__all__ = ["COMMANDS", "is_block", "last_action", "parse", "perform"]

Line = Callable[[Bench], str]


def perform(desk: Desk, line: str) -> None:
    """Do a line of the scenario language, or begin it while actions are paused."""
    bench = desk.bench
    branches = len(bench.session.machine.branches)
    action = parse(line)
    joins = isinstance(action, CpuBlock) and (len(action.actions) > 1 or not bench.idle)
    paused = desk.paused or (isinstance(action, CpuBlock) and joins and not action.schedule)
    desk.work(
        lambda: bench.act(action, paused=paused), lambda step: _done(desk, step, joins, branches)
    )


def _done(desk: Desk, step: Step, joins: bool, branches: int) -> None:
    """Show the bench after an action, with what it returned and the branch that it left."""
    bench, action = desk.bench, step.action
    result = bench.session.result_of(step.number)
    message = ""
    if result is not None and (result.ret or result.out):
        message = f"{action.text}: ret {result.ret}" + (f", {result.out}" if result.out else "")
    if len(bench.session.machine.branches) > branches:
        number = bench.session.machine.branches[-1].number
        message = f"{action.text}: a new branch; the old future is :branch {number}"
    if joins and not bench.idle:
        message = "the CPUs wait: P chooses whose event s does, n runs that one, e runs all"
    desk.moved(message)


def parse(line: str) -> Action | CpuBlock:
    """Read a line of the language, or a block of CPUs: `cpu0 fork A B | cpu1 write A R 0 1`.

    Raises:
        ScenarioError: it is neither.
    """
    if not is_block(line):
        return parse_action(line)
    parts = [_CPU.sub(r"\1: ", part.strip()) for part in re.split("[|;]", line)]
    if not all(parts):
        raise UsageError("an action is missing", expected="cpu0 ACTION | cpu1 ACTION")
    steps = parse_lines("\n".join(parts), "<command>")
    if len(steps) != 1:
        where = steps[1].where
        raise ScenarioError("more than one step", where, "cpu0 ACTION | cpu1 ACTION")
    return steps[0]


def is_block(line: str) -> bool:
    """Whether a line begins with a CPU."""
    return re.match(r"cpu[0-9]", line) is not None


def last_action(line: str) -> str:
    """What is written of the last action of a block, for completion."""
    return _CPU.sub("", re.split("[|;]", line)[-1].lstrip())


_CPU = re.compile(r"^(cpu[0-9]+)[ :]\s*")


def _by_key(line: Line) -> Callable[[Desk, str], None]:
    def run(desk: Desk, _text: str) -> None:
        perform(desk, line(desk.bench))

    return run


# -- why not -----------------------------------------------------------------------------


def _process(bench: Bench) -> str | None:
    if not bench.idle:
        return f"{bench.session.running[0].name} is still running: n finishes it"
    return None if bench.selection.proc else "no process yet: for example :mmap A R 64K"


def _pages(bench: Bench) -> str | None:
    if (reason := _process(bench)) is not None:
        return reason
    return None if bench.selection.region else f"{bench.selection.proc} has no mapping yet"


def _held(bench: Bench) -> str | None:
    if not bench.idle:
        return _process(bench)
    return None if _holds(bench) else "nothing is pinned: p pins the selection"


def _contpte(bench: Bench) -> str | None:
    if (reason := _pages(bench)) is not None:
        return reason
    if bench.session.kernel.has_contpte:
        return None
    return f"kernel {bench.kernel} has no contpte layer: K switches the kernel"


# -- lines -------------------------------------------------------------------------------


def _range(verb: str, tail: str = "") -> Line:
    return lambda bench: f"{verb} {bench.selection.text}{tail}"


def _fork(bench: Bench) -> str:
    taken = set(bench.procs())
    names = [*ascii_uppercase, *(f"P{n}" for n in range(1000))]
    return f"fork {bench.selection.proc} {next(name for name in names if name not in taken)}"


def _pin(bench: Bench) -> str:
    taken = {hold.id for hold in _holds(bench)}
    number = next(str(n) for n in range(1, 1 << 20) if str(n) not in taken)
    return f"pin {bench.selection.text} {number} w"


def _holds(bench: Bench) -> list[Hold]:
    return [hold for hold in bench.session.book.holds if hold.kind != "uring"]


def _unpin(bench: Bench) -> str:
    """Release the newest hold of the page under the cursor, else the newest of all."""
    holds = _holds(bench)
    if not holds:
        raise UsageError("nothing is pinned", expected="p first")
    pte = entry_under_cursor(bench)
    page = None if pte is None else pte_page(pte)
    mine = [hold for hold in holds if page in hold.pages]
    return f"unpin {(mine or holds)[-1].id}"


def _block(verb: str) -> Line:
    def line(bench: Bench) -> str:
        chosen = bench.selection
        blocks = bench.session.cpus[0].CONT_PTES
        start, end = chosen.start // blocks * blocks, -(-chosen.end // blocks) * blocks
        return f"{verb} {chosen.proc} {chosen.region} {start} {end}"

    return line


COMMANDS = (
    Command(
        "do-fork", "fork", "Fork the selected process; the child gets the next free letter.",
        Group.ACT, _by_key(_fork), ("f",), "", _process, 60,
    ),
    Command(
        "do-pin", "pin", "Pin the selected pages for writing, under the next free number.",
        Group.ACT, _by_key(_pin), ("p",), "", _pages, 59,
    ),
    Command(
        "do-unpin", "unpin", "Release the pin of the selected page, or the newest one.",
        Group.ACT, _by_key(_unpin), ("U",), "", _held, 58,
    ),
    Command(
        "do-write", "write", "Let the process write to the selected pages.", Group.ACT,
        _by_key(_range("write")), ("w",), "", _pages, 57,
    ),
    Command(
        "do-read", "read", "Let the process read the selected pages.", Group.ACT,
        _by_key(_range("read")), ("r",), "", _pages, 56,
    ),
    Command(
        "do-dontneed", "dontneed", "Drop the selected pages (MADV_DONTNEED).", Group.ACT,
        _by_key(_range("dontneed")), ("d",), "", _pages, 55,
    ),
    Command(
        "do-munmap", "munmap", "Unmap the selected pages.", Group.ACT,
        _by_key(_range("munmap")), ("m",), "", _pages, 54,
    ),
    Command(
        "do-exit", "exit", "Let the selected process exit.", Group.ACT,
        _by_key(lambda bench: f"exit {bench.selection.proc}"), ("x",), "", _process, 53,
    ),
    Command(
        "do-fold", "fold", "Set CONT on the selected blocks of 16 entries.", Group.ACT,
        _by_key(_block("fold")), ("c",), "", _contpte, 52,
    ),
    Command(
        "do-unfold", "unfold", "Clear CONT on the selected blocks of 16 entries.", Group.ACT,
        _by_key(_block("unfold")), ("C",), "", _contpte, 51,
    ),
)  # fmt: skip
"""Actions of the scenario language on what is selected."""
