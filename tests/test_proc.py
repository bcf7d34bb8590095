"""What /proc shows, by release: the numbers of the mails, and what was measured on real kernels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mmtui.exit_codes import ExitCode
from sandbox.errors import UsageError
from sandbox.memory import Folio
from sandbox.run.session import Session
from sandbox.truth.procfs.pages import KPF, average_mapcount, kpagecount, kpageflags
from sandbox.truth.procfs.proc import WHATS, pagemap, proc_text, status
from sandbox.truth.procfs.smaps import MemSizeStats, smaps
from tests.engine.support import ALL, BUSY_LIFE, FORK_64K, UPSTREAM, begin, run

LARGE = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w"
SMALL = "mmap A R 4K nohuge\ntouch A R 0 1 w"
HUGE = "mthp 2M madvise\nmmap A R 2M\ntouch A R 0 1 w"
BARRY_TABLE = f"{FORK_64K}\ndontneed B R 0 2\ndontneed B R 3 16"
PARTIAL = f"{FORK_64K}\ndontneed A R 3 4"
PAGE_MAPCOUNT = ("6.9", "6.12", "6.15", "7.2", "7.3")


def folio_of(session: Session, name: str = "F1") -> Folio:
    head = next(head for head, known in session.ledger.names.items() if known == name)
    return session.ledger.folio(head)


def of(session: Session, process: str) -> MemSizeStats:
    """The only VMA of a process."""
    (stats,) = smaps(session, session.ledger.processes()[process])
    return stats


def pss(session: Session) -> dict[str, int]:
    """Pss in kB by process."""
    return {name: of(session, name).kilobytes("pss") for name in session.ledger.processes()}


def counts(session: Session, name: str = "F1") -> list[int]:
    folio = folio_of(session, name)
    return [kpagecount(session, folio.page(i)) for i in range(folio.nr_pages)]


def bit(session: Session, bit: KPF, name: str = "F1") -> list[int]:
    folio = folio_of(session, name)
    pages = (folio.page(i) for i in range(folio.nr_pages))
    return [kpageflags(session, page) >> bit & 1 for page in pages]


def bit_56(session: Session, process: str) -> list[int]:
    return [int(e.exclusive) for e in pagemap(session, session.ledger.processes()[process])]


# -- smaps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", PAGE_MAPCOUNT)
def test_pss_divides_by_the_pages_mapcount(kernel: str) -> None:
    assert pss(run(kernel, BARRY_TABLE)) == {"A": 62, "B": 2}
    assert pss(run(kernel, PARTIAL)) == {"A": 30, "B": 34}


def test_without_page_mapcounts_pss_divides_by_the_average() -> None:
    assert pss(run("7.2-nopm", BARRY_TABLE)) == {"A": 64, "B": 4}
    assert pss(run("7.2-nopm", PARTIAL)) == {"A": 30, "B": 32}


@pytest.mark.parametrize(("kernel", "private", "shared"), [("7.2", 60, 4), ("7.2-nopm", 0, 64)])
def test_private_is_told_by_the_page_or_by_the_folio(
    kernel: str, private: int, shared: int
) -> None:
    stats = of(run(kernel, BARRY_TABLE), "A")
    assert stats.kilobytes("private_dirty") == private
    assert stats.kilobytes("shared_dirty") == shared
    assert stats.kilobytes("resident") == stats.kilobytes("anonymous") == 64


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_smaps_of_small_pages(kernel: str) -> None:
    session = run(kernel, f"{SMALL}\nfork A B")
    assert pss(session) == {"A": 2, "B": 2}
    assert of(session, "A").kilobytes("referenced") == 4
    assert of(session, "B").kilobytes("referenced") == 0, "the child's entries are old"
    alone = of(run(kernel, SMALL), "A")
    assert (alone.kilobytes("private_dirty"), alone.kilobytes("pss")) == (4, 4)


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_only_pmd_mappings_are_anon_huge_pages(kernel: str) -> None:
    assert of(run(kernel, HUGE), "A").kilobytes("anonymous_thp") == 2048
    split = of(run(kernel, f"{HUGE}\ndontneed A R 3 4"), "A")
    assert split.kilobytes("anonymous_thp") == 0
    assert split.kilobytes("resident") == 2044
    if kernel != "6.6":
        assert of(run(kernel, LARGE), "A").kilobytes("anonymous_thp") == 0


def test_a_contiguous_block_is_young_and_dirty_as_one() -> None:
    lines = f"{FORK_64K}\nread B R 5 6"
    assert of(run("7.2", lines), "B").kilobytes("referenced") == 64
    assert of(run("7.2", f"{lines}\ndontneed B R 0 1"), "B").kilobytes("resident") == 60


def test_lazyfree_locked_and_swap() -> None:
    session = run("7.2", "mmap A R 16K nohuge\ntouch A R 0 4 w\nfree A R 0 4")
    assert of(session, "A").kilobytes("lazyfree") == 16
    session = run("7.2", "mmap A R 16K nohuge\ntouch A R 0 4 w\nmlock A R 0 4")
    assert of(session, "A").kilobytes("pss_locked") == 16
    session = run("7.2", f"swap on\n{SMALL}\npageout A R 0 1\nfork A B")
    stats = of(session, "A")
    assert (stats.kilobytes("swap"), stats.kilobytes("swap_pss")) == (4, 2)
    assert stats.kilobytes("resident") == 0


def test_the_zero_page_is_not_resident() -> None:
    assert of(run("7.2", "mmap A R 16K nohuge\ntouch A R 0 4 r"), "A").resident == 0


# -- status --------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ALL)
def test_status_and_smaps_agree_at_rest(kernel: str) -> None:
    session = run(kernel, BUSY_LIFE)
    for mm in session.ledger.processes().values():
        known = status(session, mm)
        stats = smaps(session, mm)
        assert known["VmRSS"] * 1024 == sum(s.resident for s in stats)
        assert known["RssAnon"] * 1024 == sum(s.anonymous for s in stats)
        assert known["VmSize"] * 1024 == sum(s.size for s in stats)
        assert known["VmRSS"] == known["RssAnon"] + known["RssFile"] + known["RssShmem"]


# -- kpagecount ----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", PAGE_MAPCOUNT)
def test_kpagecount_is_the_pages_mapcount(kernel: str) -> None:
    assert counts(run(kernel, PARTIAL)) == [2] * 3 + [1] + [2] * 12
    assert counts(run(kernel, f"{HUGE}\nfork A B\ndontneed B R 0 1"))[:2] == [1, 2]


def test_kpagecount_without_page_mapcounts_is_the_average() -> None:
    assert counts(run("7.2-nopm", BARRY_TABLE)) == [1] * 16  # 17 mappings of 16 pages
    assert counts(run("7.2-nopm", PARTIAL)) == [2] * 16  # 31 of 16
    assert counts(run("7.2-nopm", f"{LARGE}\ndontneed A R 1 16")) == [1] * 16, "at least 1"
    huge = run("7.2-nopm", f"{HUGE}\nfork A B\ndontneed B R 1 512")
    assert average_mapcount(huge, folio_of(huge)) == 2, "one entire, one of 512"


def test_what_is_free_is_not_counted() -> None:
    session = run("7.2", LARGE)
    folio = folio_of(session)
    assert kpagecount(session, folio.page(0)) == 1
    gone = run("7.2", f"{LARGE}\nexit A")
    page = gone.ledger.folio(folio).page(0)
    assert kpagecount(gone, page) == 0
    assert kpageflags(gone, page) == 1 << KPF.BUDDY


# -- kpageflags ----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_exclusive_shows_as_bit_34(kernel: str) -> None:
    assert bit(run(kernel, SMALL), KPF.OWNER_2) == [1]
    assert bit(run(kernel, f"{SMALL}\nfork A B"), KPF.OWNER_2) == [0]
    survivor = f"{SMALL}\nfork A B\nexit B"
    assert bit(run(kernel, survivor), KPF.OWNER_2) == [0]
    assert bit(run(kernel, f"{survivor}\nwrite A R 0 1"), KPF.OWNER_2) == [1]


def test_of_a_large_folio_each_page_or_only_the_head_shows_it() -> None:
    lines = f"{LARGE}\ndontfork A R 0 8\nfork A B"
    assert bit(run("6.9", lines), KPF.OWNER_2) == [1] * 8 + [0] * 8
    assert bit(run("6.12", lines), KPF.OWNER_2) == [1] * 16
    reused = f"{FORK_64K}\nexit B\nwrite A R 1 2"
    assert bit(run("7.2", reused), KPF.OWNER_2) == [0] * 16, "measured: the head's bit is 0"
    assert bit(run("7.2", f"{reused}\nwrite A R 0 1"), KPF.OWNER_2) == [1] * 16


@pytest.mark.parametrize("kernel", UPSTREAM)
def test_head_tail_and_thp_tell_the_folio(kernel: str) -> None:
    session = run(kernel, HUGE)
    assert bit(session, KPF.COMPOUND_HEAD) == [1] + [0] * 511
    assert bit(session, KPF.COMPOUND_TAIL) == [0] + [1] * 511
    assert bit(session, KPF.THP) == bit(session, KPF.ANON) == bit(session, KPF.MMAP) == [1] * 512
    assert bit(run(kernel, SMALL), KPF.THP) == [0]


def test_a_fresh_page_waits_for_the_lru() -> None:
    session = run("7.2", f"autodrain off\n{SMALL}")
    assert bit(session, KPF.LRU) == [0]
    assert bit(run("7.2", SMALL), KPF.LRU) == [1]


# -- pagemap -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", PAGE_MAPCOUNT)
def test_bit_56_is_mapped_once(kernel: str) -> None:
    session = run(kernel, PARTIAL)
    assert bit_56(session, "A") == [0] * 15
    assert bit_56(session, "B") == [0] * 3 + [1] + [0] * 12


def test_bit_56_without_page_mapcounts_is_of_the_folio() -> None:
    assert bit_56(run("7.2-nopm", LARGE), "A") == [1] * 16
    assert bit_56(run("7.2-nopm", PARTIAL), "B") == [0] * 16


@pytest.mark.parametrize(("kernel", "rest"), [("6.6", 0), ("6.12", 0), ("6.15", 1), ("7.2", 1)])
def test_a_pmd_mapping_repeats_its_first_page(kernel: str, rest: int) -> None:
    """B maps all but page 0 by entries: page 0 is mapped once, the others twice."""
    session = run(kernel, f"{HUGE}\nfork A B\ndontneed B R 0 1")
    assert bit_56(session, "A") == [1] + [rest] * 511
    assert bit_56(session, "B") == [0] * 511


def test_stuck_shared_is_mapped_once_by_its_pages() -> None:
    """A forks B forks C, B exits, A drops the range: C alone (measured on 6.18)."""
    lines = f"{LARGE}\nfork A B\nfork B C\nexit B\ndontneed A R 0 16"
    assert bit_56(run("7.2", lines), "C") == [1] * 16
    assert counts(run("7.2", lines)) == [1] * 16
    assert bit_56(run("7.2-nopm", lines), "C") == [0] * 16


def test_pagemap_of_files_swap_and_the_zero_page() -> None:
    session = run(
        "7.2",
        "swap on\nmmap A R 4K nohuge\ntouch A R 0 1 w\npageout A R 0 1\n"
        "mmap A S 4K shared\ntouch A S 0 1 w\nmmap A Z 8K nohuge\ntouch A Z 0 2 r",
    )
    swapped, file, zero, _ = pagemap(session, session.ledger.processes()["A"])
    assert (swapped.present, swapped.swap, swapped.kind, swapped.frame) == (0, 1, "swap", 1)
    assert (file.present, file.file, file.exclusive) == (1, 1, 1)
    assert (zero.present, zero.file, zero.exclusive, zero.kind) == (1, 0, 0, "zero")
    text = "\n".join(proc_text(session, "pagemap", "A"))
    assert "swap 1" in text
    assert "(zero page)" in text


def test_pagemap_shows_migration_as_swapped() -> None:
    session = run("6.9", "mmap A R 4K nohuge\ntouch A R 0 1 w")
    begin(session, "softoffline A R 0 1")
    while not session.rules.checks.migrations:
        session.step_event()
    (entry,) = pagemap(session, session.ledger.processes()["A"])
    assert (entry.present, entry.swap, entry.exclusive, entry.kind) == (0, 1, 0, "migration")
    assert any("migrating" in line for line in proc_text(session, "pagemap", "A"))


# -- text ----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("kernel", ALL)
def test_text_of_a_busy_machine(kernel: str, what: str) -> None:
    session = Session(kernel)
    before = proc_text(session, what)
    assert all(len(line) <= 72 for line in before)
    session = run(kernel, BUSY_LIFE)
    position = session.position
    for process in (None, *session.ledger.processes()):
        lines = proc_text(session, what, process)
        assert lines
        assert all(len(line) <= 72 and line.isascii() for line in lines)
    assert session.position == position


def test_smaps_looks_as_the_kernel_writes_it() -> None:
    lines = proc_text(run("7.2", LARGE), "smaps", "A")
    assert lines[0] == "/proc/A/smaps"
    assert lines[1].endswith(" rw-p 00000000 00:00 0  [anon:R] 0-15")
    assert lines[2] == "Size:                 64 kB"
    assert "Pss:                  64 kB" in lines
    assert lines[-1] == "VmFlags: rd wr mw ac hg"


@pytest.mark.parametrize(("what", "process"), [("maps", None), ("smaps", "X")])
def test_what_there_is_not(what: str, process: str | None) -> None:
    with pytest.raises(UsageError):
        proc_text(run("7.2", LARGE), what, process)


Run = Callable[..., tuple[int, str, str]]


def test_the_command_shows_a_state_of_a_preset(mmtui: Run) -> None:
    status, out, err = mmtui("proc", "6", "smaps", "--kernel", "6.9", "--process", "A")
    assert (status, err) == (ExitCode.OK, "")
    assert "/proc/B" not in out
    assert "Pss:                  30 kB\n" in out
    _, out, _ = mmtui("proc", "6", "kpagecount", "--kernel", "6.9", "--step", "4")
    assert out.startswith("== seed-partial-dontneed on 6.9 after step 4\n")
    assert "    2  F1 0-15\n" in out


@pytest.mark.parametrize(
    "arguments",
    [("6", "maps"), ("6", "smaps", "--process", "X"), ("6", "smaps", "--step", "99"),
     ("6", "smaps", "--scenario", "none-such"), ("6", "smaps", "--kernel", "0.1")],
)  # fmt: skip
def test_the_command_refuses_what_there_is_not(mmtui: Run, arguments: tuple[str, ...]) -> None:
    status, out, err = mmtui("proc", *arguments)
    assert (status, out) == (ExitCode.USAGE, "")
    assert err.startswith("mmtui: ")
    assert err.count("\n") == 1
