"""Hostile preset documents and recordings, and documents that name Python code."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from sandbox.conform.packed import read_packed
from tests.attack.ends import NOTHING
from tests.attack.homes import Home
from tests.attack.inputs import BAD, EITHER, GOOD, Input
from tests.attack.limited import run_limited
from tests.attack.report import Report
from tests.attack.terminal import Terminal

__all__ = ["presets", "recordings", "try_code"]

RECORDINGS = Path(__file__).parent.parent / "recordings"
CHECKED = (0, 1, 2)

FRONT = '+++\ntitle = "t"\nkernels = ["7.2"]\ntags = []\nsummary = "s"\n+++\n'
BLOCKS = "```mm\nmmap A R 64K\n```\n```expect\nret = 0\n```\n"
OK = FRONT + BLOCKS


def _titled(title: str) -> str:
    return FRONT.replace('"t"', title) + BLOCKS


def _numbered(number: str) -> str:
    return FRONT.replace("tags", f"number = {number}\ntags") + BLOCKS


def _kernels(names: str) -> str:
    return FRONT.replace('["7.2"]', names) + BLOCKS


_FRONTS: tuple[tuple[str, str | bytes, tuple[int, ...]], ...] = (
    ("good", OK, GOOD), ("empty", "", BAD), ("no front matter", "# x\n", BAD),
    ("unclosed", '+++\ntitle = "x"\n', BAD), ("malformed", "+++\ntitle = \n+++\n", BAD),
    ("open brackets", f"+++\ntitle = {'[' * 100_000}\n+++\n", BAD),
    ("500 brackets", f"+++\ntitle = {'[' * 500}{']' * 500}\n+++\n", BAD),
    ("100,000 brackets", f"+++\ntitle = {'[' * 100_000}{']' * 100_000}\n+++\n", BAD),
    ("nested tables", f"+++\n[{'.'.join(['a'] * 50_000)}]\n+++\n", BAD),
    ("nested inline", f"+++\ntitle = {'{a=' * 3000}1{'}' * 3000}\n+++\n", BAD),
    ("dotted key", f"+++\n{'.'.join(['a'] * 5000)} = 1\n+++\n", BAD),
    ("large number as title", f"+++\ntitle = {'9' * 10_000}\n+++\n", BAD),
    ("large number", _numbered("9" * 4000), EITHER), ("negative number", _numbered("-3"), EITHER),
    ("large hex number", _numbered("0x" + "f" * 100_000), EITHER),
    ("number as title", _titled("3"), BAD), ("date as title", _titled("1979-05-27"), BAD),
    ("nan as title", _titled("nan"), BAD), ("key twice", '+++\ntitle="a"\ntitle="b"\n+++\n', BAD),
    ("unknown key", "+++\nfoo = 1\n+++\n", BAD), ("no kernels", _kernels("[]"), BAD),
    ("unknown kernel", _kernels('["9.9"]'), BAD),
    ("kernel of a file", _kernels('["/nothing/evil.py:K"]'), BAD),
    ("escape as kernel", _kernels('["\\u001b[31mX"]'), BAD),
    ("escapes in the title", _titled('"\\u001b]0;owned\\u0007\\u001b[2J"'), EITHER),
    ("raw escape in the title", _titled('"\x1b[2J"'), BAD),
    ("lines in the title", _titled('"a\\nb\\nc"'), EITHER),
    ("no UTF-8", OK.encode() + b"\xff", BAD), ("NUL", FRONT + "a\0b\n" + BLOCKS, EITHER),
    ("CRLF", OK.replace("\n", "\r\n"), GOOD), ("byte order mark", "\ufeff" + OK, GOOD),
    ("CR", OK.replace("\n", "\r"), EITHER),
)  # fmt: skip
_BODIES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("no blocks", "prose\n", EITHER),
    ("open fence", "```mm\nmmap A R 64K\n", BAD),
    ("expect first", "```expect\nret = 0\n```\n", BAD),
    ("nested fence", "````mm\n```\nmmap A R 64K\n````\n", BAD),
    ("tildes", "~~~mm\nmmap A R 64K\n~~~\n", GOOD),
    ("a fence of a million", f"{'`' * 1_000_000}mm\nmmap A R 64K\n{'`' * 1_000_000}\n", EITHER),
    ("250,000 kernels of a block", f"```mm {'7.2 ' * 250_000}\nmmap A R 64K\n```\n", EITHER),
    ("blanks in a fence", f"```{' ' * 200_000}x{' ' * 200_000}y\n```\n{BLOCKS}", EITHER),
    ("a million lines of prose", "word\n" * 1_000_000 + BLOCKS, GOOD),
    ("a line of a million", "w " * 500_000 + "\n" + BLOCKS, GOOD),
    ("100,000 blocks", "```mm\nquiet\n```\n" * 100_000, EITHER),
    ("10 MB of story", ("para " * 20 + "\n\n") * 100_000 + BLOCKS, GOOD),
)
_EXPECTED = (
    "(" * 100_000, "(" * 3000 + "1" + ")" * 3000 + " = 1", "\x00\x01", "\x1b[2Jret = 0",
    "ret = " + "9" * 100_000, "A.R[99999999999999999999] present", "", "ret = " * 10_000 + "0",
    "not " * 100_000 + "ret = 0", "\u202eret = 0", "\tret = 0", "A.R 0-68719476736 present",
    "F999999 refcount = 1", "refcount = " + "1 " * 100_000, "F1 exclusive = {0-68719476736}",
    "F1 mapcount 0-68719476735 = 1", "A R 0-99999999 = F1", "F1 mapcount = 0-99999999999:1",
    "A R 0 16 : F1.0-15", "pte A R 0-9999999999 present", "rule I-05 broken 99999999999999999999",
)  # fmt: skip


def presets() -> Iterator[Input]:
    """Preset documents with something wrong or large in each of their parts."""
    for label, text, allowed in _FRONTS:
        data = text if isinstance(text, bytes) else text.encode()
        yield Input(f"preset {label}", ("run", "a.md"), allowed, "a.md", data)
    for label, body, allowed in _BODIES:
        data = (FRONT + body).encode()
        work = body.count("```mm") / 2000  # seconds: each is an action
        yield Input(f"preset {label}", ("run", "a.md"), allowed, "a.md", data, seconds=work)
    for line in _EXPECTED:
        body = f"```mm\nmmap A R 64K\ntouch A R 0 16 w\n```\n```expect\n{line}\n```\n"
        data = (FRONT + body).encode()
        yield Input(f"expect {line[:24]!r}", ("check", "a.md"), CHECKED, "a.md", data)


# -- recordings ----------------------------------------------------------------------------

_WRONG: tuple[Any, ...] = (
    None, -1, "x", [], {}, [None], [1], [[]], [{}], 10**400, 1e308, True, {"a": None},
    {"a": {"b": {}}},
)  # fmt: skip
_NO_JSON: tuple[tuple[str, str | bytes], ...] = (
    ("empty", ""), ("null", "null"), ("list", "[]"), ("number", "1"), ("text", '"x"'),
    ("nan", "NaN"), ("deep", "[" * 200_000), ("deep, closed", "[" * 50_000 + "]" * 50_000),
    ("deep objects", '{"a":' * 50_000 + "1" + "}" * 50_000), ("BOM", "\ufeff{}"),
    ("no UTF-8", b'{"a":"\xff"}'), ("NUL", "\0"),
    ("large number", '{"scenario":' + "9" * 10_000 + ',"source":[],"steps":[]}'),
)  # fmt: skip


def recordings(quick: bool = False) -> Iterator[Input]:
    """Recordings that are no JSON, and one good one with each of its values made wrong."""
    path = min((RECORDINGS / "7.2").glob("*.json.xz"))
    good = json.loads(read_packed(str(path), "a recording"))
    yield _recording("good", good, GOOD)
    for label, text in _NO_JSON:
        yield _recording(label, text, BAD)
    yield _recording("truncated", json.dumps(good)[:2000], BAD)
    yield _recording("two objects", json.dumps(good) * 2, BAD)
    last = len(good["steps"]) - 1
    places: list[tuple[Any, ...]] = [(key,) for key in good]
    places += [("steps", last, key) for key in good["steps"][last]]
    yield from _mutations(good, places[:: 3 if quick else 1])
    random = Random(5)
    inner = [place for place in _places(good["steps"][last]) if len(place) > 1]
    for _ in range(30 if quick else 150):
        place = ("steps", last, *random.choice(inner))
        value = random.choice((*_WRONG, "\x1b[31m", ""))
        yield _recording(f"{place}={value!r:.20}", _changed(good, place, value), CHECKED)
    for line in ("nonsense \x1b[31m", "write Q R 0 1", "mmap A R 64K\nfork A B", ""):
        yield _recording(f"action {line!r}", _changed(good, ("source", 0), line), CHECKED)


def _recording(label: str, what: object, allowed: tuple[int, ...]) -> Input:
    text = what if isinstance(what, str | bytes) else json.dumps(what)
    data = text if isinstance(text, bytes) else text.encode()

    def make(folder: Path) -> None:
        (folder / "7.2").mkdir()
        (folder / "7.2" / "x.json").write_bytes(data)

    return Input(f"recording {label}", ("conform", "7.2/x.json"), allowed, make=make, seconds=4)


def _mutations(good: dict[str, Any], places: list[tuple[Any, ...]]) -> Iterator[Input]:
    for place in places:
        for value in _WRONG:
            yield _recording(f"{place}={value!r:.20}", _changed(good, place, value), CHECKED)
        without = copy.deepcopy(good)
        holder: Any = without
        for key in place[:-1]:
            holder = holder[key]
        del holder[place[-1]]
        yield _recording(f"no {place}", without, CHECKED)


def _changed(good: dict[str, Any], place: tuple[Any, ...], value: object) -> dict[str, Any]:
    """A copy with another value at a place."""
    other = copy.deepcopy(good)
    holder: Any = other
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return other


def _places(value: object, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places in a value, some of each list and object."""
    yield place
    if isinstance(value, dict):
        for key in list(value)[:6]:
            yield from _places(value[key], (*place, key))
    elif isinstance(value, list):
        for number in range(min(2, len(value))):
            yield from _places(value[number], (*place, number))


# -- code ----------------------------------------------------------------------------------

EVIL = """\
open("EXECUTED", "a").write(__name__)
from sandbox.kernels.linux_6_9 import Linux69
class K(Linux69):
    id = "k"
"""
_NAMING = {
    "first.md": _kernels('["evil.py:K"]'),
    "second.md": _kernels('["7.2", "evil.py:K"]'),
    "block.md": FRONT + BLOCKS.replace("```mm", "```mm evil.py:K"),
    "header.scn": "# mmtui x --kernel evil.py:K\nscenario x\nmmap A R 64K\nend\n",
}
_WAYS = (
    ("run", "{}"), ("proc", "{}", "smaps"), ("check", "{}"), ("check", "{}", "--kernel", "7.2"),
)  # fmt: skip


def try_code(report: Report, folder: Path) -> None:
    """Neither a command nor the application executes code because a document names it."""
    home = Home(folder)
    (home.path / "evil.py").write_text(EVIL)
    (home.path / "plain.scn").write_text(NOTHING)
    for name, text in _NAMING.items():
        (home.path / name).write_text(text)
        for way in _WAYS:
            run_limited(home, [word.format(name) for word in way])
            _judge_code(report, home, " ".join(way).format(name), text)
        for typed in (True, False):
            _open(home, name, typed=typed)
            _judge_code(report, home, f":open {name}" if typed else f"mmtui {name}", text)


def _open(home: Home, name: str, *, typed: bool) -> None:
    """Open a document in the application, and do some of it."""
    with Terminal(home, "plain.scn" if typed else name) as terminal:
        if typed:
            terminal.ready()
            terminal.line(f"open {name}")
        terminal.wait(lambda: terminal.standing is not None or not terminal.alive())
        terminal.send(b"nn")
        terminal.settle(0.3, 5)


def _judge_code(report: Report, home: Home, label: str, text: str) -> None:
    report.tried += 1
    executed = home.path / "EXECUTED"
    report.expect(not executed.exists(), "executed", label, text)
    executed.unlink(missing_ok=True)
