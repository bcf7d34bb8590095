"""Keys, bytes, signals and job control, through a terminal: each end is a proper one."""

from __future__ import annotations

import re
import signal
import termios
from pathlib import Path

import pytest

from mmtui.model.files import state_directory
from tests.pty_app import MODES, PtyApp

SCENARIO = "scenario x\nmmap A R 64K\nwrite A R 0 4\nend\n"
MARK = "\x1b]0;OWNED\x07"


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "x.scn"
    path.write_text(SCENARIO)
    return str(path)


def sessions() -> list[str]:
    """What is kept of the sessions so far."""
    return [path.read_text() for path in (state_directory() / "sessions").glob("*.scn")]


def is_stopped(app: PtyApp) -> bool:
    """Whether it is stopped, as the kernel says."""
    stat = Path(f"/proc/{app.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


def do_an_action(app: PtyApp) -> None:
    app.wait_for(b"0/0")
    app.send(b"n")
    app.wait_for(b"mm(A)")


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ((signal.SIGTERM,), -15),
        ((signal.SIGHUP,), -1),
        ((signal.SIGINT, signal.SIGINT), 130),
        ((signal.SIGQUIT, signal.SIGQUIT), -3),
    ],
)
def test_a_signal_leaves(scenario: str, numbers: tuple[signal.Signals, ...], status: int) -> None:
    with PtyApp(scenario) as app:
        do_an_action(app)
        app.signal(*numbers)
        assert app.end() == status
        assert not app.left_on()
        assert "the session is on file" in app.last_words
        assert "mmap A R 64K" in sessions()[0]


def test_a_closed_terminal_is_a_hang_up(scenario: str) -> None:
    with PtyApp(scenario) as app:
        do_an_action(app)
        app.hang_up()
        assert app.process.wait(60) == -signal.SIGHUP
        assert "mmap A R 64K" in sessions()[0]


def test_any_bytes_and_any_stop(tmp_path: Path) -> None:
    path = tmp_path / f"a b{MARK}.scn"
    path.write_text(SCENARIO)
    with PtyApp(str(path), size=(100, 12)) as app:
        do_an_action(app)
        app.send(
            b"\xe9\xff\x1b[1114112u\x1b[55296u\x1b[48;0;0;0;0t\x1b[48;9;999999999;1;1t\x1b[<0;9"
        )
        app.send(b"\x1b[<0;999999;999999M\x1bP\x1b]0;\xc3:\x1b[200~\x1b[31m\x07\xc2\x9b\xe2\x80")
        app.send(b"\xae\x1b[201~\r")
        for _ in range(10):
            app.send(b"ss")
            app.signal(signal.SIGTSTP, signal.SIGCONT)
        app.wait_until(lambda: app.signal(signal.SIGTSTP) or not app.left_on())
        app.signal(signal.SIGCONT)
        at = app.wait_for(b"\x1b[?1049h", app.output.rfind(b"\x1b[?1049l"))
        app.wait_for(b"kernel", at)
        # Taking the terminal anew throws away what was typed until then.
        app.wait_until(lambda: app.process.poll() is not None or app.send(b"\x11"))
        assert app.end() == 0
        assert not app.left_on()
        assert b"OWNED" not in app.output.replace(b"?]0;OWNED?", b"").replace(
            rb"\x1b]0;OWNED\x07", b""
        )
        assert not re.search(rb"\x1b\[31m\x07|\xc2\x9b|\xe2\x80\xae", app.output)


def test_a_terminal_that_takes_nothing_at_a_stop_is_clean_at_the_end(scenario: str) -> None:
    with PtyApp(scenario) as app:
        do_an_action(app)
        for _ in range(2):
            termios.tcflow(app.slave, termios.TCOOFF)
            app.signal(signal.SIGTSTP)
            app.wait_until(lambda: is_stopped(app))
            termios.tcflow(app.slave, termios.TCOON)
            app.signal(signal.SIGCONT)
            app.wait_for(b"kernel", app.wait_for(MODES["keyboard"][0], len(app.output)))
        app.wait_until(lambda: app.process.poll() is not None or app.send(b"\x11"))
        assert app.end() == 0
        assert not app.left_on()


@pytest.mark.parametrize(
    ("name", "value"), [("MMTUI_THEME", "none"), ("TEXTUAL_DRIVER", "no.such:Driver")]
)
def test_an_environment_that_asks_for_what_there_is_not(name: str, value: str) -> None:
    with PtyApp(**{name: value}) as app:
        assert app.end() == 2
        assert app.output.startswith(f"mmtui: {name}: ".encode())
        assert app.output.count(b"\n") == 1


def test_absurd_sizes(scenario: str) -> None:
    with PtyApp(scenario, size=(0, 0), COLUMNS="1000000", LINES="1000000") as app:
        do_an_action(app)
        app.send(b"q")
        assert app.end() == 0


def test_the_environment_asks_for_a_part_of_a_terminal_and_no_more(scenario: str) -> None:
    with PtyApp(scenario, size=(100, 30), COLUMNS="1000000", LINES="20") as app:
        do_an_action(app)
        said = re.findall(rb"\x1b\[(\d+);(\d+)H", app.output)
        assert max(int(row) for row, _ in said) == 20
        assert max(int(column) for _, column in said) <= 100
        app.send(b"q")
        assert app.end() == 0


KERNEL = """
import os, sys
from sandbox.kernels.linux_7_2 import Linux72

class Rude(Linux72):
    id = "rude"

    def sys_mmap(self, *args, **options):
        print("OWNED")
        sys.__stdout__.write("OWNED")
        os.write(1, b"OWNED")
        os.write(2, b"OWNED")
        try:
            input()
        except EOFError:
            os.closerange(0, 3)
        return (yield from super().sys_mmap(*args, **options))
"""


def test_a_kernel_that_prints_reads_and_closes(scenario: str, tmp_path: Path) -> None:
    (tmp_path / "rude.py").write_text(KERNEL)
    with PtyApp(
        scenario,
        "--kernel",
        f"{tmp_path}/rude.py:Rude",
        size=(200, 30),  # the path is long
    ) as app:
        do_an_action(app)
        app.send(b"n")
        app.wait_for(b"F1")
        app.send(b"q")
        assert app.end() == 0
        assert not app.left_on()
        assert b"OWNED" not in app.output
