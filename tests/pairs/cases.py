"""What two CPUs fight about: a setup, and the actions of which any two are played against it."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import NamedTuple


class Setup(NamedTuple):
    """A state to begin with, and actions; ``{cpu}`` in an action makes its names its own."""

    name: str
    lines: str
    actions: tuple[str, ...]

    @property
    def text(self) -> str:
        """What is done first: frames are used again, so that a free one is not safe from harm."""
        return f"reuse on\n{self.lines}"


class Pair(NamedTuple):
    """Two actions to play on two CPUs."""

    setup: Setup
    first: str
    second: str

    @property
    def block(self) -> str:
        """The two lines of the block."""
        return f"cpu0: {self.first.format(cpu=0)}\ncpu1: {self.second.format(cpu=1)}"

    @property
    def verbs(self) -> frozenset[str]:
        """The verbs, without an order."""
        return frozenset((self.first.split()[0], self.second.split()[0]))

    def __str__(self) -> str:
        return f"{self.setup.name}: {self.first} || {self.second}".replace("{cpu}", "")


SETUPS = (
    Setup(
        "small",
        "mmap A R 4p nohuge\nwrite A R 0 2",
        (
            "write A R 0 3", "read A R 1 4", "poke A R 1 2", "populate_read A R 0 3",
            "populate_write A R 1 4", "dontneed A R 0 2", "free A R 0 2", "cold A R 0 2",
            "munmap A R 1 3", "mlock A R 1 3", "munlock A R 0 2", "mprotect A R 1 3 r",
            "mremap A R 0 2 M{cpu} 0", "softoffline A R 0 1", "clearrefs A 1",
            "pin A R 0 3 p{cpu} w", "get A R 0 2 g{cpu} -", "uring A R 0 2", "fork A C{cpu}",
            "mmap A N{cpu} 2p nohuge", "uffd A R 0 4 async", "exec A S{cpu}", "drain",
            "dontfork A R 0 2", "dofork A R 0 4", "wipeonfork A R 0 2", "proc P{cpu}",
        ),
    ),
    Setup(
        "family",
        "mmap A R 4p nohuge\nwrite A R 0 3\nfork A B",
        (
            "write A R 0 3", "write B R 0 2", "read B R 0 4", "poke B R 1 2", "dontneed A R 0 2",
            "dontneed B R 1 3", "munmap B R 0 2", "free A R 0 2", "mlock A R 0 2", "mlock B R 0 2",
            "mprotect B R 0 2 r", "mremap B R 0 2 M{cpu} 0", "pin A R 0 3 p{cpu} w",
            "pin B R 0 2 p{cpu} -", "get A R 0 2 g{cpu} -", "fork A C{cpu}", "fork B C{cpu}",
            "exit B", "softoffline A R 0 2", "ksm A R 0 1 B R 1", "unmerge A R 0 2",
            "clearrefs B 1", "kill A",
        ),
    ),
    Setup(
        "pinned",
        "mthp 16K madvise\nmmap A R 16K\nwrite A R 0 4\npin A R 1 2 q w",
        (
            "fork A C{cpu}", "unpin q", "write A R 0 4", "dontneed A R 0 2", "munmap A R 0 2",
            "split A R 0 4", "free A R 0 4", "softoffline A R 1 2", "mprotect A R 0 4 r",
            "pin A R 0 4 p{cpu} w", "mremap A R 0 4 M{cpu} 0", "uring A R 0 4", "mlock A R 0 4",
        ),
    ),
    Setup(
        "folio",
        "mthp 16K madvise\nmmap A R 16K\nwrite A R 0 4\nfork A B",
        (
            "write A R 0 2", "write B R 1 2", "read B R 0 4", "dontneed B R 0 2", "munmap A R 2 4",
            "free B R 0 4", "cold A R 0 2", "split A R 0 4", "split B R 0 4 1", "fork A C{cpu}",
            "pin A R 0 4 p{cpu} w", "pin B R 0 2 p{cpu} -", "get A R 0 4 g{cpu} -", "exit B",
            "mremap B R 0 4 M{cpu} 0", "mprotect A R 0 4 r", "mlock A R 0 4",
            "softoffline A R 0 1", "ksm A R 0 1 B R 1",
        ),
    ),
    Setup(
        "folded",
        "mthp 64K madvise\nmmap A R 64K\nwrite A R 0 16",
        (
            "fork A C{cpu}", "write A R 0 4", "dontneed A R 2 5", "munmap A R 0 8",
            "mprotect A R 4 12 r", "mremap A R 0 16 M{cpu} 0", "pin A R 0 4 p{cpu} w",
            "get A R 8 16 g{cpu} -", "free A R 0 16", "cold A R 0 16", "split A R 0 16",
            "fold A R 0 16", "unfold A R 0 16", "clearrefs A 1", "mlock A R 0 16",
        ),
    ),
    Setup(
        "hole",
        "mthp 16K madvise\nmmap A R 32K",
        (
            "write A R 0 4", "write A R 3 6", "read A R 0 8", "populate_write A R 2 5",
            "populate_read A R 2 5", "pin A R 1 4 p{cpu} w", "get A R 0 2 g{cpu} -",
            "dontneed A R 0 8", "munmap A R 2 6", "mprotect A R 2 6 r", "fork A C{cpu}",
            "mlock A R 0 4", "mremap A R 0 4 M{cpu} 0", "uffd A R 0 8 async", "uffdcopy A R 0 2",
            "poke A R 0 2", "uring A R 0 2",
        ),
    ),
    Setup(
        "shared",
        "memfd F 4p\nmmap A R 4p fd=F shared\nwrite A R 0 1\nfork A B",
        (
            "write A R 0 3", "write B R 1 4", "read B R 0 4", "populate_read A R 0 4",
            "pin A R 0 3 p{cpu} w", "get B R 1 3 g{cpu} -", "remove A R 0 2", "dontneed A R 0 2",
            "munmap B R 0 2", "fork A C{cpu}", "mprotect B R 0 4 r", "exit B", "dropcache",
            "fsync F", "memfd G{cpu} 4p", "mmap B N{cpu} 4p fd=F shared", "mlock A R 0 4",
        ),
    ),
    Setup(
        "private",
        "file F 64K /mnt/xfs/f 16K\nmmap A R 16K fd=F\nread A R 0 1\nwrite A R 1 2",
        (
            "write A R 0 4", "read A R 0 4", "populate_write A R 2 4", "pin A R 0 3 p{cpu} w",
            "get A R 0 3 g{cpu} -", "dontneed A R 0 2", "munmap A R 0 2", "fork A C{cpu}",
            "dropcache", "fsync F", "mmap A S{cpu} 16K fd=F shared", "mprotect A R 0 4 r",
            "mremap A R 0 4 M{cpu} 0",
        ),
    ),
    Setup(
        "written",
        "file F 64K /mnt/xfs/f 16K\nmmap A R 32K fd=F shared\nwrite A R 0 6\nfork A B",
        (
            "write A R 0 8", "write B R 4 8", "read B R 0 8", "fsync F", "dropcache",
            "dontneed B R 0 4", "munmap A R 0 4", "pin A R 0 4 p{cpu} w", "mprotect B R 0 8 r",
            "fork A C{cpu}", "exit B",
        ),
    ),
    Setup(
        "swapped",
        "swap on\nmmap A R 4p nohuge\nwrite A R 0 4\npageout A R 0 2",
        (
            "write A R 0 3", "read A R 0 4", "pageout A R 0 4", "pageout A R 2 4",
            "populate_write A R 0 2", "dontneed A R 0 3", "munmap A R 1 3", "fork A C{cpu}",
            "pin A R 0 3 p{cpu} w", "get A R 1 3 g{cpu} -", "free A R 0 4", "mlock A R 0 2",
            "mprotect A R 0 4 r", "mremap A R 0 2 M{cpu} 0", "poke A R 0 1", "cold A R 2 4",
            "softoffline A R 2 3", "exec A S{cpu}", "clearrefs A 1",
        ),
    ),
    Setup(
        "swapped family",
        "swap on\nmmap A R 4p nohuge\nwrite A R 0 4\npageout A R 0 2\nfork A B",
        (
            "write A R 0 3", "write B R 0 2", "read A R 0 2", "read B R 0 4", "dontneed B R 0 2",
            "munmap A R 0 2", "exit B", "fork B C{cpu}", "pin B R 0 2 p{cpu} w", "pageout A R 2 4",
            "pageout B R 0 4", "poke A R 0 2", "mlock B R 0 2", "mremap B R 0 2 M{cpu} 0",
        ),
    ),
    Setup(
        "swapped folio",
        "swap on\nmthp 16K madvise\nmmap A R 16K\nwrite A R 0 4\npageout A R 0 4",
        (
            "write A R 0 2", "read A R 1 4", "pageout A R 0 4", "dontneed A R 1 2",
            "munmap A R 0 2", "fork A C{cpu}", "pin A R 0 4 p{cpu} w", "mlock A R 0 4",
            "mremap A R 0 4 M{cpu} 0", "populate_read A R 0 2",
        ),
    ),
    Setup(
        "two maps",
        "swap on\nmmap A R 4p nohuge\nwrite A R 0 4\nmmap B Q 4p nohuge\nwrite B Q 0 4",
        (
            "pageout A R 0 4", "pageout B Q 0 4", "write A R 0 4", "read B Q 0 4",
            "dontneed A R 0 2", "munmap B Q 1 3", "free B Q 0 2", "ksm A R 0 1 B Q 0", "exit B",
            "fork A C{cpu}",
        ),
    ),
    Setup(
        "tracked",
        "mmap A R 4p nohuge\nwrite A R 0 3\nuffd A R 0 4 async\nuffdwp A R 0 4 on\n"
        "mmap A N 4p nohuge\nuffd A N 0 4 async",
        (
            "write A R 0 4", "read A R 0 4", "uffdwp A R 0 2 on", "uffdwp A R 0 4 off",
            "uffdcopy A N 0 2", "uffdmove A R 0 1 N 0", "dontneed A R 0 2", "fork A C{cpu}",
            "pin A R 0 2 p{cpu} w", "mprotect A R 0 4 r", "munmap A R 1 3", "uffd A R 0 4 off",
            "write A N 0 2",
        ),
    ),
    Setup(
        "huge",
        "mthp 2M madvise\nmmap A R 2M\nwrite A R 0 1",
        (
            "write A R 5 6", "fork A C{cpu}", "dontneed A R 0 512", "dontneed A R 8 9",
            "munmap A R 0 512", "mprotect A R 0 512 r", "mprotect A R 3 4 r",
            "mremap A R 0 512 M{cpu} 0", "pin A R 0 2 p{cpu} w", "get A R 7 9 g{cpu} -",
            "free A R 0 512", "cold A R 0 512", "clearrefs A 1", "read A R 1 3",
        ),
    ),
    Setup(
        "huge hole",
        "mthp 2M madvise\nmthp 16K madvise\nmmap A R 4M",
        (
            "write A R 0 1", "write A R 511 513", "read A R 5 6", "pin A R 0 2 p{cpu} w",
            "populate_write A R 510 513", "dontneed A R 0 512", "mprotect A R 1 2 r",
            "munmap A R 256 600", "fork A C{cpu}",
        ),
    ),
    Setup(
        "huge family",
        "mthp 2M madvise\nmmap A R 2M\nwrite A R 0 1\nfork A B",
        (
            "write A R 0 1", "write B R 1 2", "split A R 0 1", "dontneed B R 0 512",
            "dontneed A R 0 1", "mprotect B R 0 512 r", "mlock A R 0 512", "exit B",
            "mremap B R 0 512 M{cpu} 0",
        ),
    ),
    Setup(
        "scattered",
        "mthp 2M madvise\nmmap A R 2M nohuge\nwrite A R 0 3\nmmap B Q 4p",
        (
            "collapse A R 0 512", "write A R 1 2", "read A R 2 4", "dontneed A R 0 2",
            "pin A R 0 2 p{cpu} w", "get A R 0 1 g{cpu} -", "munmap A R 0 2", "mprotect A R 0 3 r",
        ),
    ),
)  # fmt: skip


def all_pairs() -> list[Pair]:
    """Every two actions of every setup, an action also against itself."""
    return [
        Pair(setup, first, second)
        for setup in SETUPS
        for first, second in combinations_with_replacement(setup.actions, 2)
    ]
