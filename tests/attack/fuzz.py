"""Random hands at a terminal: nothing may end it, hang it, or lose what was done."""

from __future__ import annotations

import re
import signal
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import count, islice
from pathlib import Path

from sandbox.errors import SandboxError
from tests.attack.escapes import Standing
from tests.attack.hands import SIZES, Hands
from tests.attack.homes import Home
from tests.attack.report import Report
from tests.attack.sessions import reopen, standing_of
from tests.attack.terminal import PATIENCE, NoAnswer, Terminal

__all__ = ["TARGETS", "Fuzzer", "fuzz", "fuzz_side_by_side"]

TARGETS = ("", "3", "12", "33", "40")
"""What is opened: the library, or presets with pins, two CPUs and many steps."""
_KEPT = 40
"""Moves that are kept for the reproduction."""
_ASKED = 5
"""How often a question is asked that another screen may swallow."""
_PROBE = 12
"""Moves between two tests whether it still answers."""
_TRACEBACK = re.compile(r"Traceback \(most recent|internal error")

_ENDS: dict[str, Callable[[Terminal], None]] = {
    "q": lambda terminal: _press_until_ended(terminal, b"q"),
    "Ctrl+Q": lambda terminal: _press_until_ended(terminal, b"\x11"),
    "TERM": lambda terminal: terminal.signal(signal.SIGTERM),
    "HUP": lambda terminal: terminal.signal(signal.SIGHUP),
    "INT": lambda terminal: terminal.signal(signal.SIGINT),
    "KILL": lambda terminal: terminal.signal(signal.SIGKILL),
}
_STATUS = {"q": 0, "Ctrl+Q": 0, "TERM": -15, "HUP": -1, "INT": 130, "KILL": -9}


class Fuzzer:
    """One seed: starts, random moves, ends, and what was found.

    `patience` is the time in seconds within which it must answer a resize or a key.
    """

    def __init__(
        self, report: Report, folder: Path, seed: int, size: tuple[int, int], patience: float
    ) -> None:
        self.report, self.folder, self.seed, self.size = report, folder, seed, size
        self.patience = patience
        self.hands = Hands(seed)
        self.last: deque[str] = deque(maxlen=_KEPT)
        self.starts = 0
        self._moves: tuple[tuple[float, Callable[[Terminal], str]], ...] = (
            (0.55, self._keys), (0.25, self._line), (0.03, self._paste), (0.08, self._mouse),
            (0.04, self._resize), (0.015, self._storm), (0.02, self._stop), (0.015, self._noise),
        )  # fmt: skip

    # -- a life --------------------------------------------------------------------------

    def live(self, moves: int, until: float = float("inf")) -> None:
        """Start, make some moves (or until some time), end in a random way, compare."""
        self.starts += 1
        home = Home(self.folder / f"home-{self.seed}-{self.starts}")
        target = self.hands.random.choice(TARGETS)
        self.last.clear()
        self.last.append(f"mmtui {target} at {self.size[0]}x{self.size[1]}")
        self.report.counts["starts"] += 1
        with Terminal(home, *filter(None, [target]), size=self.size) as terminal:
            try:
                self._play(terminal, moves, until)
                self._end(terminal)
            except NoAnswer as error:
                self._look_at_text(terminal)
                self._fault("hang", str(error))

    def _play(self, terminal: Terminal, moves: int, until: float) -> None:
        terminal.frame()
        for number in range(1, moves + 1):
            if time.monotonic() > until:
                return
            self.report.tried += 1
            self._move(terminal)
            if number % _PROBE == 0:
                self._probe(terminal)
            if not terminal.alive():
                return

    def _move(self, terminal: Terminal) -> None:
        """One random move, and a moment for the answer."""
        kinds = [move for _, move in self._moves]
        move = self.hands.random.choices(kinds, [weight for weight, _ in self._moves])[0]
        self.report.counts[move.__name__.strip("_")] += 1
        self.last.append("")
        self.last[-1] = move(terminal)
        terminal.read(self.hands.random.choice((0.005, 0.02, 0.05)))

    def _probe(self, terminal: Terminal) -> None:
        """A resize must bring a frame in time."""
        if not terminal.drawing:
            self._see_out(terminal)
            return
        frames = terminal.frames
        self._tell_size(terminal, (121, 41) if terminal.size != (121, 41) else (120, 40))
        started = time.monotonic()
        if not terminal.answers(self.patience) and not terminal.drawing:
            self._see_out(terminal)
        elif terminal.frames == frames and terminal.alive():
            late = terminal.frame(PATIENCE)
            after = f"after {time.monotonic() - started:.0f} s" if late else "at all"
            self._fault("hang", f"no frame {after} for a resize")
            if not late:
                terminal.signal(signal.SIGKILL)
        self.report.counts["probes"] += 1

    def _see_out(self, terminal: Terminal) -> None:
        """It has left the screen: it ends, once it may write (Ctrl+S stops that), or is back."""
        for _ in range(10):
            terminal.send(b"\x11")
            terminal.resume()  # a Ctrl+Z typed while it was stopped has stopped it again
            if terminal.wait(lambda: terminal.drawing or not terminal.alive(), 2):
                break
        else:
            self._fault("hang", "it left the screen and neither ended nor came back")
            terminal.signal(signal.SIGKILL)

    def _fault(self, kind: str, text: str) -> None:
        moves = "\n".join(self.last)
        self.report.fault(kind, f"seed {self.seed}: {text}", moves)

    # -- moves ---------------------------------------------------------------------------

    def _keys(self, terminal: Terminal) -> str:
        keys = self.hands.keys().replace(b"q", b"")
        terminal.send(keys)
        return f"keys {keys!r}"

    def _line(self, terminal: Terminal) -> str:
        line = self.hands.line()
        end = self.hands.random.choice((b"\r", b"\r", b"\r", b"\t\r", b"\x1b"))
        terminal.send(b"\x1b")
        terminal.read(0.02)
        terminal.send(b":" + line.encode("utf-8", "surrogatepass") + end)
        return f":{line[:200]} {end!r}"

    def _paste(self, terminal: Terminal) -> str:
        kind, data = self.hands.paste()
        if self.hands.random.random() < 0.7:
            terminal.send(b"\x1b")
            terminal.read(0.05)
            terminal.send(b":")
        terminal.paste(data)
        return f"paste {kind} of {len(data)} bytes"

    def _mouse(self, terminal: Terminal) -> str:
        data = self.hands.mouse(terminal.size)
        terminal.send(data)
        return f"mouse {data!r}"

    def _resize(self, terminal: Terminal) -> str:
        size = self.hands.size()
        self._tell_size(terminal, size)
        return f"resize {size}"

    def _tell_size(self, terminal: Terminal, size: tuple[int, int]) -> None:
        self.report.counts["sizes"] += 1
        terminal.resize(*size)

    def _storm(self, terminal: Terminal) -> str:
        count = self.hands.random.choice((10, 60))
        for _ in range(count):
            self._tell_size(terminal, self.hands.random.choice(SIZES))
            if self.hands.random.random() < 0.3:
                terminal.signal(signal.SIGWINCH)
        return f"storm of {count} sizes"

    def _stop(self, terminal: Terminal) -> str:
        draw = self.hands.random.random
        stopped = terminal.stop()
        what = [f"stopped: {stopped}"]
        if draw() < 0.3:
            terminal.send(b"sss")
            what.append("sss")
        if draw() < 0.3:
            what.append(self._resize(terminal))
        terminal.resume()
        return ", ".join(what)

    def _noise(self, terminal: Terminal) -> str:
        data = self.hands.noise()
        terminal.send(data)
        return f"bytes {data!r}"

    # -- the end -------------------------------------------------------------------------

    def _end(self, terminal: Terminal) -> None:
        """End it in some way, and hold what is left against what was on the screen."""
        if not terminal.alive():
            if not self._look_at_text(terminal) and not self._left_by_choice(terminal):
                self._fault("ended", f"by itself, with {terminal.status}: {terminal.after[-200:]}")
            return
        way = self.hands.random.choice(list(_ENDS))
        standing = self._come_to_rest(terminal)
        if way == "KILL":
            standing = self._go_to_the_end(terminal, standing)
        self.last.append(f"end by {way} at {standing}")
        _ENDS[way](terminal)
        status = terminal.end(max(self.patience, 20))
        self.report.counts[f"end by {way}"] += 1
        if self._look_at_text(terminal):
            return
        if status != _STATUS[way] and (standing is not None or status != 0):  # else left before
            self._fault("status", f"{status} after {way}: {terminal.after[-200:]}")
        if way != "KILL" and (residue := terminal.residue()):
            self._fault("residue", f"{', '.join(residue)} after {way}")
        if standing is not None and standing.end > 0:
            self._compare(terminal.home, standing, way)

    def _left_by_choice(self, terminal: Terminal) -> bool:
        """Whether it was left in order: `q` in the library, or found, clicked and chosen."""
        left = terminal.status == 0 and not terminal.residue()
        self.report.counts["left by choice"] += left
        return left

    def _come_to_rest(self, terminal: Terminal) -> Standing | None:
        """Get out of every dialog and action; where we are then, None without a status line."""
        terminal.resume()  # a Ctrl+Z pasted while it came back has stopped it again
        terminal.settle(0.2, 10)
        for _ in range(3):
            terminal.send(b"\x1b")
            terminal.settle(0.15, 5)
        self._tell_size(terminal, (250, 45))
        terminal.line("cpu any")
        terminal.send(b"n")
        for number in range(_ASKED):
            seconds = 10 if number < _ASKED - 1 else PATIENCE
            if self._has_answered(terminal, f"rest{number}", seconds):
                return self._standing_at_rest(terminal)
            terminal.resume()
            terminal.send(b"\x1b")
            # An escape and the next key at once would be one key, and a machine with more to do
            # than this reads them at once when much time is between them.
            terminal.settle(0.3 * 2**number, 5 * 2**number)
        if terminal.alive() and terminal.standing is not None:
            self._fault("deaf", f"no key is answered:\n{terminal.shown()}")
        return None

    def _go_to_the_end(self, terminal: Terminal, standing: Standing | None) -> Standing | None:
        """Do all that was gone back over: of what was only begun there nothing need be on file."""
        for number in range(_KEPT):
            if standing is None or standing.position == standing.end:
                break
            terminal.send(b"n")
            self._has_answered(terminal, f"end{number}", 10)
            standing = self._standing_at_rest(terminal)
        return standing

    def _standing_at_rest(self, terminal: Terminal) -> Standing | None:
        """Where the status line says that it is, once that stays so: a move may still go on."""
        before = None
        for _ in range(20):
            terminal.settle(0.5, 10)
            now = terminal.standing
            if now is not None and now == before:
                return None if "(running)" in terminal.screen[0] else now
            before = now
        return None

    def _has_answered(self, terminal: Terminal, name: str, seconds: float) -> bool:
        """Whether all that was typed is done: a pane that is not there is asked for last."""
        terminal.line(f"pane {name}")
        return terminal.wait(lambda: f"no pane '{name}'" in terminal.shown(), seconds)

    def _look_at_text(self, terminal: Terminal) -> bool:
        """Whether there is a traceback in what was written."""
        text = terminal.written
        found = _TRACEBACK.search(text)
        if found is not None:
            self.last.append(text[found.start() : found.start() + 6000])
            self._fault("traceback", _signature(text[found.start() :]) or text[-300:])
        return found is not None

    def _compare(self, home: Home, standing: Standing, way: str) -> None:
        """A session must stand where the screen stood; after KILL but for the position.

        It may have fewer branches: one with nothing but a begun action need not come back.
        """
        there: list[Standing] = []
        for path in home.sessions():
            try:
                found = standing_of(reopen(path))
            except SandboxError as error:
                self._fault("session", f"{path.name}: {error}\n{path.read_text()[-1500:]}")
                return
            there.append(found)
        self.report.counts["compared"] += 1
        if not any(_same(standing, found, way) for found in there):
            self._fault("lost", f"{standing} on the screen, {there} in sessions after {way}")


def _same(standing: Standing, found: Standing, way: str) -> bool:
    """Whether a session is where the screen stood."""
    position = found.position == standing.position or way == "KILL"
    same = (found.kernel, found.end) == (standing.kernel, standing.end)
    return same and position and found.branches <= standing.branches


def _press_until_ended(terminal: Terminal, key: bytes) -> None:
    """Press a key that leaves; again when what was typed before has opened another dialog."""
    for _ in range(4):
        terminal.resume()
        terminal.send(key)
        if terminal.wait(lambda: not terminal.alive(), 5):
            return
        for _ in range(3):
            terminal.send(b"\x1b")
            terminal.read(0.2)


def _signature(text: str) -> str:
    """The last frames and the error of a traceback."""
    flat = re.sub(r"\s*│\n│\s?", "", text)
    frames = re.findall(r"([\w/.\-]+\.py):(\d+) in\s+(\w+)", flat)
    frames += re.findall(r'File "([^"]+)", line (\d+), in (\w+)', flat)
    places = [f"{Path(file).name}:{line}:{name}" for file, line, name in frames]
    errors = re.findall(r"^(\w*(?:Error|Exception|Interrupt|Exit)\b.*)$", text, re.MULTILINE)
    return " ".join([*places[-3:], *errors[-1:]])


def fuzz(
    report: Report, folder: Path, seed: int, size: tuple[int, int], *, lives: int, moves: int,
    patience: float = 5.0, seconds: float = float("inf"),
) -> None:  # fmt: skip
    """Some lives of one seed, each of some moves; no more are begun after *seconds*."""
    fuzzer = Fuzzer(report, folder, seed, size, patience)
    until = time.monotonic() + seconds
    for _ in range(lives):
        if time.monotonic() > until:
            return
        fuzzer.live(moves, until)


THREE = ((80, 24), (120, 40), (200, 60))
"""The sizes that the longer target begins with, two at a time."""


def fuzz_side_by_side(report: Report, folder: Path, seed: int, seconds: float) -> None:
    """Lives at three sizes until the time is over, two terminals at a time."""
    until = time.monotonic() + seconds

    def one(size: tuple[int, int], number: int) -> Report:
        own = Report(report.name, number, report.into and report.into / str(number))
        fuzzer = Fuzzer(own, folder, number, size, patience=5.0)
        fuzzer.live(fuzzer.hands.random.randint(50, 400), until)
        return own

    seeds = count(seed * 10_000)
    with ThreadPoolExecutor(2) as pool:
        waiting = {pool.submit(one, THREE[number % 3], number) for number in islice(seeds, 2)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                report.add(future.result())
                if time.monotonic() < until:
                    number = next(seeds)
                    waiting.add(pool.submit(one, THREE[number % 3], number))
