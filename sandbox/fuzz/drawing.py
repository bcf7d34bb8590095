"""Drawing one action of a verb: a line that fits what is mapped, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.fuzz.chance import Chance
from sandbox.fuzz.world import MAX_FILES, MAX_PROCESSES, REGIONS, Page, Span

if TYPE_CHECKING:
    from sandbox.fuzz.families import Family

__all__ = ["DRAWERS", "Draw"]

SIZES = ("16K", "32K", "64K", "128K", "256K", "512K", "1M", "2M")
SIZE_WEIGHTS = (6, 3, 6, 3, 2, 1, 1, 3)
HELD = 40
"""Ids of holds of a scenario."""
BUFFER = 64
"""Most pages of what is held by one action."""

Drawer = Callable[["Draw"], list[str]]


class Draw(Chance):
    """Draws actions, and keeps the world up to date."""

    def __init__(self, seed: str, family: Family) -> None:
        super().__init__(seed, family)
        self.numbers = 0

    def name(self, prefix: str) -> str:
        """A name that nothing has yet."""
        self.numbers += 1
        return f"{prefix}{self.numbers}"

    def flags(self, *, longterm: bool) -> str:
        """Flags of a hold."""
        often = (8, 6, 1, 1, 4 * longterm, 2 * longterm)
        (flags,) = self.random.choices(("w", "-", "wf", "f", "wl", "l"), often)
        return flags

    def ends(self, proc: str) -> list[str]:
        """What must be done before a process ends: when the pins of a ring go is not certain."""
        found = [owner for owner, sharing in self.world.rings.items() if proc in sharing]
        for owner in found:
            del self.world.rings[owner]
        return [f"unuring {owner}" for owner in found]

    def fresh_process(self) -> str | None:
        """A name for one more process."""
        if len(self.world.born) == MAX_PROCESSES:
            return None
        return "ABCDEFGHIJ"[len(self.world.born)]


def _mmap(d: Draw) -> list[str]:
    proc = d.process()
    if proc is None or (d.flip(0.12) and len(d.world.spaces) < 3):
        proc = d.fresh_process() or proc
    if proc is None:
        return []
    region = d.random.choice(REGIONS[: d.random.randint(1, len(REGIONS))])
    size, at = d.size(), d.place()
    taken = d.world.spaces.get(proc, {}).get(region, {})
    span = Span(proc, region, at, at + size)
    over = any(page in taken for page in range(span.start, span.end))
    if over and not d.flip(0.03):
        return []
    page, offset, words = _kind(d, size)
    if not over:  # else it is -EEXIST
        d.world.map(span, page, offset)
    return [" ".join([f"mmap {proc} {region} {size}p", *([f"at={at}"] if at else []), *words])]


def _kind(d: Draw, size: int) -> tuple[Page, int, list[str]]:
    """What kind of mapping it is: its pages, where in its file it begins, and the words for it."""
    page, offset, words = Page(d.world.number()), 0, list[str]()
    kind = d.random.random()
    if d.world.files and kind < 0.5:
        name = d.random.choice(list(d.world.files))
        room = d.world.files[name] - size
        if room >= 0 or d.flip(d.family.deaths):
            offset = d.random.randint(0, max(room, 0)) if d.flip(0.4) else 0
            page = page._replace(source=name, shared=d.flip(0.55))
            words += [*(["shared"] if page.shared else []), f"fd={name}"]
            words += [f"pgoff={offset}"] if offset else []
    elif kind > 0.85:
        page = page._replace(source="anon", shared=True)
        words.append("shared")
    if d.flip(0.1):
        page = page._replace(prot="r")
        words.insert(0, "ro")
    if d.flip(0.12):
        words.append(d.random.choice(("nohuge", "nomadv")))
    return page, offset, words


def _memfd(d: Draw) -> list[str]:
    if len(d.world.files) == MAX_FILES:
        return []
    name, size = d.name("F"), d.size()
    d.world.files[name] = size
    return [f"memfd {name} {size}p"]


def _file(d: Draw) -> list[str]:
    if len(d.world.files) == MAX_FILES:
        return []
    name, size = d.name("F"), d.size()
    path = f"/{d.random.choice('tx')}/{name.lower()}"
    d.world.files[name] = size
    chunks = [chunk for chunk in (1, 4, 16) if size % chunk == 0 and chunk < size]
    chunk = f" {d.random.choice(chunks)}p" if chunks and d.flip(0.6) else ""
    return [f"file {name} {size}p {path}{chunk}"]


def _fsync(d: Draw) -> list[str]:
    return [f"fsync {d.random.choice(list(d.world.files))}"] if d.world.files else []


def _mthp(d: Draw) -> list[str]:
    (size,) = d.random.choices(SIZES, SIZE_WEIGHTS)
    return [f"mthp {size} {'never' if d.flip(0.15) else 'madvise'}"]


def _shmem(d: Draw) -> list[str]:
    (size,) = d.random.choices(SIZES, SIZE_WEIGHTS)
    return [f"shmem {size} {'never' if d.flip(0.15) else 'always'}"]


def _swap(d: Draw) -> list[str]:
    d.world.swap = not d.world.swap
    return [f"swap {'on' if d.world.swap else 'off'}"]


def _autodrain(d: Draw) -> list[str]:
    d.world.drained = not d.world.drained
    return [f"autodrain {'on' if d.world.drained else 'off'}"]


def _access(verb: str, write: bool, mode: str = "") -> Drawer:
    def draw(d: Draw) -> list[str]:
        if d.family.deaths and d.flip(d.family.deaths):
            return _death(d, verb, write, mode)
        span = d.span(lambda page: page.allows(write))
        return [f"{verb} {span}{mode}"] if span else []

    return draw


def _death(d: Draw, verb: str, write: bool, mode: str) -> list[str]:
    """An access that ends the process: at a hole, without permission, or behind its file."""
    span = d.span(lambda page: page.kills(write)) if d.flip(0.5) else None
    if span is None:
        span = d.span(lambda page: page.allows(write))
        if span is None:
            return []
        region = d.world.spaces[span.proc][span.region]
        stop = span.end
        while stop in region and region[stop].allows(write):
            stop += 1
        if stop in region and not region[stop].kills(write):
            return []
        span = span._replace(end=stop + 1)
    before = d.ends(span.proc)
    d.world.end(span.proc)
    return [*before, f"{verb} {span}{mode}"]


def _touch(d: Draw) -> list[str]:
    write = d.flip(0.6)
    return _access("touch", write, " w" if write else " r")(d)


def _plain(verb: str) -> Drawer:
    """A verb that changes nothing that the world knows."""

    def draw(d: Draw) -> list[str]:
        span = d.any_span()
        return [f"{verb} {span}"] if span else []

    return draw


def _changing(verb: str, **fields: object) -> Drawer:
    """A verb after which the range may be in VMAs of its own."""

    def draw(d: Draw) -> list[str]:
        span = d.any_span()
        if span is None:
            return []
        d.world.change(span, **fields)
        return [f"{verb} {span}"]

    return draw


def _munmap(d: Draw) -> list[str]:
    span = d.any_span()
    if span is None:
        return []
    d.world.unmap(span)
    return [f"munmap {span}"]


def _mprotect(d: Draw) -> list[str]:
    span = d.any_span()
    if span is None:
        return []
    (prot,) = d.random.choices(("r", "rw", "-"), (4, 6, 1))
    d.world.change_to_hole(span, prot=prot)
    return [f"mprotect {span} {prot}"]


def _mremap(d: Draw) -> list[str]:
    span = d.any_span()
    if span is None:
        return []
    region, page = d.target(span)
    length = span.end - span.start
    if region == span.region and page < span.end and span.start < page + length:
        return []
    keep = d.flip(0.2)
    whole = d.world.one_vma(span)
    if whole and (not keep or d.world.all_of(span, lambda each: each.private)):
        d.world.move(span, region, page, keep=keep)
    else:
        d.world.doubt(span)
        d.world.doubt(Span(span.proc, region, page, page + length))
    return [f"mremap {span} {region} {page}{' dontunmap' if keep else ''}"]


def _fork(d: Draw) -> list[str]:
    proc, child = d.process(), d.fresh_process()
    if proc is None or child is None or len(d.world.spaces) >= 5:
        return []
    d.world.fork(proc, child)
    return [f"fork {proc} {child}"]


def _ending(verb: str) -> Drawer:
    def draw(d: Draw) -> list[str]:
        proc = d.process()
        if proc is None or (len(d.world.spaces) == 1 and not d.flip(0.2)):
            return []
        before = d.ends(proc)
        d.world.end(proc)
        return [*before, f"{verb} {proc}"]

    return draw


def _proc(d: Draw) -> list[str]:
    proc = d.fresh_process()
    if proc is None:
        return []
    d.world.start(proc)
    return [f"proc {proc}"]


def _hold(verb: str) -> Drawer:
    def draw(d: Draw) -> list[str]:
        span = d.any_span()
        if span is None or len(d.world.holds) >= HELD:
            return []
        span = span._replace(end=min(span.end, span.start + BUFFER))
        flags = d.flags(longterm=verb == "pin")  # the kernel warns of a get for the long term
        number = str(len(d.world.holds) + 1)
        certain = d.world.all_of(
            span,
            lambda page: (
                page.allows("w" in flags)
                and not ("l" in flags and page.source)
                and "f" not in flags
            ),
        )
        d.world.holds[number] = certain
        return [f"{verb} {span} {number} {flags}"]

    return draw


def _repeat(d: Draw) -> list[str]:
    span = d.span(lambda page: page.allows(True))
    if span is None or len(d.world.holds) >= HELD:
        return []
    number = str(len(d.world.holds) + 1)
    times = d.random.choice((2, 3, 8, 1024, 1023))
    d.world.holds[number] = True
    flags = d.random.choice(("w", "-"))
    return [f"repeat {span.proc} {span.region} {span.start} {span.start + times} {number} {flags}"]


def _unpin(d: Draw) -> list[str]:
    held = [ident for ident, certain in d.world.holds.items() if certain]
    if not held:
        return []
    ident = d.random.choice(held)
    d.world.holds[ident] = False
    return [f"unpin {ident}"]


def _uring(d: Draw) -> list[str]:
    span = d.span(lambda page: page.allows(True) and page.private)
    if span is None or span.proc in d.world.rings:
        return []
    d.world.rings[span.proc] = {span.proc}
    return [f"uring {span._replace(end=min(span.end, span.start + BUFFER))}"]


def _unuring(d: Draw) -> list[str]:
    owners = list(d.world.rings)
    if not owners:
        return []
    owner = d.random.choice(owners)
    del d.world.rings[owner]
    return [f"unuring {owner}"]


def _poke(d: Draw) -> list[str]:
    span = d.any_span()
    return [f"poke {span}"] if span else []


def _split(d: Draw) -> list[str]:
    span = d.any_span()
    if span is None:
        return []
    order = f" {d.random.choice((1, 2, 3, 4, 5))}" if d.flip(0.25) else ""
    return [f"split {span}{order}"]


def _clearrefs(d: Draw) -> list[str]:
    proc = d.process()
    return [f"clearrefs {proc} {d.random.choice((1, 1, 2, 3, 4))}"] if proc else []


def _uffd(d: Draw) -> list[str]:
    span = d.any_span(lambda page: page.private)
    if span is None:
        return []
    known = d.world.uffds.get(span.proc)
    if known == "inherited":
        return []
    mode = known or d.random.choice(("async", "async", "sigbus"))
    mode = "off" if known and d.flip(0.3) else mode
    d.world.uffds[span.proc] = known or mode
    pages = list(d.world.pages(span))
    certain = all(page is not None and page.sure and page.private for page in pages)
    was = {page.uffd for page in pages if page is not None}
    if mode == "off" and certain:
        d.world.change(span, uffd="")
    elif mode != "off" and certain and was <= {""}:
        d.world.change(span, uffd=mode)
    else:
        d.world.change(span, sure=False)
    return [f"uffd {span} {mode}"]


def _uffdwp(d: Draw) -> list[str]:
    span = d.any_span(lambda page: bool(page.uffd))
    if span is None or d.world.uffds.get(span.proc, "inherited") == "inherited":
        return []
    return [f"uffdwp {span} {'off' if d.flip(0.35) else 'on'}"]


def _uffdcopy(d: Draw) -> list[str]:
    span = d.any_span(lambda page: bool(page.uffd))
    if span is None or d.world.uffds.get(span.proc, "inherited") == "inherited":
        return []
    return [f"uffdcopy {span}{' wp' if d.flip(0.3) else ''}"]


def _uffdmove(d: Draw) -> list[str]:
    span = d.span(lambda page: page.sure and page.private and page.prot == "rw")
    into = d.span(lambda page: page.sure and page.private and bool(page.uffd))
    if span is None or into is None or span.proc != into.proc:
        return []
    length = min(span.end - span.start, into.end - into.start)
    span, into = span._replace(end=span.start + length), into._replace(end=into.start + length)
    if span.region == into.region and span.start < into.end and into.start < span.end:
        return []
    return [f"uffdmove {span} {into.region} {into.start}"]


DRAWERS: dict[str, Drawer] = {
    "mmap": _mmap,
    "memfd": _memfd,
    "file": _file,
    "fsync": _fsync,
    "mthp": _mthp,
    "shmem": _shmem,
    "swap": _swap,
    "autodrain": _autodrain,
    "drain": lambda _: ["drain"],
    "dropcache": lambda _: ["dropcache"],
    "write": _access("write", write=True),
    "read": _access("read", write=False),
    "touch": _touch,
    "poke": _poke,
    **{verb: _plain(verb) for verb in (
        "dontneed", "free", "cold", "pageout", "populate_read", "populate_write", "collapse",
        "remove", "softoffline")},
    "dontfork": _changing("dontfork", fork=False),
    "dofork": _changing("dofork", fork=True),
    **{verb: _changing(verb) for verb in ("wipeonfork", "mlock", "munlock")},
    "munmap": _munmap,
    "mprotect": _mprotect,
    "mremap": _mremap,
    "fork": _fork,
    "exit": _ending("exit"),
    "kill": _ending("kill"),
    "proc": _proc,
    "pin": _hold("pin"),
    "get": _hold("get"),
    "repeat": _repeat,
    "unpin": _unpin,
    "uring": _uring,
    "unuring": _unuring,
    "split": _split,
    "clearrefs": _clearrefs,
    "uffd": _uffd,
    "uffdwp": _uffdwp,
    "uffdcopy": _uffdcopy,
    "uffdmove": _uffdmove,
}  # fmt: skip
"""By verb: what draws one; an empty list if there is nothing to draw it on."""
