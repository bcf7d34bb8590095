"""Every verb on every kind of file-side entry: answered without a broken rule, or not done."""

from __future__ import annotations

import pytest

from sandbox.errors import SandboxError
from tests.engine.support import act, broken, explain, run, snapshot

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
    "populate_write A R 2 6", "mremap A R 0 8 S 0", "uffd A R 0 16 async", "uffdwp A R 2 6 on",
    "uffdcopy A R 2 6", "collapse A R 0 16",
)  # fmt: skip
REFUSED = (
    "uffdmove A R 0 4 R 2", "ksm A R 0 4 A R 2", "mremap A R 0 8 S 2097150", "fork A A",
    "pin A R 0 1 1 w", "dontneed A Q 0 4", "munmap B R 0 4", "memfd F2 0",
    "file G 4p /x/f", "fold A R 0 16", "exclusive A R 0 16",
)  # fmt: skip


@pytest.mark.parametrize("kernel", ["6.12", "7.2"])
@pytest.mark.parametrize("kind", KINDS)
def test_verbs_are_answered(kernel: str, kind: str) -> None:
    for verb in VERBS:
        session = run(kernel, KINDS[kind])
        act(session, f"{verb}\nread A R 6 8")
        assert not broken(session), f"{verb}: {explain(session)}"


@pytest.mark.parametrize("kernel", ["6.6", "6.12", "7.2"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_changes_nothing(kernel: str, kind: str) -> None:
    session = run(kernel, f"{KINDS[kind]}\npin A R 0 1 1 -\nmemfd G 4p")
    before = snapshot(session)
    for line in REFUSED:
        with pytest.raises(SandboxError):
            act(session, line)
        assert snapshot(session) == before, line


@pytest.mark.parametrize(
    ("kernel", "mapped"), [("6.6", 4), ("6.9", 4), ("6.12", 1), ("6.15", 4), ("7.2", 4)]
)
def test_what_a_fault_maps_at_the_end_of_a_file(kernel: str, mapped: int) -> None:
    """Stable trees since November 2025 make no table for what ends with the file (74207de2ba10).

    7.2 maps the folio whole; 6.12 then maps one page, as mainline does not before 6.18.
    """
    session = run(kernel, "file F 4p /x/f\nmmap A R 4p fd=F shared\nread A R 0 1")
    assert session.state()["procs"]["A"]["rss"]["file"] == mapped
