"""What a finished `mmtui` command says to the shell."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """The exit status of every command; the README lists the same numbers."""

    OK = 0
    """The command did what was asked, and everything it compared agreed."""

    FAILED = 1
    """Something broke or differs: an expectation (`check`), a cell (`conform`), no progress."""

    USAGE = 2
    """The command line or an input is wrong, or the output cannot be written; stderr says where."""

    BOUND = 3
    """Stopped at a bound, with nothing found so far."""

    CANNOT = 4
    """This machine cannot do it: a program, a kernel or a privilege is missing."""

    INTERNAL = 70
    """A defect of mmtui itself; stderr names the file with the report."""

    INTERRUPTED = 130
    """Stopped by Ctrl-C."""

    BROKEN_PIPE = 141
    """The reader of stdout went away (`mmtui run ... | head`)."""
