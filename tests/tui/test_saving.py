"""Saving: never over somebody else's work, never half of a file, and the person is told."""

from __future__ import annotations

import errno
import os
import stat
from itertools import count
from pathlib import Path

import pytest

from mmtui.app import MmtuiApp
from mmtui.commands.acting import parse
from mmtui.model.bench import Bench
from mmtui.model.files import replace_file
from mmtui.model.script import open_source
from mmtui.model.session_list import session_folder
from mmtui.model.sessions import saved_text
from mmtui.model.workbook import Workbook
from sandbox.errors import UsageError
from sandbox.scenario.language import parse_scenarios
from tests.faults import ERRORS, Faults, faults
from tests.tui.support import SIXTEEN, machine, state_of
from tests.tui.test_app import message, type_line

__all__ = ["faults"]


@pytest.fixture
def book() -> Workbook:
    return Workbook(machine("7.2", *SIXTEEN))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def opened(path: Path) -> Bench:
    book = Workbook(Bench(open_source(str(path))))
    book.begin()
    return book.bench


# -- places ------------------------------------------------------------------------------


def test_what_was_saved_is_everything(book: Workbook, tmp_path: Path) -> None:
    bench = book.bench
    bench.act(parse("fork A B"))
    bench.back_action()
    bench.act(parse("write A R 0 1"))
    bench.back_event(4)
    book.save(f"{tmp_path}/mine.scn")
    assert state_of(opened(tmp_path / "mine.scn")) == state_of(bench)
    assert parse_scenarios((tmp_path / "mine.scn").read_text(), "f")[0].steps


def test_what_mmtui_wrote_is_written_over_and_nothing_else(book: Workbook, tmp_path: Path) -> None:
    file = tmp_path / "mine.scn"
    book.save(str(file))
    book.bench.act(parse("fork A B"))
    book.save(str(file))
    assert "fork A B" in file.read_text()
    file.write_text(file.read_text().replace("scenario", "# a note of mine\nscenario"))
    with pytest.raises(UsageError, match="save!"):
        book.save(str(file))
    assert "a note of mine" in file.read_text()
    book.save(str(file), insist=True)
    assert "a note of mine" not in file.read_text()


def test_what_was_saved_before_there_was_a_sum_is_ours_too(book: Workbook, tmp_path: Path) -> None:
    file = tmp_path / "old.scn"
    file.write_text("# mmtui machine --kernel 7.2\nscenario machine\nmmap A R 64K\nend\n")
    book.save(str(file))
    file.write_text("# mmtui machine --kernel 7.2\nscenario machine\nmmap A R 64K # why\nend\n")
    with pytest.raises(UsageError):
        book.save(str(file))


@pytest.mark.parametrize("text", ["", "precious\n", "scenario y\nabout text\nmmap Z Q 4K\nend\n"])
def test_files_of_others_stay(book: Workbook, tmp_path: Path, text: str) -> None:
    file = tmp_path / "doc.scn"
    file.write_text(text)
    with pytest.raises(UsageError, match="not written by mmtui"):
        book.save(str(file))
    assert file.read_text() == text


def test_links_and_modes_stay(book: Workbook, tmp_path: Path) -> None:
    real, soft, hard = tmp_path / "real.scn", tmp_path / "soft.scn", tmp_path / "hard.scn"
    book.save(str(real))
    real.chmod(0o664)
    soft.symlink_to("real.scn")
    book.bench.act(parse("fork A B"))
    book.save(str(soft))
    assert soft.is_symlink()
    assert "fork A B" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o664
    hard.hardlink_to(real)
    book.bench.act(parse("exit B"))
    book.save(str(hard))
    assert real.stat().st_ino == hard.stat().st_ino
    assert "exit B" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o664
    assert names(tmp_path) == ["hard.scn", "real.scn", "soft.scn"]


def test_a_link_to_nothing_yet_is_followed(book: Workbook, tmp_path: Path) -> None:
    (tmp_path / "link.scn").symlink_to("new.scn")
    book.save(f"{tmp_path}/link.scn")
    assert (tmp_path / "new.scn").read_text() == saved_text(book.bench)


def test_a_new_file_has_the_mode_of_any_new_file(book: Workbook, tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    book.save(f"{tmp_path}/new.scn")
    assert (tmp_path / "new.scn").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_places_that_are_no_files_are_refused(book: Workbook, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for place in (
        "fifo", "folder", ".", "x/y/z.scn", "loop", "n" * 300, "a\0b", "folder/",
    ):  # fmt: skip
        with pytest.raises(UsageError):
            book.save(f"{tmp_path}/{place}", insist=True)
    for place in ("~nobody-of-that-name/x", "/proc/x", "/dev/null", "/"):
        with pytest.raises(UsageError):
            book.save(place, insist=True)
    assert names(tmp_path) == ["fifo", "folder", "loop"]


# -- faults ------------------------------------------------------------------------------


@pytest.mark.parametrize("forever", [False, True])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("links", [0, 1, 2])
def test_after_every_fault_the_old_file_or_the_new_one_is_whole(
    faults: Faults, tmp_path: Path, links: int, error: int, *, forever: bool
) -> None:
    book = Workbook(machine("7.2", *SIXTEEN))
    file = tmp_path / "mine.scn"
    if links:
        book.save(str(file))
    if links > 1:
        (tmp_path / "other.scn").hardlink_to(file)
    old = file.read_text() if links else None
    book.bench.act(parse("fork A B"))
    new = saved_text(book.bench)
    kept = names(tmp_path)
    for at in count(1):
        told = ""
        with faults.failing(at, error, forever=forever):
            try:
                book.save(str(file))
            except UsageError as refused:
                told = str(refused)
        if not faults.failed:
            break
        present = file.read_text() if file.exists() else None
        whole = present in (old, new)
        copies = [(tmp_path / name).read_text() for name in names(tmp_path) if name[0] == "."]
        assert whole or (links > 1 and old in copies and ".mine.scn" in told)
        assert told
        assert os.strerror(error) in told
        assert (names(tmp_path) == kept or present == new) or copies
        for name in set(names(tmp_path)) - {"mine.scn", "other.scn"}:
            assert forever  # a copy that could not be put back stays, and only then
            (tmp_path / name).unlink()
        if links:
            file.write_text(old or "")
        else:
            file.unlink(missing_ok=True)
    assert at > 3
    assert file.read_text() == new


@pytest.mark.parametrize("forever", [False, True])
@pytest.mark.parametrize("error", ERRORS)
def test_after_every_fault_the_session_is_whole_and_gone_on_with(
    faults: Faults, error: int, *, forever: bool
) -> None:
    for at in count(1):
        book = Workbook(machine("7.2"))
        bench = book.bench
        hit: list[str] = []
        lines: list[str] = []
        for line in ("mmap A R 64K", "write A R 0 16", None, "fork A B"):
            with faults.failing(at - len(hit) if not hit else 1 << 30, error, forever=forever):
                if line is None:
                    bench.back_action()
                else:
                    bench.act(parse(line))
            lines.append(line or "")
            hit += faults.failed
            if faults.failed:
                assert book.log.error is not None
                with faults.failing(1, error, forever=True), pytest.raises(UsageError):
                    book.keep()
            if book.log.path is not None:
                parse_scenarios(book.log.path.read_text(), "session")
        book.keep()  # the fault is over
        book.close()
        assert book.log.path is not None
        assert state_of(opened(book.log.path)) == state_of(bench)
        assert all(name.endswith(".scn") for name in names(session_folder()))
        if not hit:
            break
    assert at > 5


# -- the application ---------------------------------------------------------------------


async def test_what_cannot_be_kept_stops_leaving_until_it_is_insisted_on(faults: Faults) -> None:
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(120, 30)) as pilot:
        with faults.failing(1, errno.ENOSPC, forever=True):
            await pilot.press("n")
            assert "not on file" in message(app)
            await pilot.press("q")
            assert "No space left" in message(app)
            assert ":save FILE" in message(app)
            assert app.is_running
            await pilot.press("q")
    assert app.return_code == 0


async def test_opening_and_switching_wait_for_the_session_too(
    faults: Faults, tmp_path: Path
) -> None:
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("n")
        with faults.failing(1, errno.EIO, forever=True):
            await pilot.press("n")
            for line in ("open 2", "kernel 6.9"):
                await type_line(pilot, line)
                assert "not on file" in message(app)
                assert app.desk is not None
                assert app.desk.bench.source.name == "seed-v2-order"
                assert app.desk.bench.kernel == "7.2"
            await type_line(pilot, "kernel 6.9")  # insists
            assert app.desk.bench.kernel == "6.9"
        await type_line(pilot, f"save {tmp_path}/mine.scn")
        await pilot.press("q")
    assert (tmp_path / "mine.scn").exists()


async def test_what_is_saved_elsewhere_may_be_left(faults: Faults, tmp_path: Path) -> None:
    session_folder().parent.mkdir(parents=True)
    session_folder().touch()  # no folder can be made
    app = MmtuiApp("1", "7.2")
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("n", "q")
        assert app.is_running
        await type_line(pilot, f"save {tmp_path}/mine.scn")
        await pilot.press("q")
    assert app.return_code == 0


@pytest.mark.parametrize("refused", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
def test_a_file_system_without_nameless_files_has_one_with_a_name(
    refused: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = os.open, []

    def opened(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            asked.append(path)
            raise OSError(refused, os.strerror(refused))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", opened)
    replace_file(str(tmp_path / "x"), b"new")
    assert asked == [str(tmp_path)]
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("x", b"new")]
