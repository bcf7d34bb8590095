"""The table of terms: that it is whole, true of the tables it rests on, and fresh."""

from __future__ import annotations

import pytest

from mmtui.views.explain import explain_doc, terms_of
from mmtui.views.lines import plain
from mmtui.views.marks import marks_of
from mmtui.views.panes import document
from sandbox.explain import TERMS, find, readers, terms_in, writers_of
from sandbox.explain.table import WRITERS
from sandbox.explain.writers import main, writers_text
from sandbox.kernels import kernel_by_name
from sandbox.mm import flags
from sandbox.rules import RULES
from sandbox.truth.names.functions import is_kernels
from sandbox.truth.names.values import FLAG_NAMES, PTE_BITS, VMA_NOTES
from tests.tui.support import SIXTEEN, machine, preset


def test_who_changes_what_is_what_the_kernels_text_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`python -m sandbox.explain.writers` writes it anew."""
    assert WRITERS.read_text(encoding="ascii") == writers_text()
    monkeypatch.setattr("sandbox.explain.writers.writers_text", lambda: "")
    assert main(["--check"]) == 1


def test_every_function_named_is_a_kernels() -> None:
    named = {name for term in TERMS.values() for name in writers_of(term)}
    assert len(named) > 200
    assert all(is_kernels(name) or is_kernels(name.removeprefix("_")) for name in named)


def test_those_who_change_some_terms_are_found() -> None:
    assert "folio_put" in writers_of(TERMS["_refcount"])
    assert "folio_try_dup_anon_rmap_pte" in writers_of(TERMS["AnonExclusive"])
    assert writers_of(TERMS["write_protect_seq"]) == ("copy_page_range",)
    assert "deferred_split_folio" in writers_of(TERMS["partially_mapped"])


def test_every_flag_that_panes_show_is_a_term() -> None:
    shown = [name for table in (FLAG_NAMES, PTE_BITS, VMA_NOTES) for name, _ in table]
    assert [name for name in shown if find(name) is None] == []


def test_every_rule_but_one_reads_a_term_and_terms_read_rules() -> None:
    read = {rule.id for term in TERMS.values() for rule in readers(term)}
    assert set(RULES) - read == set()
    assert [rule.id for rule in readers(TERMS["NR_ANON_MAPPED"])] == ["I-50"]
    assert "I-05" in [rule.id for rule in readers(TERMS["_mapcount"])]


@pytest.mark.parametrize(
    ("term", "member", "release"),
    [
        ("_large_mapcount", "has_large_mapcount", "6.10"),
        ("_mm_id", "has_mm_id", "6.15"),
        ("CONT", "has_contpte", "6.9"),
        ("UFFD_WP", "has_uffd_wp", "6.10"),
        ("zeromap", "has_swap_zeromap", "6.12"),
    ],
)
def test_the_release_of_a_term_is_that_of_the_kernels(term: str, member: str, release: str) -> None:
    assert TERMS[term].since.startswith(release)
    numbers = {name: [int(n) for n in name.split(".")] for name in ("6.6", "6.9", "6.12", "6.15")}
    since = [int(n) for n in release.split(".")]
    for name, version in numbers.items():
        assert bool(getattr(kernel_by_name(name), member)) == (version >= since), name


def test_no_two_terms_share_a_word() -> None:
    words = [word for term in TERMS.values() for word in (term.name, *term.aliases)]
    assert sorted(words) == sorted(set(words))
    names = set(vars(flags)) - {"PG_reserved"}
    known = {write for term in TERMS.values() for write in term.writes}
    assert {word for word in known if word.startswith(("PG_", "VM_", "MMF_"))} <= names


def test_words_of_a_pane_lead_to_terms() -> None:
    assert [term.name for term in terms_in("F1.page5._mapcount +1")] == ["_mapcount"]
    assert [term.name for term in terms_in("RW D Y C", letters=True)] == [
        "WRITE", "DIRTY", "AF", "CONT",
    ]  # fmt: skip
    assert terms_in("C") == []


@pytest.mark.parametrize(
    ("name", "first", "others"),
    [
        ("tables", "WRITE", {"CONT", "AF", "AnonExclusive"}),
        ("folios", "_refcount", {"_entire_mapcount", "_pincount", "uptodate"}),
        ("processes", "rss", {"hugepage"}),
    ],
)
def test_the_words_at_the_cursor_are_explained(name: str, first: str, others: set[str]) -> None:
    bench = machine("7.2", *SIXTEEN)
    doc = document(name, bench, marks_of(bench), 90, 30)
    found = [term.name for term in terms_of(doc, letters=name == "tables")]
    assert first in found[:6]
    assert others <= set(found)


def test_a_term_is_told_whole() -> None:
    text = "\n".join(map(plain, explain_doc([], "_large_mapcount", 70).lines))
    assert text.startswith(" _large_mapcount")
    for part in ("biased", "since       6.10", "read by", "I-13", "changed by", "kernel"):
        assert part in text, part
    assert "nothing found" in plain(explain_doc([], "xyzzy", 40).lines[0])
    assert "I-21" in "\n".join(map(plain, explain_doc([], "sees the other", 70).lines))


def test_no_line_of_an_explanation_is_wider_than_the_screen() -> None:
    bench = preset("3", "ryan-v2")
    doc = document("folios", bench, marks_of(bench), 60, 30)
    for width in (20, 40, 100):
        lines = explain_doc(terms_of(doc, letters=False), "", width).lines
        assert max(len(plain(line)) for line in lines) <= width
