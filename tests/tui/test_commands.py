"""The table of commands, and lines typed at the prompt, without an application."""

from __future__ import annotations

import contextlib
from unittest.mock import MagicMock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.keys import Keys

from mmtui.commands.registry import ALIASES, COMMANDS, completions, execute, invoke
from mmtui.keys import textual_key
from mmtui.model.bench import Bench
from mmtui.views.help import help_doc
from mmtui.views.lines import length
from mmtui.widgets.bars import key_line
from sandbox.errors import SandboxError
from sandbox.scenario.verbs import VERBS
from tests.tui.support import SIXTEEN, machine, text


class FakeDesk(MagicMock):
    """A desk with a real bench."""


def desk(bench: Bench) -> FakeDesk:
    fake = FakeDesk()
    fake.bench = bench
    fake.paused = False
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
    assert completions("kernel ryan", bench, []) == ["ryan-v2", "ryan-v3"]
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
