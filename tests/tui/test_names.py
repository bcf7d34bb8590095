"""Names of words and values are total: whatever the value, wherever the machine is."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtui.model.bench import Bench
from mmtui.model.changes import NO_CHANGES
from mmtui.model.script import open_source
from mmtui.views import status
from mmtui.views.lines import plain
from sandbox.errors import SandboxError
from sandbox.memory import AnonVma, Folio, Mapping, Mm, Page, Vma
from sandbox.scenario.language import CpuBlock, parse_action
from sandbox.truth.names.values import page_flags
from sandbox.truth.names.words import Words

PRESETS = ("3", "8", "17", "31", "44")
HANDLES = (int, Folio, Page, Mm, Vma, AnonVma, Mapping)


@cache
def done(preset: str) -> tuple[Bench, tuple[object, ...]]:
    """A preset done to its end, and every value that a word has there."""
    bench = Bench(open_source(preset))
    bench.run_to_end()
    cells = bench.session.machine.memory.cells
    return bench, tuple(set(cells))


def addresses(size: int) -> st.SearchStrategy[int]:
    near = st.integers(-4, size + 4096)
    return near | st.integers() | st.sampled_from([0, -1, 1 << 16, 1 << 64, 1 << 200])


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_value_has_a_name_at_every_position(data: st.DataObject) -> None:
    bench, values = done(data.draw(st.sampled_from(PRESETS)))
    bench.goto(data.draw(st.integers(0, bench.end)))
    words = Words(bench.session.ledger)
    if data.draw(st.booleans()):
        words = words.before(data.draw(st.integers(0, 1 << 20)))
    size = len(bench.session.machine.memory.cells)
    for _ in range(8):
        value = data.draw(addresses(size) | st.sampled_from(values))
        addr = data.draw(addresses(size))
        assert isinstance(value, int)
        for kind in HANDLES:
            assert words.thing(kind(value))
            assert words.value(addr, kind(value))
        assert words.name(addr)
        assert words.entry(value)
        assert words.vma(value).startswith("vma(")
        assert words.folio(value)
        assert words.page(value)
        assert words.proc(value)
        assert page_flags(value)
        op = data.draw(st.integers(-1, 20))
        assert words.event((op, addr, value, addr, value)[: data.draw(st.integers(0, 5))])
        assert words.thing([[[[[value]]]], (), {}, None, words])


def test_a_name_is_not_that_of_what_took_the_place() -> None:
    """The VMA of S stands where that of R stood; R's handle, kept from before, is not S."""
    bench = Bench(open_source("3"))
    bench.act(parse_action("mmap A Q 64K"))
    bench.act(parse_action("mmap A R 64K"))
    cells = bench.session.machine.memory.cells
    last = max(cell for cell in cells if isinstance(cell, Vma))
    assert Words(bench.session.ledger).vma(last) == "vma(A.R)"
    bench.back_action()
    size = bench.changes.size
    assert size <= last
    assert "vma(gone)" in plain(status.news(bench))
    bench.act(parse_action("mmap A S 64K"))
    words = Words(bench.session.ledger)
    assert words.vma(last) == "vma(A.S)"
    assert words.before(size).thing(Vma(last)) == "vma(gone)"


def random_move(bench: Bench, data: st.DataObject) -> None:
    choice = data.draw(st.integers(0, 6))
    branches = bench.session.machine.branches
    match choice:
        case 0:
            bench.step_event(data.draw(st.integers(1, 40)))
        case 1:
            bench.step_action()
        case 2:
            bench.goto(data.draw(st.integers(0, bench.end)))
        case 3:
            bench.back_action()
        case 4 if branches:
            bench.switch_branch(data.draw(st.sampled_from([b.number for b in branches])))
        case 5:
            lines = ["mmap A Z 64K", "fork A Y", "dontneed A R 0 4", "write A R 0 4"]
            bench.act(parse_action(data.draw(st.sampled_from(lines))))
        case _:
            action = parse_action("read A R 0 1")
            bench.act(CpuBlock((action._replace(cpu=1),), (), action.where))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_changes_are_the_difference_whatever_the_move(data: st.DataObject) -> None:
    bench = Bench(open_source("3"))
    bench.act(parse_action("reuse on"))
    memory = bench.session.machine.memory
    cells = memory.cells
    for _ in range(12):
        before, bench.changes = list(cells), NO_CHANGES
        kinds = bytes(memory.kinds)
        with suppress(SandboxError):
            random_move(bench, data)
        size = min(bench.changes.size, len(cells))
        assert size <= len(before)
        same = [a for a in range(size) if kinds[a] == memory.kinds[a] != 0]
        differ = {a: before[a] for a in same if before[a] != cells[a]}
        olds = bench.changes.olds
        assert {a: olds[a] for a in same if a in olds} == differ
        plain(status.news(bench))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_way_back_has_a_message(preset: str) -> None:
    bench, _ = done(preset)
    bench.goto(bench.end)
    while bench.session.position:
        bench.back_action()
        assert plain(status.news(bench)) is not None
        plain(status.render(status.view(bench), 80))
