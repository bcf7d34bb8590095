"""What the README says is not modelled: each is tried, and refused or seen to be as it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.kernels import REGISTRY
from sandbox.run.session import Session
from tests.engine.support import act, run, snapshot

README = Path(__file__).parents[1] / "README.md"
MERGED = "mmap A R 8p nohuge\nwrite A R 0 8\nksm A R 0 1 A R 4"


def refused(session: Session, line: str) -> str:
    """What is said of a line, which changes nothing."""
    before = snapshot(session)
    with pytest.raises(SandboxError) as caught:
        act(session, line)
    assert snapshot(session) == before
    return str(caught.value)


def other_machines() -> None:
    assert not any("x86" in name or "numa" in name for name in REGISTRY)
    session = run("7.2", MERGED)
    for line in ("mbind A R 0 4 0", "migratepages A 0 1", "cgroup A limit 4p"):
        assert "unknown verb" in refused(session, line)


def merging() -> None:
    session = run("7.2", MERGED)
    assert "unknown verb" in refused(session, "ksmd 100")
    assert "'pageout' of merged pages is not modelled" in refused(session, "pageout A R 0 8")
    assert "'softoffline' of merged pages is not modelled" in refused(
        session, "softoffline A R 4 5"
    )
    session = run("lazyfree-batch", f"swap on\n{MERGED}")
    entries = session.state()["procs"]["A"]["ptes"]
    act(session, "reclaim A R 0 1")
    assert session.state()["procs"]["A"]["ptes"][0] == entries[0]


def monitors() -> None:
    session = run("7.2", MERGED)
    for mode in ("missing", "monitor"):
        assert "expected async or sigbus or off" in refused(session, f"uffd A R 0 4 {mode}")


def programs() -> None:
    session = run("7.2", MERGED)
    act(session, "exec A S")
    assert {row[0] for row in session.state()["procs"]["A"]["ptes"]} == {"S"}


def weak_ordering() -> None:
    session = run("7.2", MERGED)
    for line in ("cpu0: barrier", "cpu0: reorder 1 2"):
        assert "unknown verb" in refused(session, line)


TRIED: dict[str, Callable[[], None]] = {
    "Other architectures": other_machines,
    "KSM's scanner": merging,
    "userfaultfd for missing": monitors,
    "exec's program": programs,
    "Weak memory ordering": weak_ordering,
}
"""By how the item begins."""
ABOUT_THE_PROGRAM = ("More than four CPUs at the same time; of every interleaving",)
"""What a person cannot ask a kernel for."""


def items() -> list[str]:
    """The items of the README's list."""
    text = README.read_text(encoding="utf-8").split("## What is not modelled\n")[1]
    return re.findall(r"^- (.*)", text.split("\n## ")[0], re.MULTILINE)


@pytest.mark.parametrize("start", TRIED)
def test_it_is_refused(start: str) -> None:
    assert any(item.startswith(start) for item in items())
    TRIED[start]()


def test_each_item_is_tried() -> None:
    for item in items():
        assert item.startswith((*TRIED, *ABOUT_THE_PROGRAM)), item
