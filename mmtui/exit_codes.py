"""What a finished `mmtui` command says to the shell."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """The exit status of every command; the README lists the same numbers."""

    OK = 0
    """The command did what was asked, and everything it compared agreed."""

    FAILED = 1
    """An expectation did not hold (`check`) or a cell did not match (`conform`)."""

    USAGE = 2
    """The command line, a file or an action in it is wrong; one line on stderr says where."""

    INTERNAL = 70
    """A defect of mmtui itself; stderr names the file with the report."""

    INTERRUPTED = 130
    """Stopped by Ctrl-C."""

    BROKEN_PIPE = 141
    """The reader of stdout went away (`mmtui run ... | head`)."""
