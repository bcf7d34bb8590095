"""The table of commands, and lines typed at the prompt, without an application."""

from __future__ import annotations

import contextlib
from unittest.mock import MagicMock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.keys import Keys

from mmtui.commands.help import help_doc
from mmtui.commands.registry import ALIASES, COMMANDS, completions, execute, invoke
from mmtui.keys import textual_key
from mmtui.model.bench import Bench
from mmtui.model.sessions import saved_text
from mmtui.views.lines import length
from mmtui.widgets.bars import key_line
from sandbox.errors import SandboxError, UsageError
from sandbox.scenario.verbs import VERBS
from tests.tui.support import SIXTEEN, machine, preset, text


class FakeDesk(MagicMock):
    """A desk with a real bench."""


def desk(bench: Bench) -> FakeDesk:
    fake = FakeDesk()
    fake.bench = bench
    fake.paused = False
    fake.work.side_effect = lambda job, done: done(job())
    return fake


def said(fake: FakeDesk) -> str:
    return str(fake.say.call_args.args[0])


def test_no_two_commands_have_one_key() -> None:
    keys = [key for command in COMMANDS.values() for key in command.keys]
    assert len(keys) == len(set(keys))


def test_every_key_is_one_a_terminal_sends() -> None:
    named = {key.value for key in Keys}
    for command in COMMANDS.values():
        for key in command.keys:
            name = textual_key(key)
            single = len(name) == 1 and name.isalnum()
            assert single or name in named or name in _punctuation(), key


def _punctuation() -> set[str]:
    return {
        "right_square_bracket",
        "left_square_bracket",
        "colon",
        "slash",
        "question_mark",
        "full_stop",
        "comma",
        "greater_than_sign",
        "less_than_sign",
        "left_parenthesis",
        "right_parenthesis",
        "plus",
        "minus",
        "space",
    }


def test_commands_and_verbs_are_different_words() -> None:
    assert not set(COMMANDS) & set(VERBS)
    assert not set(ALIASES) & {*COMMANDS, *VERBS}


def test_every_command_is_explained_in_a_sentence() -> None:
    for command in COMMANDS.values():
        assert command.help[0].isupper()
        assert command.help.endswith(".")
        assert len(command.title) < 18


def test_what_cannot_be_done_says_why() -> None:
    fake = desk(machine("6.6"))
    for name, reason in (
        ("do-fork", "no process yet"), ("do-unpin", "nothing is pinned"), ("back", "the start"),
        ("step", "nothing is left"), ("branch", "no branch yet"),
    ):  # fmt: skip
        invoke(fake, name)
        assert reason in said(fake)
    fake = desk(machine("6.6", *SIXTEEN))
    invoke(fake, "do-fold")
    assert "no contpte layer" in said(fake)


def test_keys_make_lines_of_the_language() -> None:
    bench = machine("7.2", *SIXTEEN)
    fake = desk(bench)
    for name in (
        "do-fork",
        "do-pin",
        "do-unpin",
        "do-write",
        "do-read",
        "do-dontneed",
        "do-munmap",
    ):
        invoke(fake, name)
    invoke(fake, "do-exit")
    done = [step.action.text for step in bench.session.steps[3:]]
    assert done == [
        "fork A B", "pin A R 0 1 1 w", "unpin 1", "write A R 0 1", "read A R 0 1",
        "dontneed A R 0 1", "munmap A R 0 1", "exit A",
    ]  # fmt: skip


def test_unfold_and_fold_take_whole_blocks() -> None:
    bench = machine("7.2", *SIXTEEN)
    fake = desk(bench)
    invoke(fake, "do-unfold")
    invoke(fake, "do-fold")
    assert [s.action.text for s in bench.session.steps[3:]] == ["unfold A R 0 16", "fold A R 0 16"]


@pytest.mark.parametrize(
    "line",
    [
        "nonsense", "fork", "fork A", "goto x", "goto 999999", "step 0", "step -1", "kernel 9.9",
        "pane nowhere", "select Z", "branch 9", "munmap A R 3 2", "begin", "begin nonsense",
        "theme \x00", "99999999999999999999", "kernel x.py:Y", "²",
    ],
)  # fmt: skip
def test_wrong_lines_are_refused(line: str) -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    bench.back_action()
    position = bench.session.position
    fake = desk(bench)
    with contextlib.suppress(SandboxError):
        execute(fake, line)
    assert bench.session.position == position


@given(st.text(max_size=40))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100)
def test_nothing_typed_can_crash_it(line: str) -> None:
    fake = desk(machine("7.2"))
    with contextlib.suppress(SandboxError):
        execute(fake, line)
    completions(line, fake.bench, [])


def test_a_number_is_a_place_in_time() -> None:
    bench = machine("7.2", *SIXTEEN)
    execute(desk(bench), "3")
    assert bench.session.position == 3


def test_completion_knows_commands_verbs_and_names() -> None:
    bench = machine("7.2", *SIXTEEN)
    assert "kernel" in completions("ker", bench, [])
    assert completions("fork ", bench, []) == ["A"]
    assert completions("kernel david", bench, []) == ["david-batch"]
    assert "R" in completions("pin A ", bench, [])


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
def test_the_footer_never_overflows_and_keeps_help_and_quit(width: int) -> None:
    line = key_line(COMMANDS.values(), machine("7.2"), width)
    assert length(line) <= width
    shown = "".join(part for part, _ in line)
    assert "? help" in shown
    assert "q quit" in shown


def test_help_is_found_by_word_and_by_key() -> None:
    bench = machine("7.2")
    everything = text(help_doc(bench, "", 100))
    assert all(command.help.split()[0] in everything for command in COMMANDS.values())
    assert all(verb in everything for verb in VERBS)
    found = text(help_doc(bench, "v", 100))
    assert found.splitlines()[0] == " The key v"
    assert "until a rule breaks" in found.splitlines()[1]
    assert "Not now: no process yet" in text(help_doc(bench, "fork", 100))
    assert "nothing found" in text(help_doc(bench, "qqqq", 100))


def test_two_cpus_are_stepped_by_choice() -> None:
    bench = machine("7.2", *SIXTEEN)
    fake = desk(bench)
    execute(fake, "cpu0 fork A B | cpu1 write A R 0 1")
    start = bench.session.position
    assert [task.cpu for task in bench.session.running] == [0, 1]
    execute(fake, "step 2")
    invoke(fake, "cpu")  # CPU 0
    invoke(fake, "cpu")  # CPU 1
    execute(fake, "step 3")
    assert list(bench.session.machine.cpus[start:]) == [0, 0, 1, 1, 1]
    invoke(fake, "next")  # all of CPU 1
    assert [task.cpu for task in bench.session.running] == [0]
    invoke(fake, "end")
    saved = saved_text(bench)
    assert "cpu0: fork A B\ncpu1: write A R 0 1\nschedule cpu0 2, cpu1 " in saved
    again = machine("7.2", *SIXTEEN)
    again.act(bench.as_done(bench.session.steps[-1]))
    assert again.session.state() == bench.session.state()
    assert again.session.machine.cpus == bench.session.machine.cpus


def test_going_back_and_choosing_the_other_cpu_is_a_branch() -> None:
    bench = machine("7.2", *SIXTEEN)
    fake = desk(bench)
    execute(fake, "cpu0 fork A B | cpu1 write A R 0 1")
    start = bench.session.position
    execute(fake, "step 3")
    execute(fake, "back 3")
    execute(fake, "cpu 1")
    invoke(fake, "step")
    assert list(bench.session.machine.cpus[start:]) == [1]
    assert len(bench.session.machine.branches) == 1


@pytest.mark.parametrize("events", [0, 1, 40])
def test_another_cpu_joins_what_is_running(events: int) -> None:
    bench = machine("7.2", *SIXTEEN)
    fake = desk(bench)
    execute(fake, "begin fork A B")
    start = bench.session.position
    if events:
        execute(fake, f"step {events}")
    execute(fake, "cpu1 write A R 0 1")
    assert bench.session.position == start + events
    assert [task.cpu for task in bench.session.running] == [0, 1]
    for line in (
        "cpu2 fork A B",
        "cpu1 write A Q 1 2",
        "cpu0: unpin 1",
        "write A R 0 1",
        "cpu9 exit A",
        "cpu1 exit A",
    ):
        with pytest.raises(SandboxError):
            execute(fake, line)
        assert bench.session.position == start + events
        assert [task.cpu for task in bench.session.running] == [0, 1]
    invoke(fake, "end")
    assert bench.procs() == ("A", "B")


def test_an_action_for_a_busy_cpu_waits_for_its_turn() -> None:
    bench = machine("7.2", *SIXTEEN)
    fake = desk(bench)
    execute(fake, "begin fork A B")
    execute(fake, "step 7")
    position = bench.session.position
    execute(fake, "cpu0 exit B")
    execute(fake, "cpu2 write A R 0 1")
    execute(fake, "cpu2 write A R 1 2")
    assert bench.session.position == position
    assert [task.name for task in bench.session.running] == ["fork A B", "write A R 0 1"]
    invoke(fake, "end")
    assert bench.procs() == ("A",)
    done = [task.name for task in bench.session.tasks_of(bench.session.steps[-1])]
    assert sorted(done) == ["exit B", "fork A B", "write A R 0 1", "write A R 1 2"]
    assert "cpu0: exit B\n" in saved_text(bench)


def test_a_block_is_typed_with_its_schedule() -> None:
    bench = machine("7.2", *SIXTEEN)
    fake = desk(bench)
    execute(fake, "cpu0 fork A B | cpu1 write A R 0 1 | schedule cpu0 until _refcount:1, cpu1 all")
    assert bench.idle
    step = bench.session.steps[-1]
    assert "\nschedule cpu0 " in saved_text(bench)
    again = machine("7.2", *SIXTEEN)
    again.act(bench.as_done(step))
    assert again.session.machine.cpus == bench.session.machine.cpus


def test_schedules_are_completed() -> None:
    bench = machine("7.2", *SIXTEEN)
    block = "cpu0 fork A B | cpu1 write A R 0 1 | "
    assert completions(block + "sched", bench, []) == ["schedule"]
    assert "before-store:" in completions(block + "schedule cpu1 until before-s", bench, [])


@pytest.mark.parametrize(
    "line", ["cpu0", "cpu0:", "cpu0 |", "cpu0 fork A B |", "cpu0 fork A B | write A R 0 1", "cpu 7",
             "cpu x", "cpu0 fork A B | cpu0 fork A B", "cpu0 x; y; z", "cpux"]
)  # fmt: skip
def test_half_written_blocks_are_refused(line: str) -> None:
    bench = machine("7.2", *SIXTEEN)
    position = bench.session.position
    with pytest.raises(SandboxError):
        execute(desk(bench), line)
    assert bench.session.position == position
    assert bench.idle


def test_going_back_further_than_there_is_goes_to_the_start() -> None:
    bench = machine("7.2", *SIXTEEN)
    execute(desk(bench), "back 100000")
    assert bench.session.position == 0
    with pytest.raises(SandboxError, match="at the start"):
        bench.back_event()


def test_blocks_are_completed_action_by_action() -> None:
    bench = machine("7.2", *SIXTEEN)
    assert "write" in completions("cpu0 fork A B | cpu1 wri", bench, [])
    assert completions("cpu1: munmap ", bench, []) == ["A"]


def test_nothing_is_expected_of_a_story_step_with_an_action_put_beside_it() -> None:
    bench = preset("1", "6.9")
    fake = desk(bench)
    while (
        bench.next_item is not None
        and "fork" not in bench.script.items[bench.next_item].action.text
    ):
        bench.step_action()
    bench.step_event(30)
    execute(fake, "cpu1 read A R 0 1")
    bench.run_to_end()
    assert not bench.checked
    assert bench.replay_on("7.2").procs() == ("A", "B")


def test_proc_shows_the_files_of_the_state() -> None:
    bench = machine("7.2", "mmap A R 16K nohuge", "touch A R 0 4 w", "fork A B")
    fake = desk(bench)
    execute(fake, "cat smaps B")
    (lines,) = fake.proc.call_args.args
    execute(fake, "cat /proc/B/smaps")
    assert fake.proc.call_args.args == (lines,)
    assert lines[0] == "/proc/B/smaps"
    assert any(line.startswith("Rss:") for line in lines)
    assert completions("cat sm", bench, []) == ["smaps"]
    assert completions("cat smaps ", bench, []) == ["A", "B"]


@pytest.mark.parametrize("line", ["cat", "cat maps", "cat smaps Z", "cat smaps A B"])
def test_proc_refuses_what_there_is_not(line: str) -> None:
    bench = machine("7.2", "mmap A R 16K nohuge", "touch A R 0 4 w")
    with pytest.raises(UsageError):
        execute(desk(bench), line)
