"""Job control and SIGINT while the application works."""

from __future__ import annotations

import signal
from pathlib import Path
from random import Random

from tests.attack.homes import Home
from tests.attack.report import Report
from tests.attack.terminal import NoAnswer, Terminal

__all__ = ["try_interrupts_on_screen", "try_stops"]

_BUSY = b"]nns]]SSnn[vNn]"
_HANG = 5.0


def try_stops(report: Report, folder: Path, seed: int, count: int) -> None:
    """SIGTSTP and SIGCONT while frames are written: it goes on, and still answers a resize."""
    random, number = Random(seed), 0
    while report.tried < count:
        number += 1
        with Terminal(
            Home(folder / f"stops{number}"), random.choice(("12", "33", "40"))
        ) as terminal:
            terminal.ready()
            _stop_and_go(report, terminal, random, count)


def _stop_and_go(report: Report, terminal: Terminal, random: Random, count: int) -> None:
    """Stop one application until it does not answer any more."""
    while report.tried < count:
        report.tried += 1
        terminal.send(bytes(random.choices(_BUSY, k=20)))
        terminal.read(random.uniform(0, 0.2))
        report.counts["stopped"] += terminal.stop()
        if random.random() < 0.3:
            terminal.send(b"s")
        terminal.resume()
        terminal.resize(*((121, 41) if terminal.size != (121, 41) else (120, 40)))
        if not terminal.frame(_HANG):
            text = f"no frame after stop {report.tried}, status {terminal.status}"
            report.fault("hang" if terminal.alive() else "ended", text)
            return


def try_interrupts_on_screen(report: Report, folder: Path, seed: int, count: int) -> None:
    """SIGINT while it works: 130, a clean terminal, and a session of what was done."""
    random = Random(seed)
    for number in range(count):
        report.tried += 1
        home = Home(folder / f"interrupt{number}")
        try:
            _interrupt(report, home, random, number)
        except NoAnswer as error:
            report.fault("hang", f"{number}: {error}")


def _interrupt(report: Report, home: Home, random: Random, number: int) -> None:
    with Terminal(home, random.choice(("3", "12", "40"))) as terminal:
        terminal.ready()
        terminal.send(b"n")
        terminal.expect(lambda: (now := terminal.standing) and now.position, "an action")
        terminal.send(bytes(random.choices(_BUSY, k=random.randint(0, 20))))
        terminal.read(random.uniform(0, 0.3))
        terminal.signal(signal.SIGINT)
        if random.random() < 0.3:
            terminal.signal(signal.SIGINT)
        status = terminal.end(20)
        report.expect(status == 130, "status", f"{number}: {status} instead of 130")
        residue = terminal.residue()
        report.expect(not residue, "residue", f"{number}: {', '.join(residue)}")
        clean = "Traceback" not in terminal.written
        report.expect(clean, "traceback", f"{number}: {terminal.after[-300:]}")
        report.expect(bool(home.sessions()), "lost", f"{number}: no session")
