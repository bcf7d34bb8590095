"""The hostile inputs: how each is made, the command line that meets it, and what may come of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Case", "corpus"]

FRONT = '+++\ntitle = "t"\nkernels = ["7.2"]\ntags = []\nsummary = "s"\n+++\n'
BLOCK = "```mm\nmmap A R 64K\n```\n"
FINE = FRONT + BLOCK + "```expect\nret = 0\n```\n"
SCENARIO = "scenario x\n{}\nend\n"
OWNED = "\x1b]0;OWNED\x07\x9b31m\x7f\u202e\u2066\u200f\u061c"
"""Characters of every kind that a terminal would act upon."""


class Case(NamedTuple):
    """One input and the command line that meets it."""

    label: str
    arguments: list[str]
    statuses: tuple[int, ...]
    path: Path | None = None
    """The file to be made for it."""
    data: str | bytes = ""


def corpus(folder: Path) -> Iterator[Case]:
    """Yield every case; a file that is not made by whoever runs it is there when it is reached."""
    yield from _scenarios(folder)
    yield from _documents(folder)
    yield from _expectations(folder)
    yield from _special(folder)
    yield from _names(folder)


def _put(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def _scenarios(folder: Path) -> Iterator[Case]:
    mmap = "mmap A R 64K\n"
    both = f"{mmap}cpu0: touch A R 0 16 w\ncpu1: read A R 0 1\n"
    bodies: dict[str, tuple[str | bytes, tuple[int, ...]]] = {
        "nothing": ("", (2,)),
        "blank lines": ("\n" * 1_000_000, (2,)),
        "comments": ("# c\n" * 500_000, (2,)),
        "too many actions": (SCENARIO.format(mmap + "quiet\n" * 500_000), (2,)),
        "too many actions in many": (
            "".join(f"scenario s{n}\n{'quiet' + chr(10)}end\n" for n in range(100_001)),
            (2,),
        ),
        "a long word": (SCENARIO.format("a" * 1_000_000), (2,)),
        "many words": (SCENARIO.format("write A " + "R " * 490_000), (2,)),
        "too many words": (SCENARIO.format("write A " + "R " * 5_000_000), (2,)),
        "a long name": ("scenario " + "a" * 5_000_000 + "\nend\n", (2,)),
        "a long about": ("scenario x\nabout " + "w " * 400_000 + f"\n{mmap}end\n", (0,)),
        "controls in about": (f"scenario x\nabout {OWNED}\n{mmap}end\n", (0,)),
        "controls in a path": (SCENARIO.format(f"file F 64K /{OWNED}"), (0, 2)),
        "controls in sysfs": (SCENARIO.format(f"sysfs /{OWNED} {OWNED}"), (0, 2)),
        "controls in a verb": (SCENARIO.format(f"{OWNED} A B"), (2,)),
        "controls in a process": (SCENARIO.format(f"mmap A{OWNED} R 64K"), (2,)),
        "nul": (SCENARIO.format("mmap A R\0 64K"), (2,)),
        "no utf-8": (b"scenario x\n# \xe9\nend\n", (2,)),
        "utf-16": (SCENARIO.format(mmap).encode("utf-16"), (2,)),
        "a long schedule": (SCENARIO.format(both + "schedule 0x999999999"), (2,)),
        "many schedules": (SCENARIO.format((both + "schedule 0x1000000\n") * 300), (2,)),
        "a schedule of words": (SCENARIO.format(both + "schedule " + "0 1 " * 245_000), (0, 2)),
        "a huge size": (SCENARIO.format("mmap A R " + "9" * 100_000 + "K"), (2,)),
        "many regions": (
            SCENARIO.format("".join(f"mmap A R{n} 64K\n" for n in range(300))),
            (2,),
        ),
        "many processes": (
            SCENARIO.format(mmap + "".join(f"fork A P{n}\n" for n in range(100))),
            (0,),
        ),
        "many scenarios": (
            "".join(f"scenario s{n}\n{mmap}end\n" for n in range(300)),
            (0,),
        ),
    }
    for label, (body, statuses) in bodies.items():
        path = folder / "x.scn"
        yield Case(label, ["run", str(path)], statuses, path, body)


def _documents(folder: Path) -> Iterator[Case]:
    twice = FRONT.replace('"7.2"', '"7.2", "6.9"')
    bodies: dict[str, tuple[str, tuple[int, ...]]] = {
        "blanks behind a fence": (
            FRONT + "```" + " " * 200_000 + "x" + " " * 200_000 + "y\n",
            (2,),
        ),
        "a line of marks": (FRONT + "`" * 1_000_000 + "mm\n" + "`" * 1_000_000 + "\n", (0,)),
        "many kernels of a block": (FRONT + "```mm " + "7.2 " * 250_000 + f"\n{BLOCK[6:]}", (0,)),
        "kernels of both kinds": (twice + "```mm " + "7.2 !6.9 " * 100_000 + "\n```\n", (2,)),
        "many blocks": (FRONT + "```mm\nquiet\n```\n" * 100_001, (2,)),
        "many blocks of expectations": (
            FRONT + BLOCK + "```expect\nret = 0\n```\n" * 20_000,
            (0,),
        ),
        "much prose between": (FRONT + BLOCK + "words\n```expect\nret = 0\n```\n" * 20_000, (0,)),
        "long prose": (FRONT + ("para " * 20 + "\n\n") * 50_000 + BLOCK, (0,)),
        "one long line": (FRONT + "w " * 500_000 + "\n" + BLOCK, (0,)),
        "deep lists": (FRONT.replace('"t"', "[" * 900 + "]" * 900), (2,)),
        "very deep lists": (FRONT.replace('"t"', "[" * 1_900), (2,)),
        "deep tables": ("+++\n[" + ".".join(["a"] * 900) + "]\n+++\n", (2,)),
        "many deep tables": ("+++\n" + f"[{'.'.join(['a'] * 900)}.b]\n" * 900 + "+++\n", (2,)),
        "many dotted keys": (
            "+++\n" + "".join(f"{'.'.join([f'a{n}'] * 400)} = 1\n" for n in range(900)) + "+++\n",
            (2,),
        ),
        "a long line before": ("+++\n" + "a" * 1_000_000 + "\n+++\n", (2,)),
        "many mails": (
            "+++\n" + "".join("[[mails]]\n" for _ in range(100_000)) + "+++\n",
            (2,),
        ),
        "a huge number": (FRONT.replace("tags", "number = 0x" + "f" * 1_800 + "\ntags"), (2,)),
        "many digits": (FRONT.replace("tags", "number = " + "9" * 1_900 + "\ntags"), (2,)),
        "controls in a title": (
            FINE.replace('"t"', '"\\u001b]0;OWNED\\u0007\\u009b\\u202e"'),
            (0,),
        ),
        "controls in a kernel": (FINE.replace('"7.2"', '"\\u001b[31mX"'), (2,)),
        "an unknown kernel": (FINE.replace('"7.2"', '"9.9"'), (2,)),
        "a long kernel": (FINE.replace('"7.2"', '"' + "k" * 1_900 + '"'), (2,)),
        "controls in a key": (FRONT.replace("tags", '"\\u001b[31mtags"'), (2,)),
        "a nul": (FRONT + "a\0b\n" + BLOCK, (0,)),
    }
    for label, (body, statuses) in bodies.items():
        path = folder / "x.md"
        command = "check" if "expect" in body else "run"
        yield Case(label, [command, str(path)], statuses, path, body)


def _expectations(folder: Path) -> Iterator[Case]:
    lines: dict[str, tuple[str, tuple[int, ...]]] = {
        "parentheses": ("(" * 100_000, (2,)),
        "many minuses": ("refcount = " + "-" * 100_000 + "1", (2,)),
        "many comparisons": ("ret = " * 10_000 + "0", (2,)),
        "many digits": ("ret = " + "9" * 100_000, (2,)),
        "a hexadecimal of many digits": ("ret = 0x" + "f" * 100_000, (2,)),
        "a long line": ("ret = " * 500_000 + "0", (2,)),
        "pages beyond": ("A.R 0-68719476736 present = 1", (1,)),
        "many pages listed": ("pages 0-262143 mapcount = 1\n" * 2_000, (1,)),
        "pages listed often": ("pages " + "0-511," * 50_000 + "0 mapcount = 1", (1,)),
        "many pages in sets": ("exclusive = {0-262143}\n" * 2_000, (1,)),
        "a path of dots": ("A." + "a." * 100_000 + "a = 1", (2,)),
        "many slots": ("slots " + "A:1 " * 100_000, (2,)),
        "controls": (f"{OWNED} = 1", (2,)),
        "controls in a text": (f'error "{OWNED}"', (1,)),
        "many lines": ("ret = 0\n" * 150_000, (2,)),
        "none": ("# nothing\n", (1,)),
    }
    for label, (line, statuses) in lines.items():
        body = FRONT + "```mm\nmmap A R 64K\ntouch A R 0 16 w\n```\n```expect\n" + line + "\n```\n"
        path = folder / "x.md"
        yield Case(f"expect {label}", ["check", str(path)], statuses, path, body)


def _special(folder: Path) -> Iterator[Case]:
    """What is no file at all."""
    fifo, loop = folder / "fifo", folder / "loop.md"
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    (folder / "folder.md").mkdir()
    large = folder / "large.scn"
    large.touch()
    os.truncate(large, 1 << 40)  # no block of it is on the disk
    places = [str(place) for place in (fifo, loop, folder / "folder.md", folder, large)]
    places += ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/full", "/dev/tty", "/dev/stdin"]
    places += ["/proc/self/mem", "/proc/self/pagemap", "/proc/self/environ", "/proc", "/dev/fd/77"]
    for place in places:
        yield Case(f"run {place}", ["run", place], (2,))
        yield Case(f"check {place}", ["check", place], (2,))
        yield Case(f"kernel {place}", ["run", "1", "-k", f"{place}:K"], (2,))
        if place != str(folder):
            yield Case(f"conform {place}", ["conform", place], (1, 2))


def _names(folder: Path) -> Iterator[Case]:
    """Names that are none, or that a terminal would act upon."""
    fine = _put(folder, "fine.scn", SCENARIO.format("mmap A R 64K"))
    names = ["x" * 5_000, "x" * 5_000 + ".md", "/".join(["d" * 200] * 25) + "/f", "", " ", "a\nb"]
    names += [OWNED, OWNED + ".md", OWNED + "/x", "\udcff\udcfe", "9" * 40_000, "-", "²"]
    places: list[Callable[[str], list[str]]] = [
        lambda name: ["run", "--", name],
        lambda name: ["check", "--", name],
        lambda name: ["conform", "--", name],
        lambda name: ["run", "1", f"--kernel={name}"],
        lambda name: ["run", "1", f"--kernel={name}.py:{name}"],
        lambda name: ["run", str(fine), f"--scenario={name}"],
        lambda name: ["proc", str(fine), "smaps", f"--process={name}"],
        lambda name: ["proc", str(fine), "smaps", f"--step={name}"],
        lambda name: ["proc", str(fine), f"x{name}"],
        lambda name: ["rules", f"x{name}"],
        lambda name: [f"--{name}"],
        lambda name: [f"x{name}"],
    ]
    for number, name in enumerate(names):
        for at, place in enumerate(places):
            arguments = place(name)
            if "\0" in "".join(arguments):
                continue
            yield Case(f"name {number} at {at}", arguments, (2,))
    owned = _put(folder, f"{OWNED}.scn", SCENARIO.format("mmap A R 64K"))
    broken = _put(folder, f"{OWNED}broken.scn", "bad\n")
    kernel = _put(folder, "k.py", f"id = {OWNED!r}\nraise ValueError(id * 1000)\n")
    yield Case("a name that is fine", ["run", str(owned)], (0,))
    yield Case("a name that is fine, json", ["run", "--json", str(owned)], (0,))
    yield Case("a name that is fine, proc", ["proc", str(owned), "smaps"], (0,))
    yield Case("a name of what is broken", ["run", str(broken)], (2,))
    yield Case("a kernel with controls", ["run", "1", "-k", f"{kernel}:K"], (2,))
