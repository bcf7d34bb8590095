"""Homes, locales, terminals, sessions and modules that are not as they should be; escapes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack.ends import NOTHING, do_lines
from tests.attack.homes import Home
from tests.attack.modules import FAULTS, HEAD, body
from tests.attack.report import Report
from tests.attack.terminal import NoAnswer, Terminal

__all__ = ["try_broken_sessions", "try_escapes", "try_homes", "try_modules_on_screen"]

WORK = ("mmap A R 64K", "touch A R 0 16 w")
ANSWER = 20.0
"""Seconds within which it answers whatever is around it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A home or an environment that is odd."""

    name: str
    make: Callable[[Home], None] = lambda _: None
    extra: dict[str, str] = field(default_factory=dict)
    keeps: bool = True
    """Whether a session can be written; if not, leaving must ask first."""


def _instead(name: str) -> Callable[[Home], None]:
    """A file where a folder is needed."""

    def make(home: Home) -> None:
        path = home.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("in the way\n")

    return make


def _fifo_history(home: Home) -> None:
    (home.state / "mmtui").mkdir(parents=True)
    os.mkfifo(home.state / "mmtui" / "history")


def _large_history(home: Home) -> None:
    (home.state / "mmtui").mkdir(parents=True)
    (home.state / "mmtui" / "history").write_bytes(b"write A R 0 1\n" * 500_000 + b"\xff\xfe\0")


def _links_in_circle(home: Home) -> None:
    (home.state / "mmtui").mkdir(parents=True)
    (home.state / "mmtui" / "sessions").symlink_to("sessions")


PLACES = (
    Place("as usual"),
    Place("a file in place of sessions", _instead("mmtui/sessions"), keeps=False),
    Place("a file in place of the state folder", _instead("mmtui"), keeps=False),
    Place("sessions a link to itself", _links_in_circle, keeps=False),
    Place(
        "a device in place of the state folder", extra={"XDG_STATE_HOME": "/dev/null"}, keeps=False
    ),
    Place("a relative state folder", extra={"XDG_STATE_HOME": "relative"}),
    Place("an empty state folder name", extra={"XDG_STATE_HOME": ""}),
    Place("a home that is not there", extra={"HOME": "/nothing/of/that/name"}),
    Place("a FIFO in place of the history", _fifo_history),
    Place("a large and broken history", _large_history),
    Place("an unknown theme", extra={"MMTUI_THEME": "x"}),
    Place("an unknown driver", extra={"TEXTUAL_DRIVER": "x:Y"}),
    Place("a screen of a million columns", extra={"COLUMNS": "1000000", "LINES": "1000000"}),
    Place("LANG=C", extra={"LANG": "C", "LC_ALL": "C"}),
    Place("an unknown locale", extra={"LANG": "xx_XX.UTF-9", "LC_ALL": "xx_XX.UTF-9"}),
    Place("TERM=dumb", extra={"TERM": "dumb"}),
    Place("no TERM", extra={"TERM": ""}),
    Place("no colours", extra={"NO_COLOR": "1"}),
    Place("no temporary folder", extra={"TMPDIR": "/nothing/of/that/name"}),
)


def try_homes(report: Report, folder: Path) -> None:
    """In each place: it starts, or says why not in one line; work is kept, or leaving asks."""
    for number, place in enumerate(PLACES):
        report.tried += 1
        home = Home(folder / f"place{number}")
        (home.path / "nothing.scn").write_text(NOTHING)
        place.make(home)
        try:
            _try_home(report, home, place)
        except NoAnswer as error:
            report.fault("hang", f"{place.name}: {error}")


def _try_home(report: Report, home: Home, place: Place) -> None:
    with Terminal(home, "nothing.scn", extra=place.extra) as terminal:
        terminal.wait(lambda: terminal.standing or not terminal.alive(), ANSWER)
        if not terminal.alive():
            text = terminal.written
            right = terminal.status == 2 and text.count("\n") <= 1
            report.expect(right, "start", f"{place.name}: {terminal.status}: {text[-300:]}")
            return
        terminal.ready(ANSWER)
        do_lines(terminal, WORK)
        terminal.send(b"q")
        ended = terminal.wait(lambda: not terminal.alive(), ANSWER if place.keeps else 3)
        report.expect(
            ended == place.keeps, "leaving",
            f"{place.name}: {'ended' if ended else 'stayed'}: {terminal.after or terminal.shown()}",
        )  # fmt: skip
        if not ended and not place.keeps:
            terminal.send(b"q")
            terminal.end(ANSWER)
        kept = list(home.path.rglob("*.scn"))
        if place.keeps and "/nothing" not in place.extra.get("HOME", ""):
            report.expect(len(kept) > 1, "lost", f"{place.name}: no session")


# -- sessions ------------------------------------------------------------------------------

_GOOD = "# mmtui machine --kernel 7.2\nscenario machine\nmmap A R 64K\ntouch A R 0 16 w\nend\n"
_BROKEN: dict[str, bytes] = {
    "empty": b"", "a newline": b"\n", "bytes": bytes(range(256)), "NUL": b"\0" * 500,
    "half": _GOOD[: len(_GOOD) // 2].encode(), "no end": _GOOD[:-4].encode(),
    "half a line": _GOOD[:-8].encode(), "no UTF-8": _GOOD.encode().replace(b"A R", b"A \xff"),
    "UTF-16": _GOOD.encode("utf-16"), "unknown kernel": _GOOD.replace("7.2", "9.9").encode(),
    "kernel of a file": _GOOD.replace("7.2", "evil.py:K").encode(),
    "unknown verb": _GOOD.replace("touch", "tuch").encode(),
    "refused action": _GOOD.replace("0 16", "0 99").encode(),
    "twice": (_GOOD * 2).encode(), "an escape": _GOOD.replace("A R", "A\x1b[2J R").encode(),
}  # fmt: skip


def try_broken_sessions(report: Report, folder: Path) -> None:
    """A broken session, named or found by --continue or :open: one line says so, nothing ends."""
    for number, (name, data) in enumerate(_BROKEN.items()):
        for way in ("named", "--continue", ":open"):
            home = Home(folder / f"broken{number}{way}")
            sessions = home.state / "mmtui" / "sessions"
            sessions.mkdir(parents=True)
            path = sessions / "20260101-000000-machine.scn"
            path.write_bytes(data)
            (home.path / "nothing.scn").write_text(NOTHING)
            report.tried += 1
            try:
                _try_broken(report, home, path, way, f"{name}, {way}")
            except NoAnswer as error:
                report.fault("hang", f"{name}, {way}: {error}")
            still = path.exists() and (path.read_bytes() == data or data in path.read_bytes())
            report.expect(still, "destroyed", f"{name}, {way}")


def _try_broken(report: Report, home: Home, path: Path, way: str, label: str) -> None:
    argument = {"named": str(path), ":open": "nothing.scn"}.get(way, way)
    with Terminal(home, argument) as terminal:
        terminal.wait(lambda: terminal.standing or not terminal.alive(), ANSWER)
        if terminal.alive() and way == ":open":
            terminal.line(f"open {path}")
            terminal.settle(0.5, 10)
        if not terminal.alive():
            wrong = terminal.status not in (0, 2) or "Traceback" in terminal.written
            report.expect(not wrong, "ended", f"{label}: {terminal.status} {terminal.after[-300:]}")
            return
        terminal.send(b"\x1b")
        terminal.send(b"\x11")
        terminal.end(ANSWER)


# -- escapes -------------------------------------------------------------------------------

MARK = "\x1b]0;OWNED\x07"
"""Sets the title of the window: it must never be written."""
_MARKED: dict[str, str] = {
    "sysfs": f"scenario x\nmmap A R 4K\nsysfs /{MARK} x{MARK}\nend\n",
    "file": f"scenario x\nfile F 64K /tmp/{MARK}\nmmap A R 64K fd=F\nend\n",
    "about": f"scenario x\nabout {MARK} \u202eabc \x9b31m\nmmap A R 4K\nend\n",
    "comment": f"scenario x\n# {MARK}\nmmap A R 4K\nend\n",
}
_FRONT = '+++\ntitle = "{t}"\nkernels = ["7.2"]\ntags = ["{g}"]\nsummary = "{s}"\n+++\n{p}\n'
_ESCAPED = "\\u001b]0;OWNED\\u0007"


def _documents() -> Iterator[tuple[str, str, str]]:
    """Name of the case, of the file, and its text."""
    for name, text in _MARKED.items():
        yield name, "a.scn", text
    block = "```mm\nmmap A R 64K\n```\n"
    for part in "tgsp":
        values = dict.fromkeys("tgsp", "plain") | {part: MARK if part == "p" else _ESCAPED}
        yield f"preset {part}", "a.md", _FRONT.format(**values) + block
    yield "expectation", "a.md", _FRONT.format(t="t", g="g", s="s", p=f"```expect\n{MARK}\n```")
    yield "file name", f"{MARK}.scn", NOTHING
    yield "preset name", f"{MARK}.md", _FRONT.format(t="t", g="g", s="s", p=block)


def try_escapes(report: Report, folder: Path) -> None:
    """No document, name, line or error writes to the terminal what it is not."""
    for number, (name, file, text) in enumerate(_documents()):
        home = Home(folder / f"escape{number}")
        (home.path / file).write_text(text)
        _watch(report, home, name, file, (b"n", b"n", b"]", b"?", b"\x1b", b"L", b"\x1b"))
    lines = (
        f"sysfs /{MARK} x", f"kernel {MARK}", f"open {MARK}", f"save {MARK}.scn", f"theme {MARK}",
        f"select {MARK}", f"cat {MARK}", f"pane {MARK}", f"write {MARK} R 0 1", MARK,
    )  # fmt: skip
    home = Home(folder / "typed")
    (home.path / "nothing.scn").write_text(NOTHING)
    for line in lines:
        typed = b":\x1b[200~" + line.encode() + b"\x1b[201~\r"
        _watch(report, home, f"typed {line.split()[0]}", "nothing.scn", (typed,))


def _watch(report: Report, home: Home, name: str, file: str, keys: tuple[bytes, ...]) -> None:
    """Open, press, leave; then look for the mark in all that was written."""
    report.tried += 1
    with Terminal(home, file) as terminal:
        terminal.wait(lambda: terminal.standing or not terminal.alive(), ANSWER)
        for key in keys:
            terminal.send(key)
            terminal.settle(0.15, 5)
        terminal.send(b"\x1b")
        terminal.settle(0.2, 5)
        terminal.send(b"q")
        if not terminal.wait(lambda: not terminal.alive(), 10):
            terminal.send(b"\x11")
            terminal.wait(lambda: not terminal.alive(), 10)
        raw = b"OWNED\x07" in terminal.output or "\u202e".encode() in terminal.output
        report.expect(not raw and b"\x9b31m" not in terminal.output, "raw", name)


# -- modules on the screen -----------------------------------------------------------------


def try_modules_on_screen(report: Report, folder: Path) -> None:
    """With a kernel that fails the application stays, or ends saved and named; keys are taken."""
    for number, (name, text) in enumerate(FAULTS.items()):
        home = Home(folder / f"module{number}")
        (home.path / "k.py").write_text(body(text))
        report.tried += 1
        try:
            _run_on_screen(report, home, name)
        except NoAnswer as error:
            report.fault("hang", f"{name}: {error}")
    home = Home(folder / "init")
    (home.path / "k.py").write_text(HEAD + '    def __init__(self, cpu): raise ValueError("x")\n')
    report.tried += 1
    with Terminal(home, "3") as terminal:
        terminal.ready()
        terminal.line("kernel k.py:K")
        terminal.settle(0.5, 10)
        report.expect(terminal.drawing, "ended", f"__init__ raises: {terminal.after[-300:]}")


def _run_on_screen(report: Report, home: Home, name: str) -> None:
    """Run preset 3 to its end with the module; then leave."""
    with Terminal(home, "3", "--kernel", "k.py:K") as terminal:
        terminal.wait(lambda: terminal.standing or not terminal.alive())
        if not terminal.alive():
            named = "k.py:" in terminal.written and "Traceback" not in terminal.written
            report.expect(
                terminal.status == 2 and named, "refused", f"{name}: {terminal.written[-300:]}"
            )
            _named_at_a_line(report, home, name)
            return
        terminal.send(b"nnne")
        terminal.settle(1.0, 15)
        if not terminal.alive():
            saved = bool(home.sessions())
            named = "k.py" in terminal.written or "kernel" in terminal.after
            right = saved and named and "Traceback" not in terminal.written
            report.expect(right, "ended", f"{name}: {terminal.status} {terminal.after[-300:]}")
            return
        terminal.send(b"\x1b")
        terminal.settle(0.3, 10)
        terminal.send(b"\x11")
        terminal.end(ANSWER)
        report.expect(bool(home.sessions()), "lost", f"{name}: no session")


def _named_at_a_line(report: Report, home: Home, name: str) -> None:
    """A module that is refused at the start is refused at `:kernel`, and nothing ends."""
    with Terminal(home, "3") as terminal:
        terminal.ready()
        terminal.line("kernel k.py:K")
        terminal.wait(lambda: "k.py:" in terminal.shown(), ANSWER)
        report.expect("k.py:" in terminal.shown(), "not named", f"{name}: {terminal.shown()}")
        report.expect(terminal.drawing, "ended", f"{name}: {terminal.after[-300:]}")
