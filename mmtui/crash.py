"""The outermost net: what happens to an error that nobody foresaw."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from mmtui import __version__
from mmtui.exit_codes import ExitCode

__all__ = ["CrashNet"]


class CrashNet:
    """A context that turns an unforeseen error into a report on file and one line on stderr.

    The error ends the process with `ExitCode.INTERNAL`.  Nothing is swallowed:
    the report holds the whole traceback.  `SystemExit` and `KeyboardInterrupt`
    pass through.
    """

    def __enter__(self) -> CrashNet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, Exception):
            return
        place = _write_report(error)
        # A screen may be gone by now, and stdout is data: stderr, in one line.
        words = " ".join(str(error).split())
        sys.stderr.write(f"mmtui: internal error: {type(error).__name__}: {words}; {place}\n")
        raise SystemExit(int(ExitCode.INTERNAL)) from None


def _write_report(error: Exception) -> str:
    """Write the traceback to a new file and says where, or why that failed."""
    import tempfile
    import traceback

    lines = [f"mmtui {__version__}, Python {sys.version}\n", f"arguments: {sys.argv[1:]!r}\n"]
    lines += traceback.format_exception(error)
    try:
        handle, path = tempfile.mkstemp(prefix="mmtui-crash-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(lines)
    except OSError as reason:
        return f"the report could not be written ({reason.strerror})"
    return f"please report it with {path}"
