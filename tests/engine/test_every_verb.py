"""Every verb on every kernel, on small regions of all kinds: refusals there may be, no errors."""

from __future__ import annotations

import random

import pytest

from sandbox.errors import UsageError
from sandbox.kernels import KERNEL_IDS
from sandbox.run.session import Session
from sandbox.scenario.language import parse_action

REGIONS = (
    "mmap A R 64K", "mmap A R 64K\ntouch A R 0 16 w", "mmap A R 64K shared",
    "mmap A R 64K shared\ntouch A R 0 16 w", "mmap A R 64K ro\nread A R 0 4",
    "mthp 2M madvise\nmmap A R 2M\ntouch A R 0 1 w",
    "mmap A R 64K nohuge\ntouch A R 0 16 w\nfork A B",
    "memfd F 64K\nmmap A R 64K fd=F shared\ntouch A R 0 4 w",
    "file F 64K /mnt/ext4/f\nmmap A R 64K fd=F\nread A R 0 8",
    "swap on\nmmap A R 64K nohuge\ntouch A R 0 16 w\npageout A R 0 8",
    "mmap A R 64K\ntouch A R 0 16 w\nmprotect A R 0 16 -",
    "mmap A R 128K at=480\ntouch A R 480 512 w",
)  # fmt: skip
ACTIONS = (
    "write A R {a} {b}", "read A R {a} {b}", "touch A R {a} {b} w", "poke A R {a} {b}",
    "dontneed A R {a} {b}", "free A R {a} {b}", "cold A R {a} {b}", "pageout A R {a} {b}",
    "populate_read A R {a} {b}", "populate_write A R {a} {b}", "collapse A R {a} {b}",
    "dontfork A R {a} {b}", "dofork A R {a} {b}", "wipeonfork A R {a} {b}", "remove A R {a} {b}",
    "softoffline A R {a} {b}", "munmap A R {a} {b}", "mlock A R {a} {b}", "munlock A R {a} {b}",
    "mprotect A R {a} {b} r", "mprotect A R {a} {b} rw", "mremap A R {a} {b} M 3",
    "reclaim A R {a} {b}", "exclusive A R {a} {b}", "device A R {a} {b} w",
    "device A R {a} {b} r",
    "split A R {a} {b}", "uring A R {a} {b}", "unuring A", "uring A R {a} {b}",
    "ksm A R {a} {b} A R {a}",
    "unmerge A R {a} {b}", "uffd A R {a} {b} async", "uffdwp A R {a} {b} on",
    "uffdcopy A R {a} {b}",
    "uffdmove A R {a} {b} M 0", "fold A R {a} {b}", "unfold A R {a} {b}", "pin A R {a} {b} p w",
    "get A R {a} {b} g -", "unpin p", "unpin g", "fork A C", "clearrefs A 1", "drain", "dropcache",
    "exec A S", "exit C", "kill A",
)  # fmt: skip


@pytest.mark.parametrize("kernel", KERNEL_IDS)
def test_no_verb_is_an_error_of_the_engine(kernel: str) -> None:
    dice = random.Random(kernel)
    ranges = [(0, 1), (0, 4), (3, 9), (0, 16)]
    for region in dice.sample(REGIONS, 3):
        session = Session(kernel)
        lines = [*region.splitlines(), *dice.sample(ACTIONS, 16)]
        done = []
        for line in lines:
            a, b = dice.choice(ranges)
            line = line.format(a=a, b=b)  # noqa: PLW2901  # the same line, filled in
            done.append(line)
            try:
                session.do(parse_action(line))
            except UsageError:
                done.pop()
            session.state()
        assert not session.running, done


@pytest.mark.parametrize(
    "kernel", ["lazyfree-batch", "lazyfree-restore", "stale-nr-pages", "past-page-table"]
)
@pytest.mark.parametrize(
    ("region", "ret"),
    [
        ("mmap A R 64K", 0), ("mmap A R 64K shared", -95), ("mmap A R 64K ro", -14),
        ("mmap A R 64K shared\ntouch A R 0 16 w", -95),
        ("mthp 2M madvise\nmmap A R 2M\ntouch A R 0 1 w", 0),
        ("mmap A R 64K\ntouch A R 0 16 w\nmprotect A R 0 16 -", -14),
    ],
)  # fmt: skip
def test_a_device_has_pages_that_were_not_there_yet(kernel: str, region: str, ret: int) -> None:
    session = Session(kernel)
    for line in region.splitlines():
        session.do(parse_action(line))
    for _ in range(2):
        done = session.do(parse_action("exclusive A R 0 3"))
        result = session.result_of(done.number)
        assert result is not None
        assert result.ret == ret
    assert not session.running
