"""Every way to end, and every way to leave work behind: what is left of it?"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mmtui.model.bench import Bench
from sandbox.errors import SandboxError
from tests.attack.escapes import Standing
from tests.attack.homes import Home
from tests.attack.report import Report
from tests.attack.sessions import (
    bench_after,
    complete,
    differences,
    done_texts,
    histories,
    reopen,
    run_state,
    standing_of,
)
from tests.attack.terminal import NoAnswer, Terminal

__all__ = ["ENDS", "LEAVINGS", "End", "Leaving", "try_ends", "try_leavings", "try_together"]

T = TypeVar("T")

FOUR = ("mmap A R 64K", "touch A R 0 16 w", "fork A B", "write B R 3 4")
"""The work that is done."""
NOTHING = "scenario x\nmmap Z Q 4K\nend\n"
"""The document that is open: nothing of it is done."""

SIZE = (80, 24)
_TOGETHER = 3
"""Terminals at a time: a start waits for the disk now and then."""


@dataclass(frozen=True, slots=True)
class End:
    """A way to end, and the status that tells of it."""

    name: str
    do: Callable[[Terminal], None]
    status: int
    """The exit status, negative for a signal."""
    clean: bool = True
    """Whether the terminal can be left clean, and is still there to be looked at."""


def _signal(number: signal.Signals) -> Callable[[Terminal], None]:
    return lambda terminal: terminal.signal(number)


def _twice(terminal: Terminal) -> None:
    """Ctrl+C, the question, Ctrl+C."""
    terminal.send(b"\x03")
    terminal.text("again")
    terminal.send(b"\x03")


ENDS = (
    End("q", lambda terminal: terminal.send(b"q"), 0),
    End("Ctrl+Q", lambda terminal: terminal.send(b"\x11"), 0),
    End("Ctrl+C twice", _twice, 0),
    End("TERM", _signal(signal.SIGTERM), -signal.SIGTERM),
    End("HUP", _signal(signal.SIGHUP), -signal.SIGHUP),
    End("INT", _signal(signal.SIGINT), 130),
    End("QUIT", _signal(signal.SIGQUIT), -signal.SIGQUIT),
    End("closed terminal", Terminal.hang_up, -signal.SIGHUP, clean=False),
    End("KILL", _signal(signal.SIGKILL), -signal.SIGKILL, clean=False),
)
"""All ways to end, by key, signal and window."""


def do_lines(terminal: Terminal, lines: Iterable[str], first: int = 1) -> None:
    """Type actions, each when the one before is done and on the screen."""
    for number, line in enumerate(lines, first):
        terminal.line(line)
        terminal.text(f"{number}: {line}")


def document(home: Home) -> str:
    """Write the document that the attacks open."""
    path = home.path / "nothing.scn"
    path.write_text(NOTHING)
    return str(path)


def saved(home: Home, wanted: Bench) -> str:
    """What of a bench is not in the newest session file of a home; empty if all is."""
    files = home.sessions()
    if not files:
        return "no session file"
    try:
        bench = reopen(files[-1])
        run = run_state(files[-1], wanted.kernel)
    except SandboxError as error:
        return f"the session cannot be opened: {error}"
    here = wanted.session.position
    wanted.goto(wanted.end)
    if wrong := differences(wanted.session.state(), run):
        return f"mmtui run: {wrong}"
    wanted.goto(here)
    return differences(complete(wanted), complete(bench))


def _end_one(folder: Path, way: End, goes_on: bool) -> list[tuple[str, str]]:
    """Do four actions, end, look; the faults by kind."""
    home, faults = Home(folder), []
    with Terminal(home, document(home), size=SIZE) as terminal:
        terminal.ready()
        do_lines(terminal, FOUR)
        standing = terminal.standing
        way.do(terminal)
        status = terminal.end()
        if status != way.status:
            faults.append(("status", f"{status} instead of {way.status}"))
        if way.clean and (residue := terminal.residue()):
            faults.append(("residue", ", ".join(residue)))
        if "Traceback" in terminal.after:
            faults.append(("traceback", terminal.after[-300:]))
    if missing := saved(home, bench_after(FOUR)):
        faults.append(("lost", missing))
    if goes_on and (wrong := _continued(home, standing)):
        faults.append(("continue", wrong))
    return faults


def _continued(home: Home, standing: Standing | None) -> str:
    """What is wrong with `mmtui --continue`; empty if it stands where the end was."""
    with Terminal(home, "--continue", size=SIZE) as terminal:
        try:
            found = terminal.ready()
        except NoAnswer as error:
            return str(error)
        terminal.send(b"q")
        terminal.end()
    return "" if found == standing else f"{found} instead of {standing}"


def try_ends(report: Report, folder: Path, goes_on: Iterable[str] = ("q", "KILL")) -> None:
    """All ends; after those named, `mmtui --continue` must stand where the end was."""

    def one(way: End) -> list[tuple[str, str]]:
        try:
            return _end_one(folder / way.name.replace(" ", "-"), way, way.name in names)
        except NoAnswer as error:
            return [("no answer", str(error))]

    names = tuple(goes_on)
    _collect(report, ((way.name, one, way) for way in ENDS))


# -- leaving work behind -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Leaving:
    """Work, then keys that go away from it; all of it must be in a session file."""

    name: str
    moves: tuple[str, ...]
    """As `sessions.move` reads them."""
    away: tuple[bytes, ...] = ()
    """Keys that leave it without ending, each after a frame."""
    full: bool = True
    """Whether everything must be the same, the position too; else the line and the branches."""
    spare: tuple[str, ...] = ()
    """The action in progress: it may be lost, or be there."""


_ON_BRANCH = (*FOUR, "N", "N", "write A R 0 1")
LEAVINGS = (
    Leaving("A, q", (*FOUR, "A")),
    Leaving("N, q", (*FOUR, "N")),
    Leaving("branch, q", _ON_BRANCH),
    Leaving("branch and back, q", (*_ON_BRANCH, "N", "N", "N")),
    Leaving("two branches, the first again, q", (*_ON_BRANCH, "N", "fork A C", "branch 1")),
    Leaving(
        "in the middle of an action, q",
        (*FOUR, "begin fork A C", "s", "s"),
        full=False,
        spare=("fork A C",),
    ),
    Leaving("another kernel, q", ("mthp 64K madvise", *FOUR, "kernel 6.6")),
    Leaving("K on a branch, q", (*_ON_BRANCH, "kernel 6.9", "kernel 7.2"), full=False),
    Leaving("A, K, K, q", (*FOUR, "A", "kernel 6.9", "kernel 7.2"), full=False),
    Leaving(":open", FOUR, (b":open 1\r",)),
    Leaving("A, :open", (*FOUR, "A"), (b":open 1\r",)),
    Leaving("L, Enter", FOUR, (b"L", b"\r")),
    Leaving("A, L, Enter", (*FOUR, "A"), (b"L", b"\r")),
)
"""What has lost work before: going back, branches, kernels, other documents."""

_KEYS = {"A", "N", "n", "s", "S", "e", "["}


def make_moves(terminal: Terminal, moves: Iterable[str], script: str = NOTHING) -> Bench:
    """Make moves in the application; each is done when it stands where a bench of ours does."""
    done: list[str] = []
    bench = bench_after((), None, script)
    for line in moves:
        done.append(line)
        bench = bench_after(done, None, script)
        if line in _KEYS:
            terminal.send(line.encode())
        else:  # the key for a step of the story first shows what has not been on the screen
            terminal.line("story 1" if line == "]" else line)
        wanted = standing_of(bench)
        terminal.stand(wanted)
    return bench


def _leave_one(folder: Path, leaving: Leaving) -> list[tuple[str, str]]:
    """Work, go away, end; what is missing of the work."""
    home = Home(folder)
    with Terminal(home, document(home), size=SIZE) as terminal:
        terminal.ready()
        wanted = _work(terminal, leaving)
        for keys in leaving.away:
            terminal.send(keys)
            terminal.frame()
        if leaving.away:
            opened = "event 0/0"
            terminal.text(opened)
        terminal.send(b"q")
        terminal.end()
    if leaving.full:
        missing = saved(home, wanted)
    else:
        files = home.sessions()
        spare = leaving.spare
        missing = _line_missing(files[-1], wanted, spare) if files else "no session file"
    return [("lost", missing)] if missing else []


def _work(terminal: Terminal, leaving: Leaving) -> Bench:
    """Make the moves; after another kernel, what is wanted is the first bench's whole line."""
    bench = make_moves(terminal, leaving.moves)
    if leaving.full:
        return bench
    kept = [line for line in leaving.moves if not line.startswith(("kernel", "begin"))]
    return bench_after([line for line in kept if line != "s"])


def _line_missing(path: Path, wanted: Bench, spare: tuple[str, ...]) -> str:
    """What of all that was done a session file has not; its position may differ."""
    try:
        bench = reopen(path)
    except SandboxError as error:
        return f"the session cannot be opened: {error}"
    there = [actions for actions, _ in histories(bench)]
    lines = [actions for actions, _ in histories(wanted)]
    missing = [line for line in lines if line not in there and [*line, *spare] not in there]
    return f"of {missing} only {there}" if missing else ""


def try_leavings(report: Report, folder: Path, names: Iterable[str] = ()) -> None:
    """All ways to leave work behind, or those named."""
    chosen = [leaving for leaving in LEAVINGS if not names or leaving.name in tuple(names)]

    def one(leaving: Leaving) -> list[tuple[str, str]]:
        try:
            return _leave_one(folder / f"l{LEAVINGS.index(leaving)}", leaving)
        except NoAnswer as error:
            return [("no answer", str(error))]

    _collect(report, ((leaving.name, one, leaving) for leaving in chosen))


# -- several at once -----------------------------------------------------------------------


def try_together(report: Report, folder: Path, rounds: int = 5, count: int = 3) -> None:
    """Several applications of one person that end at once: each has a session of its own."""
    for number in range(rounds):
        home = Home(folder / f"round{number}")
        target = document(home)
        terminals = [Terminal(home, target, size=SIZE) for _ in range(count)]
        wanted = []
        try:
            for at, terminal in enumerate(terminals):
                terminal.ready()
                wanted.append([*FOUR[:2], f"write A R {at} {at + 1}"])
                do_lines(terminal, wanted[-1])
            for terminal in terminals:
                terminal.send(b"q")
            for terminal in terminals:
                terminal.end()
        finally:
            for terminal in terminals:
                terminal.close()
        there = [done_texts(reopen(path)) for path in home.sessions()]
        report.tried += count
        for line in wanted:
            report.expect(line in there, "lost", f"round {number}: {line} is in none of {there}")


def _collect(
    report: Report, jobs: Iterable[tuple[str, Callable[[T], list[tuple[str, str]]], T]]
) -> None:
    """Do jobs, a few at a time, and note their faults in order."""
    with ThreadPoolExecutor(_TOGETHER) as pool:
        waiting = [(name, pool.submit(job, what)) for name, job, what in jobs]
        for name, future in waiting:
            report.tried += 1
            faults = future.result()
            if faults:
                text = "; ".join(f"{kind}: {text}" for kind, text in faults)
                report.fault(faults[0][0], f"{name}: {text}", text)
