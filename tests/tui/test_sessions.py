"""The file of a session: everything comes back from it, at any moment it is looked at."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from mmtui.commands.acting import parse
from mmtui.model.bench import Bench
from mmtui.model.script import open_source
from mmtui.model.session_list import list_sessions, session_folder, session_to_continue
from mmtui.model.session_mark import is_session
from mmtui.model.session_text import Head, parse_session, section_text, tail
from mmtui.model.workbook import Workbook
from sandbox.errors import SandboxError, UsageError
from sandbox.scenario.language import parse_scenarios
from tests.tui.support import SIXTEEN, machine, preset, state_of


def reopened(path: Path, kernel: str | None = None) -> Workbook:
    """Open a session's file as another program would."""
    source = open_source(str(path))
    book = Workbook(Bench(source, kernel))
    book.begin()
    return book


def begun(*lines: str, kernel: str = "7.2") -> Workbook:
    """A book on an empty machine after some actions."""
    book = Workbook(machine(kernel))
    for line in lines:
        book.bench.act(parse(line))
    return book


def the_file() -> Path:
    (path,) = session_folder().iterdir()
    return path


def test_every_action_is_on_file_when_it_is_done() -> None:
    book = begun()
    assert not session_folder().exists()
    for line in (*SIXTEEN, "fork A B", "cpu0 write B R 0 1 | cpu1 write A R 0 1"):
        book.bench.act(parse(line))
        text = the_file().read_text()
        assert text.endswith("end\n")
        assert parse_scenarios(text, "session")[0].steps[-1].text == parse(line).text
        assert state_of(reopened(the_file()).bench) == state_of(book.bench)


def test_going_back_and_branches_and_the_place_come_back() -> None:
    book = begun(*SIXTEEN, "fork A B", "write B R 3 4")
    bench = book.bench
    bench.back_action(2)
    bench.act(parse("write A R 0 1"))
    bench.back_action()
    bench.act(parse("fork A C"))
    bench.back_event(7)
    book.close()
    again = reopened(the_file())
    assert again.bench.refusal is None
    assert state_of(again.bench) == state_of(bench)
    assert [branch.number for branch in again.bench.session.machine.branches] == [1, 2]


def test_an_action_in_the_middle_comes_back_in_the_middle() -> None:
    book = begun(*SIXTEEN)
    book.bench.act(parse("fork A B"), paused=True)
    book.bench.step_event(30)
    book.close()
    assert state_of(reopened(the_file()).bench) == state_of(book.bench)


def test_an_action_gone_back_over_in_the_middle_is_written_to_its_end() -> None:
    book = begun(*SIXTEEN)
    book.bench.act(parse("fork A B"), paused=True)
    book.bench.step_event(30)
    book.bench.back_action()
    book.keep()
    assert "done=30" in the_file().read_text()
    book.bench.run_to_end()

    assert "done=" not in the_file().read_text()
    assert state_of(reopened(the_file()).bench) == state_of(book.bench)


def test_what_was_begun_and_gone_back_over_is_no_ghost() -> None:
    book = begun("mmap A R 64K", "mmap A S 64K")
    bench = book.bench
    bench.back_action()
    bench.act(parse("mmap A T 64K"), paused=True)
    bench.back_action()
    bench.act(parse("mmap A U 64K"))
    bench.switch_branch(1)
    bench.goto(bench.end)
    assert [step.action.text for step in bench.session.steps] == ["mmap A R 64K", "mmap A S 64K"]
    book.close()
    assert "mmap A T" not in the_file().read_text()
    assert state_of(reopened(the_file()).bench) == state_of(bench)


def test_the_story_comes_back_with_what_was_checked() -> None:
    bench = preset("3", "7.2")
    book = Workbook(bench)
    bench.step_story()
    bench.act(parse("fork A Z"))
    book.close()
    again = reopened(the_file()).bench
    assert again.source.title == bench.source.title
    assert again.next_item == bench.next_item
    assert again.progress.results(again.session, 0) == bench.progress.results(bench.session, 0)
    assert state_of(again) == state_of(bench)


def test_a_reopened_session_goes_on_in_its_file() -> None:
    book = begun(*SIXTEEN)
    book.close()
    again = reopened(the_file())
    again.bench.act(parse("fork A B"))
    again.close()
    assert "fork A B" in the_file().read_text()  # there is still one file


def test_two_programs_never_write_one_file() -> None:
    first = begun(*SIXTEEN)
    assert session_to_continue() is None  # it is open
    second = reopened(the_file())
    second.bench.act(parse("fork A B"))
    first.bench.act(parse("dontneed A R 0 4"))
    texts = [path.read_text() for path in sorted(session_folder().iterdir())]
    assert sorted("fork A B" in text for text in texts) == [False, True]
    assert sorted("dontneed" in text for text in texts) == [False, True]


def test_sessions_that_begin_in_one_second_have_files_of_their_own() -> None:
    books = [begun(f"mmap A R {size}K") for size in (4, 8, 16, 32)]
    assert len({book.log.path for book in books}) == 4


def test_another_kernel_puts_aside_and_loses_nothing() -> None:
    book = begun(*SIXTEEN, "fork A B", "write B R 3 4")
    first = book.bench
    first.back_action(2)
    first.act(parse("write A R 0 1"))
    first.goto(0)
    book.go_on_with(book.replay_on("6.9"))
    second = book.bench
    assert second.kernel == "6.9"
    assert second.session.position == 0
    second.run_to_end()
    assert [step.action.text for step in second.session.steps] == [*SIXTEEN, "write A R 0 1"]
    (branch,) = second.session.machine.branches
    second.switch_branch(branch.number)
    second.run_to_end()
    assert second.session.steps[-1].action.text == "write B R 3 4"


def test_going_back_to_a_kernel_finds_it_as_it_was_left() -> None:
    book = begun(*SIXTEEN)
    first = book.bench
    first.back_event(5)
    book.go_on_with(book.replay_on("6.9"))
    book.go_on_with(book.replay_on("7.2"))
    assert book.bench is first
    assert the_file().read_text().count("scenario ") == 1
    book.go_on_with(book.replay_on("6.9"))
    book.bench.run_to_end()
    book.bench.act(parse("fork A B"))
    book.go_on_with(book.replay_on("7.2"))
    assert book.bench is not first
    assert book.bench.session.steps[-1].action.text == "fork A B"
    book.close()
    sections = parse_session(the_file().read_text(), "session")
    assert [section.head.kernel for section in sections] == ["7.2", "6.9", "7.2"]
    assert len({section.name for section in sections}) == 3
    assert state_of(reopened(the_file()).bench) == state_of(book.bench)


def test_what_a_kernel_refuses_is_still_there_on_the_one_before() -> None:
    book = begun(*SIXTEEN, "unfold A R 0 16", "write A R 1 2")
    book.go_on_with(book.replay_on("6.6"))
    assert isinstance(book.bench.refusal, UsageError)
    assert len(book.bench.session.steps) == 3
    book.close()
    sections = parse_session(the_file().read_text(), "session")
    assert "unfold A R 0 16" in sections[0].text
    again = open_source(f"{the_file()}", sections[0].name)
    assert again.kernels[0] == "7.2"


def test_a_session_on_another_kernel_keeps_what_it_was() -> None:
    book = begun(*SIXTEEN, "fork A B")
    book.close()
    before = the_file().read_text()
    other = reopened(the_file(), "6.9")
    other.bench.act(parse("exit B"))
    assert before in [path.read_text() for path in session_folder().iterdir()]


def test_the_latest_that_was_not_left_is_offered_first() -> None:
    left, killed, newest = begun("mmap A R 4K"), begun("mmap A R 8K"), begun("mmap A R 16K")
    left.close()
    os.close(killed.log._handle)  # as the end of its program does
    newest.close()
    for age, book in enumerate((newest, killed, left)):
        assert book.log.path is not None
        os.utime(book.log.path, (1000 - age, 1000 - age))
    found = session_to_continue()
    assert found is not None
    assert found.path == str(killed.log.path)
    assert [kept.left for kept in list_sessions()] == [True, False, True]
    assert {kept.actions for kept in list_sessions()} == {1}


def test_a_session_is_read_wherever_it_ends() -> None:
    book = begun(*SIXTEEN, "fork A B", "write B R 3 4")
    book.bench.back_action()
    book.bench.act(parse("write A R 3 4"))
    book.close()
    whole = the_file().read_text()
    refused = []
    for length in range(len(whole)):
        if is_session(whole[:length]):
            try:
                (section,) = parse_session(whole[:length], "cut")
            except SandboxError as error:
                refused.append(error.where)
            else:
                machine("7.2").regrow(section.tree, section.place)
    assert None not in refused


@pytest.mark.parametrize(
    "lines",
    [
        ["#@ end"],
        ["#@ branch 1"],
        ["#@ branch x +0"],
        ["#@ what"],
        ['#@ kernel "7.2'],
        ["#@ kernel 7"],
        ["#@ branch 1 +0", "mmap A R 4K", "#@ end"],
        ["#@ branch 1 +0 0x999999999", "#@ end"],
        ["#@ branch 1 +0"] * 400,
        ["fork A"],
    ],
)
def test_what_is_no_session_is_refused_with_its_place(lines: list[str]) -> None:
    text = "\n".join(["# mmtui session 2", "scenario x", *lines, "end", ""])
    with pytest.raises(SandboxError) as refused:
        parse_session(text, "f.scn")
    assert refused.value.where is not None
    assert 3 <= refused.value.where.line <= 3 + len(lines)


@pytest.mark.parametrize("line", ["#@ branch 7 +5 1x40", "#@ at 900 +5", "#: fork A B #@ done=9"])
def test_what_cannot_be_done_again_ends_where_it_is(line: str) -> None:
    end = "#@ end\n" if "branch" in line else ""
    text = f'# mmtui session 2\nscenario x\n#@ kernel "7.2"\nmmap A R 4K\n{line}\n{end}end\n'
    (section,) = parse_session(text, "f.scn")
    bench = machine("7.2")
    bench.regrow(section.tree, section.place)
    assert bench.session.steps[0].action.text == "mmap A R 4K"


def test_a_tree_is_written_and_read_back_the_same() -> None:
    bench = machine("7.2", *SIXTEEN)
    bench.act(parse("cpu0 fork A B | cpu1 write A R 0 1"), paused=True)
    bench.cpu = 1
    bench.step_event(3)
    bench.cpu = 0
    bench.run_to_end()
    bench.goto(bench.end - 20)
    bench.cpu = 1
    bench.run_to_end()
    text = section_text("x", Head("7.2"), bench.tree()) + tail(bench.place(), left=True)
    (section,) = parse_session(f"# mmtui session 2\n{text}", "f")
    assert (section.tree, section.place, section.left) == (bench.tree(), bench.place(), True)
    again = machine("7.2")
    again.regrow(section.tree, section.place)
    assert state_of(again) == state_of(bench)


FOUR = (
    "cpu0 fork A B | cpu0 write B R 0 2 | cpu0 exit B | cpu1 pin A R 1 2 p w | cpu1 unpin p"
    " | cpu2 mmap C S 16K | cpu2 write C S 0 4 | cpu3 write A R 3 4"
)


def walked(seed: int) -> Bench:
    """A bench on which four CPUs took turns, with futures left at several places of the block."""
    chance = random.Random(seed)
    bench = machine("7.2", *SIXTEEN)
    first = bench.session.position
    bench.act(parse(FOUR), paused=True)
    for _ in range(4):
        while not bench.idle and chance.random() > 0.002:
            bench.cpu = chance.choice(bench.session.machine.enabled())
            bench.step_event()
        bench.goto(chance.randint(first + 1, bench.session.position))
        bench.cpu = chance.choice(bench.session.machine.enabled() or [0])
        if not bench.idle:
            bench.step_event()
    return bench


@pytest.mark.parametrize("seed", range(8))
def test_blocks_of_many_actions_come_back_from_a_file(seed: int) -> None:
    bench = walked(seed)
    text = section_text("x", Head("7.2"), bench.tree()) + tail(bench.place(), left=True)
    (section,) = parse_session(f"# mmtui session 2\n{text}", "f")
    assert (section.tree, section.place) == (bench.tree(), bench.place())
    again = machine("7.2")
    again.regrow(section.tree, section.place)
    assert again.refusal is None
    assert state_of(again) == state_of(bench)


@pytest.mark.parametrize("kernel", ["6.6", "6.15"])
def test_blocks_of_many_actions_are_done_on_another_kernel(kernel: str) -> None:
    for seed in range(4):
        bench = walked(seed)
        there = bench.replay_on(kernel)
        assert there.refusal is None
        there.run_to_end()
        assert there.procs() == ("A", "C")
        assert len(there.session.tasks_of(there.session.steps[-1])) == 8


@pytest.mark.parametrize(
    ("order", "turns"),
    [("0x30 1 1 0 1x4", "cpu0 30, cpu1 2, cpu0 1, cpu1 4"), ("", ""), ("0 1", "cpu0 1, cpu1 1")],
)
def test_the_runs_of_cpus_of_older_files_are_still_read(order: str, turns: str) -> None:
    lines = "\n".join([*SIXTEEN, "cpu0: fork A B", "cpu1: write A R 0 1"])
    benches = []
    for schedule in (order, turns):
        fork = f"#@ branch 1 +3 {schedule}".rstrip()
        text = (
            f'# mmtui session 2\nscenario x\n#@ kernel "7.2"\n{lines}\n'
            f"schedule {schedule}\n{fork}\n#@ end\nend\n"
        )
        (section,) = parse_session(text, "f")
        benches.append(machine("7.2"))
        benches[-1].regrow(section.tree, section.place)
        written = section_text("x", Head("7.2"), section.tree)
        assert "schedule" in written
        assert not re.search(r"^(schedule|#@ branch.*\+3).* [0-9]+x", written, re.MULTILINE)
    assert state_of(benches[0]) == state_of(benches[1])


def test_a_schedule_by_landmarks_in_a_file_is_followed() -> None:
    lines = "\n".join([*SIXTEEN, "cpu0: fork A B", "cpu1: pin A R 1 2 1 w"])
    schedule = "schedule cpu1 until store:2, cpu0 until before-store:14, cpu1 all"
    text = f'# mmtui session 2\nscenario x\n#@ kernel "7.2"\n{lines}\n{schedule}\nend\n'
    (section,) = parse_session(text, "f")
    bench, other = machine("7.2"), machine("7.2", *SIXTEEN)
    bench.regrow(section.tree, section.place)
    other.act(parse(f"cpu0 fork A B | cpu1 pin A R 1 2 1 w | {schedule}"))
    assert bench.refusal is None
    assert state_of(bench) == state_of(other)
    assert not bench.can_redo


def test_files_saved_before_there_were_sessions_still_open(tmp_path: Path) -> None:
    file = tmp_path / "old.scn"
    file.write_text("# mmtui machine --kernel 7.2\nscenario machine\nmmap A R 64K\nend\n")
    bench = Bench(open_source(str(file)))
    assert bench.source.session is None
    assert len(bench.script.items) == 1
