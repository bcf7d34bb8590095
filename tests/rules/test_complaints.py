"""What the kernel's own checks would print: from mistakes, and from no kernel that has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from mmtui.exit_codes import ExitCode
from mmtui.headless.run import COMPLAINTS_OF_A_STEP
from mmtui.headless.run import run as run_document
from mmtui.views import rules as pane
from mmtui.views.lines import plain
from sandbox.kernels import name_kernel
from sandbox.kernels.base import Kernel
from sandbox.kernels.linux_6_6 import Linux66
from sandbox.kernels.linux_6_12 import Linux612
from sandbox.memory import Gen, Page, load
from sandbox.mm.memory.fault import VmFault
from tests.engine import wrong_kernels as wrong
from tests.engine.support import LARGE, SMALL, run
from tests.rules import wrong_kernels, wrong_places


class UnmapsZeroPage(Linux612):
    """Zap takes the zero page for a normal one."""

    def vm_normal_page(self, pte: int) -> Gen[Page | None]:
        page = Page(pte >> 16 << 4)
        yield load(page.flags)
        return page


class ForgetsCharge(Linux66):
    """Zap forgets to lower rss."""

    def add_mm_rss_vec(self, mm: object, rss: object) -> Gen[None]:
        return
        yield  # pragma: no cover - makes this a generator


class ReusesShared(Linux66):
    """A write fault makes an entry writable and asks nobody."""

    def do_wp_page(self, vmf: VmFault) -> Gen[int]:
        yield from self.wp_page_reuse(vmf)
        return 0


class Told(NamedTuple):
    """A kernel with a mistake, what to do on it, and what it prints where."""

    kernel: type[Kernel]
    lines: str
    name: str
    text: str
    """Part of the line."""
    function: str


CASES = (
    Told(wrong.ForgetsRmap, f"{LARGE}\nexit A", "BUG: Bad page state",
         "page dumped because: nonzero mapcount", "free_pages_prepare"),
    Told(wrong.ForgetsRmap, f"{LARGE}\nexit A", "BUG: Bad page state",
         "page dumped because: nonzero nr_pages_mapped", "free_pages_prepare"),
    Told(wrong.PutsTwice, f"{SMALL}\nexit A", "kernel BUG: put_page_testzero",
         "VM_BUG_ON_PAGE(page_ref_count(page) == 0, page)", "free_pages_prepare"),
    Told(wrong.PutsTwice, f"{SMALL}\nexit A", "BUG: Bad page state",
         "page dumped because: nonzero _refcount", "free_pages_prepare"),
    Told(wrong.RemovesRmapTwice, f"{LARGE}\nexit A", "BUG: Bad page map", "in process A: F1",
         "folio_remove_rmap_ptes"),
    Told(ForgetsCharge, f"{SMALL}\nexit A", "BUG: Bad rss-counter state",
         "type:MM_ANONPAGES val:4", "exit_mm"),
    Told(wrong_places.ForgetsSwapEntries, f"swap on\n{SMALL}\npageout A R 0 4\nfork A B\nexit B",
         "BUG: Bad rss-counter state", "type:MM_SWAPENTS val:-4", "exit_mm"),
    Told(wrong.SharesPinned, f"{SMALL}\npin A R 1 2 p w\nfork A B\nunpin p",
         "WARNING: sanity_check_pinned_pages", "!PageAnonExclusive(page)", "sys_unpin"),
    Told(wrong_kernels.UnfreezesWithoutFreezing, "mthp 2M madvise\nmmap A R 2M\ntouch A R 0 1 w\n"
         "split A R 0 1", "kernel BUG: page_ref_unfreeze", "page_ref_count(page) != 0",
         "split_frozen"),
    Told(ReusesShared, f"{SMALL}\nfork A B\nwrite A R 0 1", "kernel BUG: wp_page_reuse",
         "!PageAnonExclusive(page)", "wp_page_reuse"),
    Told(UnmapsZeroPage, "mmap A Z 4K nohuge\nread A Z 0 1\nfork A B\nexit A",
         "WARNING: __folio_rmap_sanity_checks", "is_zero_folio(folio)", "folio_remove_rmap_ptes"),
    Told(wrong_kernels.ReusesTwiceMapped, f"{LARGE}\nfork A B\nwrite A R 0 1",
         "WARNING: __wp_can_reuse_large_anon_folio", "folio_large_mapcount(folio) > folio_nr_pages",
         "_wp_can_reuse_large_anon_folio"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel.__name__}-{case.name}")
def test_a_mistake_is_told_as_the_kernel_tells_it(case: Told) -> None:
    session = run(case.kernel, case.lines)
    told = [c for c in session.rules.complaints if c.name == case.name and case.text in c.text]
    assert told
    assert told[0].function == case.function
    assert all(c.text.startswith(c.name) for c in session.rules.complaints)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel.__name__}-{case.name}")
def test_without_the_mistake_nothing_is_told(case: Told) -> None:
    assert not run(case.kernel.__bases__[0], case.lines).rules.complaints


def test_what_is_told_follows_going_back() -> None:
    session = run(wrong.ForgetsRmap, f"{LARGE}\nexit A")
    told = list(session.rules.complaints)
    assert len(told) == 17  # sixteen pages with a mapcount, and the word in the first tail
    session.goto(told[0].event)
    assert not session.rules.complaints
    session.goto(told[0].event + 1)
    assert session.rules.complaints == [c for c in told if c.event == told[0].event]
    session.goto(session.end)
    assert session.rules.complaints == told


WRONG = """\
from sandbox.kernels.linux_6_9 import Linux69
from sandbox.memory import load


class Forgetful(Linux69):
    \"\"\"Zap does not lower mapcounts.\"\"\"

    def folio_remove_rmap_ptes(self, folio, page, nr, vma):
        yield load(folio.flags)
"""


@pytest.fixture
def forgetful(tmp_path: Path) -> tuple[str, str]:
    """A scenario, and a person's own kernel that its exit makes the kernel complain on."""
    kernel, scenario = tmp_path / "forgetful.py", tmp_path / "exit.scn"
    kernel.write_text(WRONG, encoding="utf-8")
    scenario.write_text(f"scenario exit\n{LARGE}\nexit A\nend\n", encoding="utf-8")
    name = f"{kernel}:Forgetful"
    name_kernel(name)
    return str(scenario), name


def test_text_and_json_have_the_lines(
    forgetful: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    scenario, kernel = forgetful
    assert run_document(scenario, kernel, None, as_json=True, events=True) is ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    first = document["complaints"][0]
    assert first["name"] == "BUG: Bad page state"
    assert (first["step"], first["function"]) == (4, "free_pages_prepare")
    assert first["text"] in document["events"][first["event"]]["complaints"]
    run_document(scenario, kernel, None, as_json=False, events=False)
    text = capsys.readouterr().out.splitlines()
    lines = [line for line in text if line.startswith("kernel in step 4: ")]
    assert len(lines) == COMPLAINTS_OF_A_STEP + 1
    assert lines[0].startswith("kernel in step 4: BUG: Bad page state in process A")
    assert lines[-1] == f"kernel in step 4: {len(document['complaints']) - 4} lines more"


def test_a_run_without_complaints_says_nothing_of_them(
    forgetful: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    run_document(forgetful[0], "6.9", None, as_json=True, events=False)
    assert "complaints" not in json.loads(capsys.readouterr().out)


def test_the_pane_has_the_last_lines() -> None:
    session = run(wrong.ForgetsRmap, f"{LARGE}\nexit A")
    told = [" ".join(c.text.split()) for c in session.rules.complaints[-pane.COMPLAINTS :]]
    seen = pane.RulesView(pane.listed(session.rules), 0, 1, tuple(told))
    shown = [plain(line).strip() for line in pane.complaint_lines(seen, 200)]
    assert [line for line in shown if line.startswith("BUG: ")] == told
