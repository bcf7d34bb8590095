"""The door from the command line to the application."""

from __future__ import annotations

import os
import sys

from mmtui.exit_codes import ExitCode
from mmtui.headless.documents import open_document
from sandbox.errors import UsageError

__all__ = ["open_app"]


def open_app(target: str | None, kernel: str | None, commands: tuple[str, ...]) -> ExitCode:
    """Open the application on the library, or on a preset or file.

    Whatever can be wrong with the arguments is found before the screen is
    touched.  `commands` are the words that might have been meant.

    Raises:
        SandboxError: no such preset, file or kernel, or no terminal to draw on.
    """
    if target is not None:
        open_document(target, commands)
    if kernel is not None:
        from sandbox.kernels import kernel_by_name

        kernel_by_name(kernel)
    # A web server for terminal applications brings its own driver in place of a terminal.
    drawable = sys.stdin.isatty() and sys.stdout.isatty()
    if not drawable and "TEXTUAL_DRIVER" not in os.environ:
        raise UsageError("no terminal to draw on", expected="a terminal, or a command: `mmtui run`")
    from mmtui.app import run_app

    run_app(target, kernel)
    return ExitCode.OK
