"""`mmtui run` of something long: progress on a terminal, and Ctrl+C."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from mmtui.cli import dispatch
from mmtui.exit_codes import ExitCode
from mmtui.headless import working
from sandbox.machine import history
from sandbox.run.long_move import LongMove


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file whose last action is looked at in between many times."""
    monkeypatch.setattr(history, "BURST", 32)
    file = tmp_path / "long.scn"
    file.write_text("scenario long\nmmap A R 64K\nwrite A R 0 16\nfork A B\nend\n")
    return str(file)


@pytest.mark.parametrize("form", ["--text", "--json"])
def test_ctrl_c_ends_a_run_between_two_events(
    form: str,
    scenario: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    look = LongMove._look

    def pressed(self: LongMove) -> None:
        look(self)
        if self.text.startswith("fork"):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(LongMove, "_look", pressed)
    assert dispatch(["run", scenario, form, "--kernel", "7.2"]) == ExitCode.INTERRUPTED
    out, err = capsys.readouterr()
    assert "long.scn:4:1: stopped at event " in err
    assert err.endswith(" in the middle of fork A B\n")
    assert err.count("\n") == 1
    assert ("write A R 0 16" in out) == (form == "--text")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_progress_is_written_over_itself_on_a_terminal(
    scenario: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(working, "_FIRST", 0.0)
    monkeypatch.setattr(working, "_EVERY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert dispatch(["run", scenario, "--json", "--kernel", "7.2"]) == ExitCode.OK
    err = capsys.readouterr().err
    assert "\rfork A B: " in err
    assert "of 16 PTEs" in err
    assert "\r\x1b[Klong: rules: none broken\n" in err


def test_nothing_is_written_when_stderr_is_no_terminal(
    scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["run", scenario, "--kernel", "7.2"]) == ExitCode.OK
    assert not capsys.readouterr().err
