"""An edited file of one's own is named again: the place is kept, nothing old is shown or run."""

from __future__ import annotations

import linecache
import os
from pathlib import Path

import pytest

from mmtui.app import MmtuiApp
from mmtui.commands.registry import execute
from mmtui.model.bench import Bench
from mmtui.model.script import empty_source
from mmtui.model.workbook import Workbook
from mmtui.screens.choose import kernel_choices
from mmtui.screens.main import MainScreen
from mmtui.views.lines import plain
from sandbox import kernels
from sandbox.errors import PatchError, UnknownKernelError
from sandbox.kernels import kernel_by_name, name_kernel
from sandbox.scenario.language import parse_action
from tests.test_own_kernels import HEAD
from tests.tui.support import SIXTEEN, pane

CALL = "super().folio_try_dup_anon_rmap_ptes(folio, page, nr, dst_mm, src_vma)"
FIRST = f"""\
yield load(folio.flags)
yield load(folio._refcount)
yield load(folio.index)
return (yield from {CALL})
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel's file, of which nothing is named yet."""
    monkeypatch.setattr(kernels, "_named", {})
    write(tmp_path / "k.py", FIRST)
    return tmp_path / "k.py"


def write(file: Path, body: str, before: str = "") -> None:
    """Write the kernel anew; as large or as old as it was is no matter."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    file.write_text(before + HEAD + lines, encoding="utf-8")
    os.utime(file, ns=(1, 1))


def in_the_function(name: str) -> Workbook:
    """A workbook whose fork stands at the third event of the person's function."""
    name_kernel(name)
    bench = Bench(empty_source(), name)
    for line in SIXTEEN:
        bench.act(parse_action(line))
    bench.act(parse_action("fork A B"), paused=True)
    while bench.session.stack()[-1].function != "folio_try_dup_anon_rmap_ptes":
        bench.step_event()
    bench.step_event(2)
    return Workbook(bench)


def reloaded(book: Workbook, name: str) -> Bench:
    """What `:kernel NAME` does."""
    name_kernel(name)
    book.go_on_with(book.replay_on(name))
    return book.bench


def test_the_same_text_named_again_stands_at_the_same_event(file: Path) -> None:
    book = in_the_function(f"{file}:K")
    old = book.bench.session
    stack = [(frame.function, frame.line) for frame in old.stack()]
    for _ in range(3):
        new = reloaded(book, f"{file}:K").session
        assert new is not old
        assert type(new.cpus[0]) is kernel_by_name(f"{file}:K")
        assert new.position == old.position
        assert [(frame.function, frame.line) for frame in new.stack()] == stack
        assert list(new.machine.events) == list(old.machine.events)


@pytest.mark.parametrize(
    ("body", "fewer"),
    [
        (f"# longer\n{FIRST}", 0),
        (f"yield load(folio.flags)\nyield load(folio._mapcount)\nreturn (yield from {CALL})\n", 1),
        (f"yield load(folio.index)\nreturn (yield from {CALL})\n", 2),
        (f"return (yield from {CALL})\n", 2),
    ],
    ids=["moved", "second", "first", "none"],
)
def test_an_edited_file_stands_where_it_first_does_something_else(
    file: Path, body: str, fewer: int
) -> None:
    book = in_the_function(f"{file}:K")
    position = book.bench.session.position
    write(file, body)
    new = reloaded(book, f"{file}:K")
    assert new.refusal is None
    assert new.session.position == position - fewer
    new.step_action()
    assert new.idle
    new.back_action()
    assert new.idle


def test_naming_it_again_and_again_never_brings_an_older_text_back(file: Path) -> None:
    book = in_the_function(f"{file}:K")
    for field in ("_mapcount", "private", "_pincount", "index"):
        write(file, FIRST.replace("folio.index", f"folio.{field}"))
        bench = reloaded(book, f"{file}:K")
        line = linecache.getline(str(file), bench.session.stack()[-1].line)
        assert line == f"        yield load(folio.{field})\n"


def test_going_to_another_kernel_and_back_runs_the_text_of_now(file: Path) -> None:
    book = in_the_function(f"{file}:K")
    book.go_on_with(book.replay_on("7.2"))
    write(file, f"yield load(folio.index)\nreturn (yield from {CALL})\n")
    bench = reloaded(book, f"{file}:K")
    assert isinstance(bench.session.cpus[0], kernel_by_name(f"{file}:K"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class K(:\n", r"k\.py:1:9: SyntaxError"),
        ("1 / 0\n", r"k\.py:1:1: ZeroDivisionError"),
        (f"{HEAD}        self.n = 1\n        yield load(folio.flags)\n", r"k\.py:12:9: self\.n is"),
        (f"{HEAD}        return True\n", r"k\.py:11:5: .*plain function"),
        (None, "No such file"),
    ],
)
def test_of_a_broken_file_the_old_one_stays_in_use(file: Path, text: str | None, says: str) -> None:
    name = f"{file}:K"
    book = in_the_function(name)
    kernel, lines = kernel_by_name(name), linecache.getlines(str(file))
    file.unlink()
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(UnknownKernelError, match=says):
        name_kernel(name)
    assert kernel_by_name(name) is kernel
    assert linecache.getlines(str(file)) == lines
    assert "yield load(folio.index)" in lines[book.bench.session.stack()[-1].line - 1]
    assert "yield load(folio.index)" in pane(book.bench, "source", 200)
    book.bench.step_action()
    assert book.bench.idle


def test_what_the_edited_text_cannot_do_is_a_refusal_and_not_an_end(file: Path) -> None:
    book = in_the_function(f"{file}:K")
    book.bench.step_action()
    write(file, "raise ValueError('edited')\nyield\n")
    bench = reloaded(book, f"{file}:K")
    assert "edited" in str(bench.refusal)
    assert [step.action.text for step in bench.session.steps][-1] == "fork A B"
    bench.back_action()
    write(file, FIRST)
    assert reloaded(book, f"{file}:K").refusal is None


def test_the_kernel_named_is_among_those_to_choose_from(file: Path) -> None:
    book = in_the_function(f"{file}:K")
    rows = [choice.value for choice in kernel_choices(book.bench)]
    assert rows.count(f"{file}:K") == 1


async def test_the_source_pane_shows_the_edited_text(file: Path) -> None:
    app = MmtuiApp(empty_source(), f"{file}:K")
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, MainScreen)
        for line in (*SIXTEEN, "fork A B"):
            screen.bench.act(parse_action(line), paused=line.startswith("fork"))
        while screen.bench.session.stack()[-1].function != "folio_try_dup_anon_rmap_ptes":
            screen.bench.step_event()
        screen.bench.step_event()
        screen.moved()
        write(file, f"# edited\n{FIRST}", before="# a line more\n" * 40)
        with screen.guard():
            execute(screen, f"kernel {file}:K")
        await pilot.pause()
        text = pane(screen.bench, "source", 200)
        assert "# edited" in text
        assert ">  54         yield load(folio._refcount)" in text
        file.write_text("class K(:\n")
        with screen.guard():
            execute(screen, f"kernel {file}:K")
        await pilot.pause()
        assert "k.py:1:9: SyntaxError" in plain(screen.message.line)
        await pilot.press("s", "n")
        assert screen.bench.idle


def test_a_pane_of_a_text_that_was_cut_is_drawn(file: Path) -> None:
    book = in_the_function(f"{file}:K")
    linecache.cache[str(file)] = (1, None, ["# cut\n"], str(file))
    assert "# cut" in pane(book.bench, "source", 200)


def test_a_patch_error_is_an_unknown_kernel() -> None:
    assert issubclass(PatchError, UnknownKernelError)
