"""Words are found by handles or named offsets; a moved field moves everywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sandbox.machine import offsets
from sandbox.machine.fields import FIELDS, Field, Struct
from sandbox.machine.memory import AnonVma, Folio, Mapping, MemoryImage, Mm, Page, Vma

ROOT = Path(__file__).parent.parent
WATCHED = ("sandbox/truth", "sandbox/rules", "sandbox/scenario", "mmtui")
NEIGHBOURS = {("sandbox/rules/entries.py", "cells[addr - 1]"),
              ("sandbox/rules/entries.py", "cells[addr + 1]"),
              ("sandbox/rules/blocks.py", "cells[addr - 1]"),
              ("sandbox/rules/blocks.py", "cells[addr + 1]")}  # fmt: skip
"""The entries beside one, in the same table."""


def files() -> list[Path]:
    """Every file that reads memory by address and is no kernel text."""
    found: list[Path] = []
    for name in WATCHED:
        path = ROOT / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def literal(node: ast.AST) -> bool:
    """Whether a number is added to, or taken from, an address."""
    return any(
        isinstance(part, ast.BinOp)
        and isinstance(part.op, ast.Add | ast.Sub)
        and any(isinstance(side, ast.Constant) for side in (part.left, part.right))
        for part in ast.walk(node)
    )


def mistakes(text: str) -> list[str]:
    """Words read at a number from an address, and frames shifted by numbers."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("cells"):
            if literal(node.slice):
                found.append(f"cells[{ast.unparse(node.slice)}]")
        elif (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.LShift)
            and isinstance(node.left, ast.BinOp)
            and isinstance(node.left.op, ast.RShift)
            and isinstance(node.right, ast.Constant)
        ) or (isinstance(node, ast.Constant) and node.value in (511, 513, 514)):
            found.append(ast.unparse(node))
    return found


def test_nothing_reads_a_word_at_a_number_from_its_object() -> None:
    found = {
        (str(path.relative_to(ROOT)), mistake)
        for path in files()
        for mistake in mistakes(path.read_text(encoding="utf-8"))
    }
    assert found == NEIGHBOURS


@pytest.mark.parametrize(
    "text",
    ["cells[page + 6]", "self.cells[head + 9] + 1", "cells[(a & M) + 513]", "pte >> 16 << 4",
     "ledger.cells[d + 1024 : d + 2048]", "cells[addr - 8 + X]", "x = 514"],
)  # fmt: skip
def test_a_number_would_be_found(text: str) -> None:
    assert mistakes(text)


@pytest.mark.parametrize(
    "text", ["cells[page.flags] + 1", "cells[head + MAPCOUNT] - 1", "pte >> A << B", "cells[1]"]
)
def test_names_are_none(text: str) -> None:
    assert not mistakes(text)


def fields_of(struct: Struct) -> list[Field]:
    """The fields of a structure that have a word of their own."""
    return [f for f in FIELDS if f.struct is struct and not f.per_index and f.name.isidentifier()]


@pytest.mark.parametrize(
    ("struct", "handle"),
    [(Struct.PAGE, Page), (Struct.PAGE, Folio), (Struct.MM, Mm), (Struct.VMA, Vma),
     (Struct.ANON_VMA, AnonVma), (Struct.MAPPING, Mapping)],
)  # fmt: skip
def test_a_handle_has_its_fields_where_the_layout_has_them(
    struct: Struct, handle: type[int]
) -> None:
    memory = MemoryImage()
    base = memory.allocate(struct, 2 if struct is Struct.PAGE else 0)
    object_ = handle(base)
    named = {f.name: f for f in fields_of(struct)}
    shared = [name for name in named if hasattr(object_, name)]
    assert shared
    for name in shared:
        addr = getattr(object_, name)
        assert memory.field_at(addr).name == name


def test_the_offsets_are_those_of_the_layout() -> None:
    memory = MemoryImage()
    folio = memory.allocate(Struct.PAGE, 2)
    assert memory.field_at(folio + offsets.ENTIRE_MAPCOUNT).name == "_entire_mapcount"
    assert memory.field_at(folio + offsets.DEFERRED_NODE).name == "_deferred_list"
    for struct, prefix in ((Struct.PTE_TABLE, ""), (Struct.PMD_TABLE, "pmd_")):
        table = memory.allocate(struct)
        found = [
            memory.field_at(table + at).name
            for at in (offsets.PT_LOCK, offsets.PT_MM, offsets.PT_START)
        ]
        assert found == [f"{prefix}ptl", f"{prefix}pt_mm", f"{prefix}pt_start"]
    table = memory.allocate(Struct.SWAP_TABLE)
    assert memory.field_at(table + offsets.TABLE_CACHE).name == "swap_cache"
    last = table + offsets.TABLE_CACHE + offsets.SWAPFILE_CLUSTER - 1
    assert memory.field_at(last).name == "swap_cache"
    assert memory.field_at(table + offsets.TABLE_FIRST).name == "first_slot"
