"""Every verb on every kind of file-side entry: answered without a broken rule."""

from __future__ import annotations

import pytest

from tests.engine.support import act, broken, explain, run

SHMEM = "mmap A R 16p shared nomadv\nwrite A R 0 16"
KINDS = {
    "shmem": SHMEM,
    "shmem-large": f"shmem 64K always\n{SHMEM}",
    "shmem-swapped": f"swap on\n{SHMEM}\npageout A R 0 8",
    "xfs": "file F 16p /x/f 1p\nmmap A R 16p fd=F shared nomadv\nread A R 0 16\nwrite A R 0 4",
    "xfs-large": "file F 16p /x/f\nmmap A R 16p fd=F shared nomadv\nwrite A R 0 4",
    "private": "file F 16p /x/f\nmmap A R 16p fd=F nomadv\nread A R 0 16\nwrite A R 0 4",
    "beyond": "file F 8p /x/f\nmmap A R 16p fd=F shared nomadv\nread A R 0 8",
}
VERBS = (
    "read A R 0 8", "write A R 2 6", "fork A B", "dontneed A R 2 6", "remove A R 2 6",
    "pageout A R 2 6", "cold A R 2 6", "softoffline A R 3 4", "split A R 2 6", "mlock A R 0 8",
    "mprotect A R 2 6 r", "pin A R 2 6 1 wl", "get A R 2 6 1 -", "munmap A R 2 6", "dropcache",
    "populate_write A R 2 6", "mremap A R 0 8 S 0",
)  # fmt: skip


@pytest.mark.parametrize("kernel", ["6.12", "7.2"])
@pytest.mark.parametrize("kind", KINDS)
def test_verbs_are_answered(kernel: str, kind: str) -> None:
    for verb in VERBS:
        session = run(kernel, KINDS[kind])
        act(session, f"{verb}\nread A R 6 8")
        assert not broken(session), f"{verb}: {explain(session)}"
