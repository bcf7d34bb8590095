"""`:save` to odd places: nothing is destroyed, and what it says is true."""

from __future__ import annotations

import os
import re
import shlex
import socket
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.errors import SandboxError
from tests.attack.ends import do_lines, document
from tests.attack.homes import Home, command
from tests.attack.report import Report
from tests.attack.sessions import reopen
from tests.attack.terminal import NoAnswer, Terminal

__all__ = ["CASES", "Case", "try_saves"]

WORK = ("mmap A R 64K", "touch A R 0 16 w")
PRECIOUS = "precious\n"
OTHERS = "# my notes\nscenario y\nabout text\nmmap Z Q 4K\nend\nscenario two\nmmap B R 4K\nend\n"
OWN = "own.scn"
"""A file that mmtui wrote before the case began."""

Tree = dict[str, tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Case:
    """A place, what is there, and what may have changed afterwards."""

    name: str
    line: str
    """What is typed at `:`."""
    wrote: str = ""
    """The file that must be written now; empty: it is refused."""
    either: bool = False
    """Whether refusing is right, too."""
    own: bool = False
    """Whether there is a file `OWN` that mmtui wrote."""
    make: Callable[[Path], None] = lambda _: None
    """Put there what is there before; raises OSError where this person cannot."""
    check: Callable[[Path], str] = field(default=lambda _: "")
    """What else is wrong afterwards; empty: nothing."""


def _file(name: str, text: str = PRECIOUS, mode: int = 0o664) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_text(text)
        (folder / name).chmod(mode)

    return make


def _link(name: str, to: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(to)


def _linked(name: str) -> Callable[[Path], str]:
    return lambda folder: "" if (folder / name).is_symlink() else f"{name} is no link any more"


def _mode(name: str, mode: int) -> Callable[[Path], str]:
    def check(folder: Path) -> str:
        now = stat.S_IMODE((folder / name).stat().st_mode)
        return "" if now == mode else f"mode {now:o} instead of {mode:o}"

    return check


def _same(name: str, other: str) -> Callable[[Path], str]:
    def check(folder: Path) -> str:
        same = (folder / name).samefile(folder / other)
        return "" if same else f"{name} and {other} are two files now"

    return check


def _second_link(folder: Path) -> None:
    os.link(folder / OWN, folder / "second.scn")


def _socket(folder: Path) -> None:
    there = os.open(folder, os.O_PATH)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{there}/socket")
    os.close(there)


def _shut(folder: Path) -> None:
    if os.geteuid() == 0:
        raise PermissionError("root may write everywhere")
    (folder / "shut").mkdir(mode=0o500)


def _bytes(folder: Path) -> None:
    (folder / "bytes").write_bytes(bytes(range(256)))


def _device(folder: Path) -> None:
    os.mknod(folder / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))


def _runs(name: str) -> Callable[[Path], str]:
    """A file that was written must run by the name it was saved under."""

    def check(folder: Path) -> str:
        if not (folder / name).exists():
            return ""
        argv = [*command(), "run", name]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else f"mmtui run {name}: {done.stderr.strip()}"

    return check


LONG = "n" * 250
CASES = (
    Case("a new file", ":save new.scn", "new.scn"),
    Case("its own file again", f":save {OWN}", OWN, own=True),
    Case("a file of mine", ":save notes.txt", make=_file("notes.txt")),
    Case("a file of mine, insisting", ":save! notes.txt", "notes.txt",
         make=_file("notes.txt"), check=_mode("notes.txt", 0o664)),
    Case("a scenario of mine", ":save mine.scn", make=_file("mine.scn", OTHERS)),
    Case("the document itself", ":save ../nothing.scn"),
    Case("an empty file of mine", ":save empty.scn", "empty.scn", either=True,
         make=_file("empty.scn", "")),
    Case("a private file of mine", ":save secret", make=_file("secret", mode=0o600)),
    Case("bytes of mine", ":save bytes", make=_bytes),
    Case("a link to its own file", ":save link.scn", OWN, own=True,
         make=_link("link.scn", OWN), check=_linked("link.scn")),
    Case("a link to a file of mine", ":save link",
         make=lambda f: (_file("notes.txt")(f), _link("link", "notes.txt")(f))[1],
         check=_linked("link")),
    Case("a link to a file of mine, insisting", ":save! link", "notes.txt",
         make=lambda f: (_file("notes.txt")(f), _link("link", "notes.txt")(f))[1],
         check=_linked("link")),
    Case("a link to nothing", ":save dangling.scn", "target.scn", either=True,
         make=_link("dangling.scn", "target.scn"), check=_linked("dangling.scn")),
    Case("a link to itself", ":save loop", make=_link("loop", "loop"), check=_linked("loop")),
    Case("a hard link", f":save {OWN}", OWN, own=True,
         make=_second_link, check=_same(OWN, "second.scn")),
    Case("its own file of another mode", f":save {OWN}", OWN, own=True,
         make=lambda f: (f / OWN).chmod(0o640), check=_mode(OWN, 0o640)),
    Case("a device", ":save device", make=_device),
    Case("a device, insisting", ":save! device", make=_device),
    Case("a FIFO", ":save fifo", make=lambda f: os.mkfifo(f / "fifo")),
    Case("a FIFO, insisting", ":save! fifo", make=lambda f: os.mkfifo(f / "fifo")),
    Case("a socket", ":save socket", make=_socket),
    Case("a folder", ":save folder", make=lambda f: (f / "folder").mkdir()),
    Case("a folder, insisting", ":save! folder", make=lambda f: (f / "folder").mkdir()),
    Case("a folder with a slash", ":save folder/", make=lambda f: (f / "folder").mkdir()),
    Case("here", ":save ."),
    Case("the root", ":save /"),
    Case("missing folders", ":save x/y/z.scn"),
    Case("missing folders, insisting", ":save! x/y/z.scn", either=True, wrote="x/y/z.scn"),
    Case("below a file", ":save notes.txt/z.scn", make=_file("notes.txt")),
    Case("a folder that is shut", ":save shut/z.scn", make=_shut),
    Case("a name with a blank", ":save my file.scn", "my file.scn"),
    Case("a name for a shell", ":save a'b$(id).scn", "a'b$(id).scn"),
    Case("a name with an accent", ":save é.scn", "é.scn"),
    Case("250 letters", f":save {LONG}", LONG),
    Case("300 letters", f":save {'n' * 300}"),
    Case("1,200 letters", f":save {'n/' * 600}n"),
    Case("nobody's home", ":save ~nosuchuser/x"),
    Case("/proc", ":save /proc/x"),
    Case("/sys", ":save /sys/x"),
    Case("the suffix of a preset", ":save mine.md", "mine.md", either=True, check=_runs("mine.md")),
    Case("no name", ":save"),
)  # fmt: skip
"""What a person may type by mistake or mean; the device needs root, the shut folder another."""


def tree(folder: Path) -> Tree:
    """Everything in a folder: kind and mode, inode, and what is in it."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        seen = path.lstat()
        content = b""
        if stat.S_ISREG(seen.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(seen.st_mode):
            content = os.fsencode(path.readlink())
        found[str(path.relative_to(folder))] = (seen.st_mode, seen.st_ino, content)
    return found


def changed(before: Tree, after: Tree, allowed: str) -> str:
    """What became of files that were not to be written; empty: nothing."""
    parts = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new or name.startswith(("state", "cache", "tmp")):
            continue
        if new is None:
            parts.append(f"{name} is gone")
        elif old is None:
            parts.append(f"{name} is new" if name != allowed else "")
        elif name == allowed or (old[1] == new[1] and old[1] == _inode(after, allowed)):
            parts.append("" if stat.S_IFMT(old[0]) == stat.S_IFMT(new[0]) else f"{name}: its kind")
        else:
            parts.append(f"{name} changed")
    return "; ".join(part for part in parts if part)


def _inode(found: Tree, name: str) -> int:
    return found[name][1] if name in found else -1


def answer(terminal: Terminal, line: str) -> str:
    """Type a line and wait for what the message line says to it.

    Raises:
        NoAnswer: nothing, or the application has left its screen.
    """
    terminal.send(b"\x1b")
    terminal.expect(lambda: not terminal.screen[-2], "row without a message")
    terminal.send(b":")
    terminal.expect(lambda: _typing(terminal.screen[-2]), "prompt")
    terminal.send(line[1:].encode() + b"\r")
    terminal.expect(
        lambda: not terminal.drawing or _says(terminal.screen[-2]), f"answer to {line[:60]}"
    )
    if not terminal.drawing:
        terminal.end()
        raise NoAnswer(f"ended with {terminal.status}: {terminal.after[-200:]}")
    return terminal.screen[-2]


def _says(row: str) -> bool:
    """Whether a row is a message."""
    return bool(row) and not _typing(row)


def _typing(row: str) -> bool:
    """Whether a row is the line that is being typed, and no message."""
    return row.lstrip().startswith(":")


def _try_one(report: Report, terminal: Terminal, case: Case, number: int) -> None:
    """One case in a folder of its own."""
    folder = terminal.home.path / f"case{number}"
    folder.mkdir()
    if case.own:
        answer(terminal, f":save case{number}/{OWN}")
    try:
        case.make(folder)
    except PermissionError as error:
        report.counts["skipped: " + case.name + f" ({error})"] += 1
        return
    report.tried += 1
    before = tree(terminal.home.path)
    line = _in_folder(case.line, number)
    try:
        said = answer(terminal, line)
    except NoAnswer as error:
        kind = "hang" if terminal.drawing else "ended"
        report.fault(kind, f"{case.name}: {error}", line)
        return
    _judge(report, terminal, case, folder, before, said)


def _in_folder(line: str, number: int) -> str:
    """The line with a relative path led into the folder of its case."""
    verb, _, name = line.partition(" ")
    if not name or name[0] in "/~":
        return line
    return f"{verb} case{number}/{name}"


def _judge(
    report: Report, terminal: Terminal, case: Case, folder: Path, before: Tree, said: str
) -> None:
    """Hold what is there now against what may be."""
    after = tree(terminal.home.path)
    allowed = f"{folder.name}/{case.wrote}" if case.wrote else ""
    wrong = changed(before, after, allowed)
    report.expect(not wrong, "destroyed", f"{case.name}: {wrong}; said: {said}", case.line)
    written = bool(allowed) and _is_session(folder / case.wrote)
    if case.wrote and not case.either:
        report.expect(written, "not saved", f"{case.name}: said: {said}", case.line)
    told = said.lstrip().startswith("saved")
    report.expect(told == written, "not told", f"{case.name}: said: {said}", case.line)
    if written and told:
        _judge_advice(report, case, said)
    if more := case.check(folder):
        report.fault("check", f"{case.name}: {more}; said: {said}", case.line)


def _is_session(path: Path) -> bool:
    """Whether the work is in a file now."""
    try:
        return reopen(path).end > 0
    except (SandboxError, OSError):
        return False


def _judge_advice(report: Report, case: Case, said: str) -> None:
    """The command that is shown must name the file when a shell reads it (unless it is cut)."""
    shown = re.search(r"mmtui run (.*) --kernel", said)
    if shown is None:
        return
    try:
        words = shlex.split(shown[1])
    except ValueError:
        words = []
    typed = case.line.partition(" ")[2]
    right = bool(words) and words[-1].endswith(typed) and words[:-1] in ([], ["--"])
    right = right and "$(" not in re.sub(r"'[^']*'", "", shown[1])
    report.expect(right, "advice", f"{case.name}: {shown[0]}", case.line)


def try_saves(report: Report, folder: Path) -> None:
    """All cases, in one application as long as it lives."""
    number = 0
    cases = list(CASES)
    while cases:
        home = Home(folder / f"home{number}")
        with Terminal(home, document(home), size=(200, 24)) as terminal:
            terminal.ready()
            do_lines(terminal, WORK)
            while cases and terminal.alive():
                number += 1
                _try_one(report, terminal, cases.pop(0), number)
