"""Random actions that mostly make sense on the machine as it is: what in-process attacks do."""

from __future__ import annotations

from random import Random

from mmtui.model.bench import Bench

__all__ = ["BESIDE", "START", "random_action"]

START = ("mthp 64K madvise", "mmap A R 128K", "touch A R 0 32 w")
"""What an empty machine begins with."""
BESIDE = 0.12
"""How often two actions run beside each other on two CPUs."""

_RARE = (
    "mthp 64K madvise", "mthp 16K madvise", "mthp 2M always", "mthp 32K never", "mthp 64K always",
    "shmem 64K always", "swap on", "swap off", "drain", "autodrain off", "autodrain on",
    "dropcache", "fsync G", "memfd F 128K", "file G 64K /mnt/ext4/g", "file G 64K /mnt/ext4/g 16K",
    "sleep 1", "quiet", "loud", "sysfs a b",
)  # fmt: skip
_RANGES = (
    "dontneed", "dontneed", "free", "cold", "pageout", "populate_read", "populate_write",
    "collapse", "dontfork", "dofork", "wipeonfork", "remove", "softoffline", "munmap", "munmap",
    "mlock", "munlock", "mprotect", "mprotect", "mremap", "split", "uring", "ksm", "unmerge",
    "uffd", "uffdwp", "uffdcopy", "uffdmove", "fold", "unfold",
)  # fmt: skip
_SIZES = ("64K", "64K", "128K", "32K", "20K", "4K", "2M")
_MAPPINGS = ("", "", "", " nohuge", " shared", " ro", " at=7", " nomadv", " fd=F", " fd=G shared")


def random_action(random: Random, bench: Bench) -> str:
    """An action, or two of them beside each other."""
    line = _one(random, bench)
    if random.random() < BESIDE:
        return f"cpu0 {line} | cpu1 {_one(random, bench)}"
    return line


def _one(random: Random, bench: Bench) -> str:
    choose, draw = random.choice, random.random()
    procs = list(bench.session.ledger.processes())
    pages = _range(random, bench)
    if pages is None or draw < 0.06:
        region, proc = choose("RSTUV"), choose(procs or ["A"])
        return f"mmap {proc} {region} {choose(_SIZES)}{choose(_MAPPINGS)}"
    if draw < 0.19:
        return _of_process(random, procs)
    if draw < 0.24:
        return choose(_RARE)
    if draw < 0.34:
        verb = choose(("pin", "pin", "get", "repeat"))
        return f"{verb} {pages} {choose('1234')} {choose(('w', '-', 'wl', 'l', 'f', 'wf'))}"
    if draw < 0.40:
        by = choose(procs)
        ends = (f"unpin {choose('1234')}", f"unuring {by}", f"clearrefs {by} {choose('12345')}")
        return choose(ends)
    if draw < 0.60:
        if random.random() < 0.8:
            return f"{choose(('write', 'write', 'read', 'poke'))} {pages}"
        return f"touch {pages} {choose('wr')}"
    verb = choose(_RANGES)
    return f"{verb} {pages}{_tail(random, bench, verb)}"


def _of_process(random: Random, procs: list[str]) -> str:
    """Something that is done to a process as a whole."""
    proc, draw = random.choice(procs), random.random()
    if draw < 0.6:
        return f"fork {proc} {random.choice('ABCDEFGH')}"
    if draw < 0.85:
        return f"exit {proc}"
    return random.choice((f"kill {proc}", f"exec {proc} S", f"proc {random.choice('ABCDEFGH')}"))


def _range(random: Random, bench: Bench) -> str | None:
    """Pages of a region, often at an edge of something; None without a region."""
    there = [
        (name, region, size)
        for name, mm in bench.session.ledger.processes().items()
        for region, _, size in bench.session.book.regions(mm)
    ]
    if not there:
        return None
    proc, region, size = random.choice(there)
    edges = (0, size, size // 2, 1, 4, 8, 15, 16, 17, 32, *random.choices(range(size + 1), k=2))
    start, end = sorted(min(random.choice(edges), size) for _ in range(2))
    if start == end:
        start, end = (start, start + 1) if start < size else (start - 1, start)
    return f"{proc} {region} {start} {end}"


def _tail(random: Random, bench: Bench, verb: str) -> str:
    """What follows the range of a verb."""
    choose = random.choice
    if verb == "mremap":
        return f" {choose('MNS')} {choose((0, 3, 16, 500))}{choose(('', ' dontunmap'))}"
    if verb == "ksm":
        return " " + " ".join((_range(random, bench) or "A R 0 1").split()[:3])
    if verb == "uffdmove":
        return f" {choose('MNS')} {choose((0, 3, 16))}"
    tails = {
        "mprotect": (" r", " rw", " -"), "split": ("", " 2", " 0"), "uffdcopy": ("", " wp"),
        "uffd": (" async", " sigbus", " off"), "uffdwp": (" on", " off"),
    }  # fmt: skip
    return choose(tails.get(verb, ("",)))
