"""Drawing verbs about mappings: what is mapped, accessed, changed, moved, and its settings."""

from __future__ import annotations

from sandbox.fuzz.draw import Draw, Drawer
from sandbox.fuzz.world import MAX_FILES, REGIONS, Page, Span

__all__ = ["MEMORY_DRAWERS"]

SIZES = ("16K", "32K", "64K", "128K", "256K", "512K", "1M", "2M")
SIZE_WEIGHTS = (6, 3, 6, 3, 2, 1, 1, 3)


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
    page, offset, words = _kind(d, proc, size)
    if not over:  # else it is -EEXIST
        d.world.map(span, page, offset)
    return [" ".join([f"mmap {proc} {region} {size}p", *([f"at={at}"] if at else []), *words])]


def _kind(d: Draw, proc: str, size: int) -> tuple[Page, int, list[str]]:
    """What kind of mapping it is: its pages, where in its file it begins, and the words for it."""
    page, offset, words = Page(d.world.number()), 0, list[str]()
    kind = d.random.random()
    files = sorted(d.world.opened.get(proc, d.world.files))
    if files and kind < 0.5:
        name = d.random.choice(files)
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
    if path.startswith("/x"):
        d.world.disks.add(name)
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


def _poke(d: Draw) -> list[str]:
    span = d.any_span()
    return [f"poke {span}"] if span else []


MEMORY_DRAWERS: dict[str, Drawer] = {
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
}  # fmt: skip
