"""Hostile inputs to the commands: scenario files, things that are no files, names and options."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.attack.homes import Home
from tests.attack.limited import judge, run_limited
from tests.attack.report import Report

__all__ = ["Input", "endless", "files", "special", "try_inputs"]

BAD = (2,)
EITHER = (0, 2)
GOOD = (0,)
_SECONDS_A_MEGABYTE = 2.0
_START = 8.0
"""Seconds that a command may take besides: a loaded machine starts slowly."""
ESCAPE = "\x1b[31mred\x1b]0;owned\x07"


@dataclass(frozen=True, slots=True)
class Input:
    """A command line, the file that it reads, and how it may end."""

    label: str
    argv: tuple[str, ...]
    allowed: tuple[int, ...] = BAD
    file: str = ""
    text: bytes = b""
    make: Callable[[Path], None] | None = None
    stdin: str = ""
    seconds: float = 0.0
    """More than its size allows: what it asks for is much."""


def _scenario(
    label: str, body: str | bytes, allowed: tuple[int, ...] = BAD, seconds: float = 0.0
) -> Input:
    data = body if isinstance(body, bytes) else body.encode()
    return Input(f"scenario {label}", ("run", "a.scn"), allowed, "a.scn", data, seconds=seconds)


def _in(lines: str) -> str:
    return f"scenario x\n{lines}\nend\n"


_OK = "mmap A R 64K\nend\n"
_TWO_CPUS = "cpu0: touch A R 0 16 w\ncpu1: read A R 0 1\n"
_CHILDREN = "".join(f"fork A P{i}\n" for i in range(1000))

_TEXTS: tuple[tuple[str, str | bytes, tuple[int, ...]], ...] = (
    ("empty", "", BAD),
    ("only a comment", "# x\n", BAD),
    ("a million blank lines", "\n" * 1_000_000, BAD),
    ("a million comments", "# c\n" * 1_000_000, BAD),
    ("a word of a million letters", _in("a" * 1_000_000), BAD),
    ("a line of a million words", _in("write A " + "R " * 500_000), BAD),
    ("a name of ten million letters", f"scenario {'a' * 10_000_000}\nend\n", EITHER),
    ("an about of a million letters", f"scenario x\nabout {'w ' * 500_000}\nend\n", EITHER),
    ("escapes in about", f"scenario x\nabout \x1b]0;o\x07\x9b31m \u202ea\n{_OK}", EITHER),
    ("NUL in a line", _in("mmap A R\0 64K"), BAD),
    ("only NUL", "\0" * 1000, BAD),
    ("no UTF-8", b"scenario x\nmmap A R \xff\xfe64K\nend\n", BAD),
    ("latin-1 comment", b"scenario x\n# \xe9\nmmap A R 64K\nend\n", BAD),
    ("UTF-16", _in("mmap A R 64K").encode("utf-16"), BAD),
    ("byte order mark", "\ufeff" + _in("mmap A R 64K"), GOOD),
    ("CRLF", _in("mmap A R 64K").replace("\n", "\r\n"), GOOD),
    ("CR", _in("mmap A R 64K").replace("\n", "\r"), BAD),
    ("tabs", "scenario\tx\n\tmmap\tA\tR\t64K\t\nend\n", GOOD),
    ("no-break space", _in("mmap\u00a0A R 64K"), BAD),
    ("form feed", _in("mmap A R 64K\x0c"), BAD),
    ("escape in a verb", _in("\x1b[31mmmap A R 64K"), BAD),
    ("escape in a name", _in("mmap A\x1b[2J R 64K"), BAD),
    ("bidi in a name", _in("mmap A\u202eB R 64K"), BAD),
    ("no end", "scenario x\nmmap A R 64K\n", BAD),
    ("a scenario in a scenario", "scenario x\nscenario y\nend\nend\n", BAD),
    ("two of a name", _in("mmap A R 64K") * 2, BAD),
    ("text after the end", _in("mmap A R 64K") + "fork A B\n", BAD),
    ("escape in sysfs", _in("sysfs /\x1b[2J/x \x1b]0;t\x07"), EITHER),
    ("escape in a path", _in("file F 64K /tmp/\x1b[2J\x07"), EITHER),
    ("gone process", _in("mmap A R 64K\nexit A\nwrite A R 0 1"), BAD),
)  # fmt: skip

_REFUSED_LINES = (
    "mmap A R 1P", "mmap A R 99999999999999G", "mmap A R -64K", "mmap A R 0K", "mmap A R 5K",
    "mmap A R 1.5M", "mmap A R \u0661\u0662K", "mmap A R \u00b2K", f"mmap A R {'9' * 100_000}K",
    "mmap A R 64K\nwrite A R 0 99999999999999999999",
    "mmap A R 64K\nwrite A R 0 9223372036854775808", "mmap A R 64K\nwrite A R 9 3",
    "mmap A R 64K\nwrite A Q 0 1", "mmap A R 64K at=68719476736",
    f"mmap A R 64K\n{_TWO_CPUS}schedule 0x999999999",
    "cpu63: mmap A R 64K", "cpu64: mmap A R 64K",
    "mmap A R 64K\ncpu0: read A R 0 1\ncpu0: read B R 0 1\nschedule 0",
    f"mmap A R 64K\n{_TWO_CPUS}schedule cpu0 until store:999999999",
    f"mmap A R 64K\n{_TWO_CPUS}schedule cpu0 until {'f' * 100_000}:1",
)  # fmt: skip

_LARGE_LINES: tuple[tuple[str, str], ...] = (
    ("at the top", "mmap A R 64K at=68719476720"),
    ("pgoff at the top", "memfd F 64K\nmmap A R 64K fd=F pgoff=68719476735"),
    ("256T", "mmap A R 262144G"),
    ("256T, fork, exit", "mmap A R 262144G\nfork A B\nexit A"),
    ("256T unmapped", "mmap A R 262144G\nmunmap A R 0 68719476736"),
    ("256T protected", "mmap A R 262144G\nmprotect A R 0 68719476736 r"),
    ("256T dropped", "mmap A R 262144G\ndontneed A R 0 68719476736"),
    ("repeat 2^31", "mmap A R 64K\ntouch A R 0 16 w\nrepeat A R 0 16 1 -"),
    ("memfd 256T", "memfd F 262144G\nmmap A R 262144G fd=F"),
    ("file 256T", "file F 262144G /x 262144G"),
    ("file 256T of 4K", "file F 262144G /x 4K\nmmap A R 64K fd=F\nread A R 0 16"),
    ("sleep 2^31", "sleep 2147483648"),
    ("clearrefs 2^31", "mmap A R 64K\nclearrefs A 2147483648"),
    ("swap 10,000 times", "swap on\nswap off\n" * 5000),
    ("a long schedule", f"mmap A R 64K\n{_TWO_CPUS}schedule 0x999999"),
    ("500 regions", "".join(f"mmap A R{i} 64K\n" for i in range(500))),
    ("long region", f"mmap A {'R' * 100_000} 64K"),
    ("long process", f"mmap {'A' * 100_000} R 64K"),
    ("300 blocks with a long schedule",
     "mmap A R 64K\n" + f"{_TWO_CPUS}schedule 0x1000000\n" * 300),
    ("1,000 processes", f"mmap A R 64K\ntouch A R 0 16 w\n{_CHILDREN}"),
)  # fmt: skip
_WORK = {"1,000 processes": 300.0, "300 blocks with a long schedule": 30.0, "500 regions": 60.0}
"""Seconds of those that are much work; 1,000 processes are 430 MB of JSON."""


def files() -> Iterator[Input]:
    """Scenario files, malformed or large."""
    for label, text, allowed in _TEXTS:
        yield _scenario(label, text, allowed)
    for lines in _REFUSED_LINES:
        yield _scenario(repr(lines[-40:]), _in(lines))
    for label, lines in _LARGE_LINES:
        yield _scenario(label, _in(lines), EITHER, _WORK.get(label, 20.0))


def _fifo(name: str) -> Callable[[Path], None]:
    return lambda folder: os.mkfifo(folder / name)


def _link(name: str, to: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(to)


def _loop(folder: Path) -> None:
    (folder / "cf" / "7.2").mkdir(parents=True)
    (folder / "cf" / "7.2" / "up").symlink_to("..")


GOOD_FILE = _in("mmap A R 64K").encode()


def special() -> Iterator[Input]:
    """Things that are no regular files, odd names, and options."""
    for command in ("run", "check", "conform"):
        for path in ("/dev/null", "/dev/zero", "/dev/urandom", "/proc/self/mem", "/proc/kmsg"):
            allowed = (1, 2) if command == "conform" else BAD
            yield Input(f"{command} {path}", (command, path), allowed)
        yield Input(f"{command} a FIFO", (command, "fifo"), make=_fifo("fifo"))
        yield Input(f"{command} a FIFO.md", (command, "fifo.md"), make=_fifo("fifo.md"))
        yield Input(f"{command} a link to itself", (command, "loop"), make=_link("loop", "loop"))
    for path in (".", "loop.md", "folder.md"):
        make = _link("loop.md", "loop.md") if path == "loop.md" else _folder
        yield Input(f"run {path}", ("run", path), make=make)
    yield Input("conform a folder in itself", ("conform", "cf"), make=_loop)
    yield Input("conform /proc", ("conform", "/proc"), (1, 2), seconds=20)
    yield Input("stdin", ("run", "/dev/stdin"), GOOD, "a.scn", GOOD_FILE, stdin="a.scn")
    yield from _names()
    yield from _options()


def _folder(folder: Path) -> None:
    (folder / "folder.md").mkdir()


def _names() -> Iterator[Input]:
    """Names that do not exist, are too long, or write to a terminal."""
    for name in (
        "x" * 5000, "x" * 5000 + ".md", "/".join(["d" * 200] * 25), "", " ", "a\nb", ESCAPE,
        ESCAPE + ".md", "0", "-1", "999", "9" * 100_000, "\u00b2", "nothing.scn", "\udcff\udcfe",
    ):  # fmt: skip
        yield Input(f"name {name[:20]!r}", ("run", name))
    for suffix, text, allowed in (
        (".scn", b"bad\n", BAD),
        (".md", b"bad\n", BAD),
        (".scn", GOOD_FILE, GOOD),
    ):
        name = f"{ESCAPE}{suffix}"
        yield Input(f"existing {name!r} {allowed}", ("run", name), allowed, name, text)
    name = f"{ESCAPE}.scn"
    yield Input("proc of an odd name", ("proc", name, "smaps"), GOOD, name, GOOD_FILE)
    for argv in (
        ("run", "1", "--kernel", ESCAPE), ("run", "a.scn", "--scenario", ESCAPE), ("rules", ESCAPE),
        ("proc", "a.scn", "smaps", "--process", ESCAPE), ("proc", "a.scn", ESCAPE), (ESCAPE,),
        ("run", f"--{ESCAPE}", "1"), ("run", "1", "--kernel", "\udcff"),
    ):  # fmt: skip
        yield Input(f"escape in {argv!r:.60}", argv, BAD, "a.scn", GOOD_FILE)


def _options() -> Iterator[Input]:
    for step in ("-1", "9" * 400, "9" * 5000, "x"):
        yield Input(f"--step {step[:9]}", ("proc", "1", "smaps", "--step", step))
    hwaf = "7.2" + "-hwaf" * 1000
    for argv in (
        ("run",), ("run", "--json", "--text", "1"), ("run", "--nope", "1"), ("run", "--js", "1"),
        ("run", "1", "--kernel", hwaf), ("run", "1", "--kernel=-hwaf"), ("conform",), (),
        ("check", "--kernel", "zzz", "1"), ("check", "1", "nope"),
    ):  # fmt: skip
        yield Input(f"options {argv!r:.60}", argv)


_ZERO = """\
mthp 2M always
mmap A R 2M
read A R 0 1
mprotect A R 0 512 r
get A R 0 1 1 wf"""
_FAR = """\
file F 32p /x/h2 64K
mmap A R 128K at=480 fd=F shared
touch A R 480 496 w
remove A R 0 481"""
_LOOP = """\
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import load
class K(Linux72):
    id = "k"
    def copy_page_range(self, *args):
        while True:
            yield load(16)
"""


def endless() -> Iterator[Input]:
    """Actions that go on without changing memory, or for very long: stopped within 8 s.

    One that is right now and ends by itself is as good.
    """
    for name, lines in (("get of a huge zero page", _ZERO), ("remove far off", _FAR)):
        for form in ((), ("--json",)):
            argv = ("run", "a.scn", "--kernel", "7.2", *form)
            yield Input(f"{name} {argv}", argv, (0, 1), "a.scn", _in(lines).encode())

    def make(folder: Path) -> None:
        (folder / "k.py").write_text(_LOOP)

    text = _in("mmap A R 64K\ntouch A R 0 16 w\nfork A B").encode()
    for form in ((), ("--json",)):
        argv = ("run", "a.scn", "--kernel", "k.py:K", *form)
        yield Input(f"a loop of loads {argv}", argv, (1,), "a.scn", text, make)


def try_inputs(report: Report, folder: Path, cases: Iterator[Input]) -> None:
    """Run each in a folder of its own under its limits."""
    for number, case in enumerate(cases):
        home = Home(folder / f"case{number}")
        if case.file:
            (home.path / case.file).write_bytes(case.text)
        if case.make is not None:
            case.make(home.path)
        seconds = _START + case.seconds + _SECONDS_A_MEGABYTE * len(case.text) / 1e6
        stdin = home.path / case.stdin if case.stdin else None
        judge(report, case.label, run_limited(home, case.argv, seconds, stdin), case.allowed)
