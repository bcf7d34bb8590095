"""Lines as text: cutting, joining, wrapping, and what a terminal would act upon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtui.views.lines import clip, join, length, plain, pure_text, say, wrap_words
from mmtui.views.prose import prose_lines

TEXTS = st.text(max_size=80)


def test_clip_marks_what_is_missing() -> None:
    assert plain(clip(say("abcdef"), 4)) == "abc~"
    assert plain(clip(say("abcd"), 4)) == "abcd"


def test_join_merges_neighbours_of_one_token() -> None:
    assert join((("a", "x"), ("", "y"), ("b", "x"))) == (("ab", "x"),)


def test_wrapping_keeps_all_words() -> None:
    text = "one two three four five"
    lines = list(wrap_words(text, 10, " "))
    assert all(len(line) <= 10 for line in lines)
    assert " ".join(lines).split() == text.split()


@given(TEXTS, st.integers(1, 60))
def test_no_text_breaks_the_width(text: str, width: int) -> None:
    assert length(clip(say(text), width)) <= width
    assert all(len(line) <= max(width, 5) for line in wrap_words(text, width, " "))
    assert all(length(line) <= max(width, 8) for line in prose_lines(text, width))


@given(TEXTS)
def test_what_is_drawn_is_one_cell_a_character(text: str) -> None:
    shown = pure_text(text)
    assert shown.isprintable() or not shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("text", ["[0x1000]", "[/]", "[bold", "\\[x]", "a\nb", "\x1b[31m"])
def test_data_is_never_markup(text: str) -> None:
    assert length(say(text)) == len(pure_text(text))


def test_prose_is_markdown_without_its_marks() -> None:
    lines = [plain(line) for line in prose_lines("# Head\n\nIs `x` **so**?\n\n- one\n- two", 30)]
    assert lines == [" Head", "", " Is x so?", "", " - one", " - two"]


def test_a_number_at_the_start_of_a_line_is_not_always_a_list() -> None:
    lines = [
        plain(line) for line in prose_lines("for pages 1 to\n4. At the end\n\n1. one\n2. two", 40)
    ]
    assert lines == [" for pages 1 to 4. At the end", "", " 1. one", " 2. two"]


@pytest.mark.parametrize("width", [30, 50, 100])
def test_a_table_is_wrapped_within_its_columns(width: int) -> None:
    text = "| rule | what it says |\n|---|---|\n| I-05 | " + "mappings " * 8 + "|\n\nMore."
    lines = [plain(line) for line in prose_lines(text, width)]
    assert all(len(line) <= width for line in lines)
    assert " ".join(lines).count("mappings") == 8
    assert lines[-1] == " More."
    assert prose_lines("```\n| a |\n```", 20)[0] == ((" | a |", ""),)
