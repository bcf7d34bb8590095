"""The door from the command line to the application."""

from __future__ import annotations

import os
import sys

from mmtui.exit_codes import ExitCode
from mmtui.model.script import Source, open_source
from sandbox.errors import UsageError
from sandbox.kernels import KERNEL_IDS, kernel_by_name

__all__ = ["open_app", "source_of"]


def open_app(
    target: str | None,
    kernel: str | None,
    commands: tuple[str, ...],
    scenario: str | None = None,
    *,
    resume: bool = False,
) -> ExitCode:
    """Open the application on the library, on a preset or file, or on the latest session.

    Whatever can be wrong with the arguments is found before the screen is
    touched.  `commands` are the words that might have been meant.

    Raises:
        SandboxError: no such preset, file or kernel, or no terminal to draw on.
    """
    source = source_of(target, kernel, commands, scenario, resume=resume)
    # A web server for terminal applications brings its own driver in place of a terminal.
    drawable = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    if not drawable and "TEXTUAL_DRIVER" not in os.environ:
        raise UsageError("no terminal to draw on", expected="a terminal, or a command: `mmtui run`")
    from mmtui.app import run_app

    return ExitCode(run_app(source, kernel))


def source_of(
    target: str | None,
    kernel: str | None,
    commands: tuple[str, ...],
    scenario: str | None,
    *,
    resume: bool,
) -> Source | None:
    """What is to be opened, None for the library; the kernel is known to exist then.

    Raises:
        SandboxError: no such preset, file, session or kernel.
    """
    if resume:
        target = _latest(target)
    if target is None and scenario is not None:
        raise UsageError("a scenario of nothing", expected="FILE|PRESET as well")
    source = None if target is None else open_source(target, scenario, commands)
    on = source.kernels[0] if kernel is None and source is not None else kernel
    if on is not None and on not in KERNEL_IDS:  # those of the list are there: start-up time counts
        kernel_by_name(on)
    return source


def _latest(target: str | None) -> str:
    """The file of the session to go on with."""
    from mmtui.model.session_list import session_to_continue

    if target is not None:
        raise UsageError("--continue goes on with the latest session", expected="no document")
    session = session_to_continue()
    if session is None:
        raise UsageError("there is no session to continue", expected="`mmtui` for the library")
    return session.path
