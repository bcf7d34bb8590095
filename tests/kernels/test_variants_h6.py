"""The kernels of presets 11, 21, 22 and 25: what each does differently from the next one."""

from __future__ import annotations

import pytest

from sandbox.memory import NOTE
from sandbox.run.session import Session
from tests.engine.support import broken, run

BLOCK = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\n"
LAZY = (
    "mthp 16K madvise\nmmap A R 16K\ntouch A R 0 4 w\nfree A R 0 4\nwrite A R 2 3\n"
    "fork A B\nexit A\npageout B R 0 4\nread B R 0 4\n"
)


def out(session: Session) -> str | None:
    """What the last action printed."""
    result = session.result_of(len(session.steps))
    assert result is not None
    return result.out


def ret(session: Session) -> int:
    """How the last action ended."""
    result = session.result_of(len(session.steps))
    assert result is not None
    return result.ret


def warnings(session: Session) -> list[str]:
    """The kernel's warnings so far."""
    return [e[3] for e in session.machine.events if e[0] == NOTE and e[2] == "warn"]


def flags(session: Session, proc: str = "A") -> list[tuple[int, int, str]]:
    """(first page, pages, letters) of each run of entries."""
    return [(run[1], run[2], run[6]) for run in session.state()["procs"][proc]["ptes"]]


@pytest.mark.parametrize(
    ("kernel", "seen"),
    [
        ("ryan-v2-free", "0x4"),
        ("ryan-v3-free", "3x2 5x1 3x1"),
        ("6.12", "0x2 5x1 3x1"),
        ("ryan-v2", "0x2 5x1 0x1"),
    ],
)
def test_only_v2_under_the_new_madv_free_loses_the_write(kernel: str, seen: str) -> None:
    assert out(run(kernel, LAZY)) == seen


@pytest.mark.parametrize("version", ["ryan-v2", "ryan-v3"])
def test_the_patches_under_the_new_madv_free_keep_the_folio(version: str) -> None:
    lines = BLOCK + "free A R 0 16\n"
    assert len(run(version, lines).state()["folios"]) == 16
    assert len(run(f"{version}-free", lines).state()["folios"]) == 1


@pytest.mark.parametrize("access", ["w", "r"])
def test_the_device_is_stuck_until_the_handler_looks_at_descriptors(access: str) -> None:
    lines = BLOCK + f"free A R 0 16\nwrite A R 3 4\ndevice A R 7 8 {access}\n"
    stuck, fixed = run("6.15-smmu", lines), run("7.2-smmu", lines)
    assert (ret(stuck), ret(fixed)) == (-14, 0)
    assert warnings(stuck)
    assert not warnings(fixed)
    assert len(flags(stuck)) == 3, "one entry marked, fifteen not"
    assert [letters for _, _, letters in flags(fixed)] == ["wdyc"]
    assert not broken(stuck) | broken(fixed)


def test_the_device_alone_is_served() -> None:
    lines = "free A R 0 16\ndevice A R 7 8 w\ndrain\ndevice A R 0 16 r\n"
    session = run("6.15-smmu", BLOCK + lines)
    assert ret(session) == 0
    assert not warnings(session)


def test_bytes_for_entries_reach_the_neighbour() -> None:
    lines = "mthp 64K madvise\nmmap A R 128K at=480\ntouch A R 480 512 w\nfree A R 480 496\n"
    wrong, right = run("6.10-rc2", lines), run("6.12", lines)
    assert [letters for _, _, letters in flags(right)] == ["woc", "wdyc"]
    assert [letters for _, _, letters in flags(wrong)] == ["woc", "woc"]
    assert warnings(wrong) == ["entries past the end of the page table"]
    assert not warnings(right)


def test_bytes_for_entries_spare_plain_entries() -> None:
    lines = "mthp 32K madvise\nmmap A R 64K\ntouch A R 0 16 w\nfree A R 0 8\n"
    wrong = run("6.10-rc2", lines)
    assert flags(wrong) == flags(run("6.12", lines))
    assert not warnings(wrong)


def test_the_last_reference_reuses_a_large_folio_in_6_8_only() -> None:
    lines = BLOCK + "fork A B\nexit B\nwrite A R 0 16\n"
    old, new = run("6.8", lines), run("6.9", lines)
    assert max(f["order"] for f in old.state()["folios"].values()) == 4
    assert max(f["order"] for f in new.state()["folios"].values()) == 0
    assert not broken(old)


def test_6_8_has_mthp_and_no_contpte() -> None:
    session = run("6.8", BLOCK + "fork A B\n")
    assert session.state()["folios"]["F1"]["refcount"] == 32
    assert "c" not in "".join(letters for _, _, letters in flags(session))
    with pytest.raises(Exception, match="no contpte layer"):
        run("6.8", BLOCK + "fold A R 0 16\n")
