"""The verbs of the scenario language, each declared once in the table `VERBS`.

The parser, the formatter, completion and the help texts all read this table, so
a verb that is declared here is known everywhere, and one that is not is known
nowhere.  What a verb *does* is the business of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum, StrEnum
from typing import Any, NamedTuple

__all__ = ["MAX_PAGES", "VERBS", "Group", "Kind", "Param", "Refused", "Style", "Verb"]

MAX_PAGES = 1 << 36
"""Pages of 4K in the 48-bit address space of arm64: no size or page number is larger."""

_MAX_NUMBER = 1 << 31
_PAGES_OF_UNIT = {"G": 1 << 18, "M": 1 << 8}


class Refused(ValueError):
    """A word is not what the parameter takes; the text says why, without a place."""


class Group(StrEnum):
    """Who can carry a verb out."""

    KERNEL = "kernel"
    """A real kernel can be asked to do it, and the model does it too."""
    LABORATORY = "laboratory"
    """Only the model can: no system call asks for it."""
    RIG = "rig"
    """Only the recording rig needs it; the model accepts it and does nothing."""


class Style(Enum):
    """How a parameter is written on the line."""

    POSITIONAL = "positional"
    OPTIONAL = "optional"
    KEYWORD = "keyword"
    FLAG = "flag"


class Kind(NamedTuple):
    """What a word may be, how it is read, and how a value is written back."""

    label: str
    """How usage lines show the word, e.g. `SIZE`."""
    expected: str
    """A noun phrase for errors, e.g. `a size such as 64K, 2M, 1G or 4p`."""
    read: Callable[[str], int | str]
    """Turns a word into the value; raises `Refused`."""
    show: Callable[[Any], str] = str
    role: str = ""
    """What completion offers: `proc`, `region`, `new proc`, `new region` or nothing."""
    choices: tuple[str, ...] = ()


class Param(NamedTuple):
    """One parameter of a verb; `name` is the key in the arguments of an action."""

    name: str
    kind: Kind
    style: Style = Style.POSITIONAL
    default: int | str | None = None
    """The value when an optional parameter is not written."""

    @property
    def usage(self) -> str:
        """The parameter as a usage line shows it."""
        if self.style is Style.KEYWORD:
            return f"[{self.name}={self.kind.label}]"
        if self.style is Style.FLAG:
            return f"[{self.name}]"
        return f"[{self.kind.label}]" if self.style is Style.OPTIONAL else self.kind.label


class Verb(NamedTuple):
    """One verb: its name, its parameters in order, and one line of meaning."""

    name: str
    group: Group
    meaning: str
    params: tuple[Param, ...] = ()

    @property
    def usage(self) -> str:
        """The line as one would write it, e.g. `fork P C`."""
        return " ".join([self.name, *(param.usage for param in self.params)])


def _matching(pattern: str, why: str) -> Callable[[str], str]:
    """Return a reader that takes words of one pattern as they are."""
    compiled = re.compile(pattern)

    def read(word: str) -> str:
        if not compiled.fullmatch(word):
            raise Refused(why)
        return word

    return read


def _number(limit: int) -> Callable[[str], int]:
    """Return a reader of decimal numbers from 0 to `limit`."""

    def read(word: str) -> int:
        if not re.fullmatch(r"[0-9]+", word):
            raise Refused("not a number")
        # The length is tested first: int() itself refuses very long digits.
        if len(word) > 18 or int(word) > limit:
            raise Refused(f"too large, the limit is {limit}")
        return int(word)

    return read


def _read_size(word: str) -> int:
    """Return the pages of 4K in a size word."""
    match = re.fullmatch(r"([0-9]{1,15})([KMGp])", word)
    if match is None:
        raise Refused("not a size")
    number, unit = int(match[1]), match[2]
    if unit == "K" and number % 4:
        raise Refused("not a whole number of 4K pages")
    pages = number // 4 if unit == "K" else number * _PAGES_OF_UNIT.get(unit, 1)
    if not 0 < pages <= MAX_PAGES:
        raise Refused("empty" if pages == 0 else "larger than the address space")
    return pages


def _show_size(pages: int) -> str:
    """Write pages in the largest unit that needs no fraction, odd counts as pages."""
    for unit, each in _PAGES_OF_UNIT.items():
        if pages % each == 0:
            return f"{pages // each}{unit}"
    return f"{pages}p" if pages % 4 else f"{pages * 4}K"


def _read_pin_flags(word: str) -> str:
    """Return the letters in the order w, l, f; `-` is none."""
    if word == "-":
        return ""
    if len(word) > 3 or not re.fullmatch(r"[wlf]+", word) or len(set(word)) != len(word):
        raise Refused("not a set of flags")
    return "".join(letter for letter in "wlf" if letter in word)


def _choice(label: str, *choices: str) -> Kind:
    """Return a kind that takes one of a few words."""

    def read(word: str) -> str:
        if word not in choices:
            raise Refused("not one of the choices")
        return word

    return Kind(label, " or ".join(choices), read, choices=choices)


_upper_word = _matching(r"[A-Z][A-Z0-9_]*", "not an upper-case word")

PROC = Kind("P", "a process, an upper-case word such as A", _upper_word, role="proc")
CHILD = Kind("C", "a name for the child, such as B", _upper_word, role="new proc")
REGION = Kind("R", "a region, an upper-case word such as R", _upper_word, role="region")
NEW_REGION = Kind("R", REGION.expected, _upper_word, role="new region")
TO_REGION = Kind("Q", "the region to move to, such as Q", _upper_word, role="region")
OTHER = Kind("O", PROC.expected, _upper_word, role="proc")
OTHER_REGION = Kind("Q", REGION.expected, _upper_word, role="region")
FILE = Kind("F", "a file object, an upper-case word such as F", _upper_word)
SIZE = Kind("SIZE", "a size in whole pages, such as 64K, 2M, 1G or 4p", _read_size, _show_size)
CHUNK = Kind("CHUNK", SIZE.expected, _read_size, _show_size)
PAGE = Kind("PAGE", "a page number of the region, from 0", _number(MAX_PAGES))
FIRST = Kind("a", "the first page of the range, from 0", _number(MAX_PAGES))
AFTER = Kind("b", "the page after the last one of the range", _number(MAX_PAGES))
COUNT = Kind("N", "a number", _number(_MAX_NUMBER))
ORDER = Kind("ORDER", "a folio order, 0 to 20", _number(20))
MILLISECONDS = Kind("MS", "milliseconds", _number(_MAX_NUMBER))
PIN_ID = Kind(
    "ID",
    "an id for the pin, such as 1",
    _matching(r"[A-Za-z0-9_]{1,32}", "not an id of letters and digits"),
)
PIN_FLAGS = Kind(
    "FLAGS",
    "flags: w (FOLL_WRITE), l (FOLL_LONGTERM), f (FOLL_FORCE) together, or - for none",
    _read_pin_flags,
    lambda letters: letters or "-",
    choices=("w", "wl", "l", "-"),
)
WORD = Kind("PATH", "a path", str)
VALUE = Kind("VALUE", "a value", str)
SWITCH = _choice("on|off", "on", "off")
UFFD = _choice("async|sigbus|off", "async", "sigbus", "off")
PROT = _choice("r|rw|-", "r", "rw", "-")
ACCESS = _choice("w|r", "w", "r")
MTHP_MODE = _choice("madvise|never|always|inherit", "madvise", "never", "always", "inherit")
SHMEM_MODE = _choice("always|never", "always", "never")
_SET = Kind("", "", lambda _: True)

_RANGE = (
    Param("proc", PROC),
    Param("region", REGION),
    Param("start", FIRST),
    Param("end", AFTER),
)
_HOLD = (*_RANGE, Param("id", PIN_ID), Param("flags", PIN_FLAGS))


def _option(name: str, kind: Kind, default: int | None = None) -> Param:
    return Param(name, kind, Style.KEYWORD, default)


def _flag(name: str) -> Param:
    return Param(name, _SET, Style.FLAG, default=False)


_MMAP = (
    Param("proc", PROC),
    Param("region", NEW_REGION),
    Param("size", SIZE),
    _option("at", PAGE, 0),
    _flag("ro"),
    _flag("shared"),
    _option("fd", FILE),
    _option("pgoff", PAGE, 0),
    _flag("nohuge"),
    _flag("nomadv"),
)


_MADVISE = {
    "dontneed": "MADV_DONTNEED: drop the pages of the range now",
    "free": "MADV_FREE: let reclaim drop the pages unless written again",
    "cold": "MADV_COLD: move the pages to the inactive list",
    "pageout": "MADV_PAGEOUT: reclaim the pages now",
    "populate_read": "MADV_POPULATE_READ: fault the range in for reading",
    "populate_write": "MADV_POPULATE_WRITE: fault the range in for writing",
    "collapse": "MADV_COLLAPSE: collapse the range into a huge page",
    "dontfork": "MADV_DONTFORK: children do not get the range",
    "dofork": "MADV_DOFORK: children get the range again",
    "wipeonfork": "MADV_WIPEONFORK: children get the range empty",
    "remove": "MADV_REMOVE: punch a hole in the backing file",
    "softoffline": "MADV_SOFT_OFFLINE: migrate the pages away",
}


def _kernel(name: str, meaning: str, *params: Param) -> Verb:
    return Verb(name, Group.KERNEL, meaning, params)


_ONE_PROC, _NAMED, _SIZED = Param("proc", PROC), Param("name", FILE), Param("size", SIZE)
_SWITCHED = Param("mode", SWITCH)


def _setting_verbs() -> Iterable[Verb]:
    """Yield what sets the scene: folio sizes, swap, mappings and files."""
    yield _kernel(
        "mthp", "allow or forbid anonymous folios of a size", _SIZED, Param("mode", MTHP_MODE)
    )
    yield _kernel(
        "shmem", "allow or forbid shmem folios of a size", _SIZED, Param("mode", SHMEM_MODE)
    )
    yield _kernel("swap", "switch a swap device on or off", _SWITCHED)
    yield _kernel("mmap", "map private anonymous memory, with MADV_HUGEPAGE", *_MMAP)
    yield _kernel("memfd", "make a memfd to map with fd=F", _NAMED, _SIZED)
    path, chunk = Param("path", WORD), Param("chunk", CHUNK, Style.OPTIONAL)
    yield _kernel("file", "make a file to map with fd=F", _NAMED, _SIZED, path, chunk)
    yield _kernel("fsync", "write a file's dirty pages back", _NAMED)
    yield _kernel("dropcache", "drop the clean page cache")


def _process_verbs() -> Iterable[Verb]:
    """Yield how processes use their memory, and how they come and go."""
    yield _kernel("touch", "write or read each page in order", *_RANGE, Param("mode", ACCESS))
    yield _kernel("write", "store the step's number in each page", *_RANGE)
    yield _kernel("read", "read each page and report what it holds", *_RANGE)
    yield _kernel("poke", "write through /proc/PID/mem (FOLL_FORCE)", *_RANGE)
    yield _kernel("fork", "fork a process", _ONE_PROC, Param("child", CHILD))
    yield _kernel("exit", "let a process exit", _ONE_PROC)
    yield _kernel("kill", "kill a process", _ONE_PROC)
    yield _kernel("proc", "start a process", Param("proc", CHILD))


def _range_verbs() -> Iterable[Verb]:
    """Yield what changes a range of a mapping."""
    for advice, meaning in _MADVISE.items():
        yield _kernel(advice, meaning, *_RANGE)
    yield _kernel("munmap", "unmap the range", *_RANGE)
    yield _kernel("mlock", "lock the range in memory", *_RANGE)
    yield _kernel("munlock", "unlock the range", *_RANGE)
    yield _kernel("mprotect", "change the protection of the range", *_RANGE, Param("prot", PROT))
    target = (Param("to_region", TO_REGION), Param("to_page", PAGE), _flag("dontunmap"))
    yield _kernel("mremap", "move the range to a page of a region", *_RANGE, *target)


def _pin_verbs() -> Iterable[Verb]:
    """Yield pins, and what the kernel does behind a process's back."""
    yield _kernel("pin", "pin_user_pages_fast() the range, kept under ID", *_HOLD)
    yield _kernel("get", "get_user_pages_fast() the range, kept under ID", *_HOLD)
    yield _kernel("repeat", "hold page a, (b - a) times, kept under ID", *_HOLD)
    yield _kernel("unpin", "give back what is kept under ID", Param("id", PIN_ID))
    yield _kernel("uring", "register the range as an io_uring buffer", *_RANGE)
    yield _kernel("unuring", "give the io_uring buffer back", _ONE_PROC)
    meaning = "let a device have the pages to itself (lazyfree-batch and its like)"
    yield _kernel("exclusive", meaning, *_RANGE)
    meaning = "write to a node's reclaim file: shared pages, too (lazyfree-batch and its like)"
    yield _kernel("reclaim", meaning, *_RANGE)
    order = Param("order", ORDER, Style.OPTIONAL, 0)
    yield _kernel("split", "split the folios of the range through debugfs", *_RANGE, order)
    value = Param("value", COUNT)
    yield _kernel("clearrefs", "write N to /proc/PID/clear_refs", _ONE_PROC, value)
    yield _kernel("drain", "drain the LRU batches of every CPU")
    yield _kernel("autodrain", "drain before each recorded state, or not", _SWITCHED)
    yield _kernel("reuse", "allocate frames freed from here on again, or not", _SWITCHED)


def _service_verbs() -> Iterable[Verb]:
    """Yield KSM, userfaultfd and exec."""
    other = (
        Param("with_proc", OTHER),
        Param("with_region", OTHER_REGION),
        Param("with_page", PAGE),
    )
    meaning = "let KSM merge the range with the pages from PAGE on of another"
    yield Verb("ksm", Group.LABORATORY, meaning, (*_RANGE, *other))
    yield _kernel("unmerge", "MADV_UNMERGEABLE: break KSM pages of the range", *_RANGE)
    yield _kernel(
        "uffd", "register the range for userfaultfd write-protection", *_RANGE, Param("mode", UFFD)
    )
    yield _kernel("uffdwp", "write-protect the range, or resolve it", *_RANGE, _SWITCHED)
    yield _kernel("uffdcopy", "fill the empty range (UFFDIO_COPY)", *_RANGE, _flag("wp"))
    target = (Param("to_region", TO_REGION), Param("to_page", PAGE))
    yield _kernel("uffdmove", "move the range's pages (UFFDIO_MOVE)", *_RANGE, *target)
    stack = Param("region", NEW_REGION)
    yield _kernel("exec", "replace the process's memory; R is its new stack", _ONE_PROC, stack)


def _other_verbs() -> Iterable[Verb]:
    """Yield the laboratory's verbs and those that only the rig obeys."""
    lab, rig = Group.LABORATORY, Group.RIG
    meaning = "let a device write or read each page through the page tables (6.15-smmu, 7.2-smmu)"
    yield Verb("device", lab, meaning, (*_RANGE, Param("mode", ACCESS)))
    yield Verb("fold", lab, "ask the contpte layer to set CONT on the blocks", _RANGE)
    yield Verb("unfold", lab, "ask the contpte layer to clear CONT on the blocks", _RANGE)
    yield Verb("sleep", rig, "wait", (Param("ms", MILLISECONDS),))
    yield Verb("quiet", rig, "stop printing on the rig's console")
    yield Verb("loud", rig, "print on the rig's console again")
    sysfs = (Param("path", WORD), Param("value", VALUE))
    yield Verb("sysfs", rig, "write a value to a sysfs file", sysfs)


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verbs in (
        _setting_verbs,
        _process_verbs,
        _range_verbs,
        _pin_verbs,
        _service_verbs,
        _other_verbs,
    )
    for verb in verbs()
}
"""Every verb by its name, in the order in which help shows them."""
