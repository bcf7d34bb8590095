"""Two CPUs: a sample of pairs and schedules, and that wrong kernels would be noticed."""

from __future__ import annotations

import random

import pytest

from sandbox.kernels.base import Kernel
from sandbox.kernels.linux_6_12 import Linux612
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import AnonVma, Avc, Folio, Gen, Mapping, Mm, add, bits, load, store
from sandbox.mm.flags import PG_dirty, PG_locked
from sandbox.run.session import Session
from sandbox.scenario.language import parse_lines
from tests.pairs.campaign import Campaign, sample
from tests.pairs.cases import SETUPS, Pair

SETUP = {setup.name: setup for setup in SETUPS}


@pytest.mark.parametrize("kernel", ["6.6", "6.12", "7.2"])
def test_two_cpus_break_no_rule_and_end_as_in_some_order(kernel: str) -> None:
    campaign = Campaign(kernel)
    campaign.play(sample(kernel, 17), 2)
    assert not campaign.findings, "\n\n".join(campaign.findings[:3])
    assert campaign.pairs > 100
    assert campaign.schedules == 4 * campaign.pairs
    assert campaign.kinds["order"] > 0.9 * campaign.schedules / 2


# -- wrong kernels: one lock or one look less ----------------------------------------------------


class ScansUnlocked(Linux72):
    """Swap slots are found and filled without the cluster's lock."""

    def add_to_swap(self, folio: Folio) -> Gen[bool]:
        slot = yield from self.scan_swap_map(folio.nr_pages)
        yield from self.swap_cache_add(folio, slot)
        yield bits(folio.flags, PG_dirty)
        return True


class FillsUnlocked(Linux72):
    """A hole of a file is filled without looking whether it still is one."""

    def add_to_page_cache(self, folio: Folio, mapping: Mapping, index: int) -> Gen[int]:
        yield bits(folio.flags, PG_locked)
        yield add(folio._refcount, folio.nr_pages)
        yield store(folio.mapping, mapping)
        yield store(folio.index, index)
        slots = yield load(mapping.i_pages)
        for i in range(folio.nr_pages):
            yield store(slots + index + i, folio)
        yield add(mapping.nrpages, folio.nr_pages)
        yield from self.folio_add_lru(folio)
        return 0


class ShowsPiecesEarly(Linux72):
    """compound_head leads to a piece before it has a mapping, an index and flags."""

    def _split_huge_page_tail(self, folio: Folio, piece: Folio, order: int) -> Gen[None]:
        yield store(piece.page(0).compound_head, piece)
        yield from super()._split_huge_page_tail(folio, piece, order)


class GetsFrozen(Linux612):
    """Split takes a plain reference on what it finds without a lock."""

    def split_lookup(self, mm: Mm, addr: int, order: int) -> Gen[Folio | None]:
        _word, pte, pfn = yield from self.hw_walk(mm, addr)
        folio = yield from self.page_folio(Folio(pfn << 4).page(0))
        if not pte or folio.order <= order:
            return None
        yield from self.folio_get(folio)
        if not (yield bits(folio.flags, PG_locked)) & PG_locked:
            return folio
        yield from self.folio_put(folio)
        return None


@pytest.mark.parametrize(
    ("kernel", "setup", "first", "second"),
    [
        (ScansUnlocked, "two maps", "pageout A R 0 4", "pageout B Q 0 4"),
        (FillsUnlocked, "shared", "write A R 0 3", "write B R 1 4"),
        (ShowsPiecesEarly, "folio", "dontneed B R 0 2", "split A R 0 4"),
        (GetsFrozen, "folio", "split A R 0 4", "split A R 0 4"),
    ],
)
def test_a_kernel_without_a_lock_is_found_out(
    kernel: type[Kernel], setup: str, first: str, second: str
) -> None:
    pair = Pair(SETUP[setup], first, second)
    campaign = Campaign(kernel)
    campaign.sweep(pair, 1)
    assert campaign.findings
    upstream = Campaign(kernel.__bases__[0])
    upstream.play([pair], 20)
    assert not upstream.findings, upstream.findings[0]


# -- what neither the state nor a rule shows -----------------------------------------------------


@pytest.mark.parametrize("kernel", ["6.6", "6.9", "6.12", "7.2"])
def test_two_first_faults_agree_on_the_anon_vma(kernel: str) -> None:
    for seed in range(40):
        session = Session(kernel)
        mmap, block = parse_lines(
            "mmap A R 8p nohuge\ncpu0: write A R 0 2\ncpu1: write A R 4 6", "<test>"
        )
        session.do(mmap)
        session.begin(block)
        dice = random.Random(seed)
        while session.running:
            session.machine.step(dice.choice(session.machine.enabled()))
        session.finish()
        peek = session.machine.peek
        (mm,) = session.book.processes.values()
        (vma,) = session.ledger.vmas(mm)
        avc = Avc(peek(vma.anon_vma_chain))
        assert (peek(avc.vma), peek(avc.anon_vma)) == (vma, peek(vma.anon_vma))
        assert not peek(avc.same_vma)
        anon_vma = AnonVma(peek(vma.anon_vma))
        assert peek(anon_vma.rb_root) == peek(anon_vma.rb_last) == avc
        mappings = {peek(folio.mapping) for folio in session.ledger.live_folios()}
        assert mappings == {peek(vma.anon_vma)}


def test_files_and_regions_made_at_once_are_all_there() -> None:
    for seed in range(40):
        session = Session("7.2")
        for step in parse_lines("mmap A R 4p", "<test>"):
            session.do(step)
        for block in ("cpu0: memfd F 4p\ncpu1: memfd G 4p", "cpu0: mmap A S 4p\ncpu1: mmap A T 4p"):
            (step,) = parse_lines(block, "<test>")
            session.begin(step)
            dice = random.Random(seed)
            while session.running:
                session.machine.step(dice.choice(session.machine.enabled()))
            session.finish()
        assert set(session.book.files) == {"F", "G"}
        (mm,) = session.book.processes.values()
        assert {region.name for region in session.book.regions(mm)} == {"R", "S", "T"}
