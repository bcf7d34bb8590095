"""SIGKILL at random moments: what was acknowledged on the screen must be in the session."""

from __future__ import annotations

import signal
from pathlib import Path
from random import Random

from mmtui.model.bench import Bench
from sandbox.errors import SandboxError
from sandbox.kernels import KERNEL_IDS
from tests.attack.actions import random_action
from tests.attack.ends import NOTHING, document
from tests.attack.escapes import Standing
from tests.attack.homes import Home
from tests.attack.report import Report
from tests.attack.sessions import bench_after, histories, move, reopen, standing_of
from tests.attack.terminal import NoAnswer, Terminal

__all__ = ["kill9"]

_MODES = ("idle", "busy", "busy", "busy", "save", "quit", "start")
_KEYS = ("N", "N", "n", "s", "S", "A", "e")
_EVENTS = 20_000
"""A move that does more events than these is left out: the kill is to hit something else."""
_CONTINUED = 5
"""After every fifth kill `mmtui --continue` is asked, too."""


class Victim:
    """One application and a bench of ours that makes the same moves before it is asked to."""

    def __init__(self, report: Report, home: Home, seed: int) -> None:
        self.report, self.home = report, home
        self.random = Random(seed)
        self.moves: list[str] = []
        self.standings: list[Standing] = []
        """Where our bench stood before the first and after each move."""
        self.acknowledged = 0
        """Moves that the screen has shown as done."""
        self._bench = bench_after((), None, NOTHING)
        self.standings.append(standing_of(self._bench))

    def plan(self) -> str:
        """Make a move on our bench that is not refused and can be seen; return it."""
        while True:
            line = self._draw()
            try:
                bench = move(self._again(), line)
            except SandboxError:
                continue
            standing = standing_of(bench)
            if standing in self.standings or standing.end > self.standings[-1].end + _EVENTS:
                continue
            self._bench = bench
            self.moves.append(line)
            self.standings.append(standing)
            return line

    def _again(self) -> Bench:
        """Our bench as it is now, made anew: what is refused half-way must not count."""
        return bench_after(self.moves, None, NOTHING)

    def _draw(self) -> str:
        draw = self.random.random()
        if draw < 0.6:
            return random_action(self.random, self._bench)
        if draw < 0.9:
            return self.random.choice(_KEYS)
        branches = self._bench.session.machine.branches
        if branches and draw < 0.97:
            return f"branch {self.random.choice(branches).number}"
        return f"kernel {self.random.choice(KERNEL_IDS)}"

    def send(self, terminal: Terminal, line: str) -> None:
        """Type a move."""
        if line in _KEYS:
            terminal.send(line.encode())
        else:
            terminal.line(line)

    def work(self, terminal: Terminal, count: int, *, wait: bool) -> None:
        """Make some moves, each when the one before is on the screen, or all at once."""
        for _ in range(count):
            line = self.plan()
            self.send(terminal, line)
            if wait:
                terminal.stand(self.standings[-1])
                self.acknowledged = len(self.moves)

    def look(self, terminal: Terminal) -> None:
        """Take what stands on the screen as acknowledged."""
        seen = terminal.standing
        if seen in self.standings:
            self.acknowledged = max(self.acknowledged, self.standings.index(seen))


def kill9(report: Report, folder: Path, seed: int, count: int) -> None:
    """*count* applications killed at random moments; each is opened again and compared."""
    for number in range(count):
        home = Home(folder / f"kill-{seed}-{number}")
        victim = Victim(report, home, seed * 100_000 + number)
        mode = victim.random.choice(_MODES)
        report.tried += 1
        report.counts[mode] += 1
        try:
            killed = _kill(victim, mode)
        except NoAnswer as error:
            report.fault("no answer", f"{number} {mode}: {error}", "\n".join(victim.moves))
            continue
        report.counts["killed"] += killed
        _judge(victim, mode, number)


def _kill(victim: Victim, mode: str) -> bool:
    """Work and be killed; whether it was alive until then."""
    random = victim.random
    with Terminal(victim.home, document(victim.home)) as terminal:
        if mode == "start":
            terminal.read(random.uniform(0, 1.5))
        else:
            terminal.ready()
            victim.work(terminal, random.randint(1, 6), wait=True)
        if mode == "busy":
            victim.work(terminal, random.randint(1, 8), wait=False)
        elif mode == "save":
            for _ in range(10):
                terminal.line("save mine.scn")
        elif mode == "quit":
            terminal.send(b"q")
        if mode != "idle":
            terminal.wait(lambda: False, random.uniform(0, 0.8))
        alive = terminal.alive()
        terminal.signal(signal.SIGKILL)
        terminal.end()
        victim.look(terminal)
    return alive


def _judge(victim: Victim, mode: str, number: int) -> None:
    """The newest session must hold our bench after some move from the acknowledged one on."""
    report, files = victim.report, victim.home.sessions()
    label, moves = f"{number} {mode}", "\n".join(victim.moves)
    for path in _strays(victim.home):
        report.fault("stray file", f"{label}: {path}", moves)
    mine = victim.home.path / "mine.scn"
    if mine.exists():
        _opened(report, mine, label, moves)
    if not any(standing.end for standing in victim.standings[: victim.acknowledged + 1]):
        return
    if not files:
        report.fault("lost", f"{label}: all {victim.acknowledged} moves", moves)
        return
    bench = _opened(report, files[-1], label, moves)
    if bench is None:
        return
    found = (bench.kernel, histories(bench))
    report.counts["compared"] += 1
    ours = (_ours(victim.moves[:n]) for n in range(victim.acknowledged, len(victim.moves) + 1))
    if found not in ours:
        text = f"{label}: not what was done after move {victim.acknowledged} or a later one"
        report.fault("lost", text, f"{moves}\n\n{files[-1].read_text()}")
    elif number % _CONTINUED == 0:
        _continued(victim, label, bench)


def _ours(moves: list[str]) -> tuple[str, list[tuple[list[str], bytes]]]:
    bench = bench_after(moves, None, NOTHING)
    return bench.kernel, histories(bench)


def _opened(report: Report, path: Path, label: str, moves: str) -> Bench | None:
    """A file that was being written is whole."""
    try:
        return reopen(path)
    except (SandboxError, OSError) as error:
        report.fault("broken file", f"{label}: {error}", f"{moves}\n\n{path.read_text()}")
        return None


def _strays(home: Home) -> list[Path]:
    """Temporary files that nobody will take away; the history's goes at a later start."""
    found = (path for path in home.path.rglob(".*") if path.is_file())
    return [path for path in found if not path.name.startswith(".history.")]


def _continued(victim: Victim, label: str, bench: Bench) -> None:
    """`mmtui --continue` opens what is on file."""
    with Terminal(victim.home, "--continue") as terminal:
        try:
            found = terminal.ready()
            terminal.send(b"q")
            terminal.end()
        except NoAnswer as error:
            victim.report.fault("continue", f"{label}: {error}", "\n".join(victim.moves))
            return
    machine = bench.session.machine
    end = machine.position + len(machine.future_cpus)
    right = (found.kernel, found.end) == (bench.kernel, end)
    victim.report.expect(right, "continue", f"{label}: {found}", "\n".join(victim.moves))
    victim.report.counts["continued"] += 1
