"""The outermost net: what happens to an error that nobody foresaw."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

from mmtui import __version__
from mmtui.exit_codes import ExitCode
from sandbox.printable import one_line

__all__ = ["CrashNet", "brief", "write_report"]

_LONGEST = 300
"""Characters of an error's own words that a line shows; the report has them all."""


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
        # A screen may be gone by now, and stdout is data: stderr, in one line.
        sys.stderr.write(f"mmtui: internal error: {brief(error)}; {write_report(error)}\n")
        raise SystemExit(int(ExitCode.INTERNAL)) from None


def brief(error: BaseException) -> str:
    """What kind of error it is and what it says, in one line."""
    try:
        said = str(error)
    except Exception as again:  # noqa: BLE001  # the words of an error of another's class
        said = f"({type(again).__name__} in its text)"
    words = one_line(said, _LONGEST)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def write_report(error: BaseException) -> str:
    """Write the traceback to a new file, and says where, or why that failed.

    The file is in `crashes` of the state directory, or else in the folder for temporary files.
    """
    import tempfile
    import traceback

    lines = [f"mmtui {__version__}, Python {sys.version}\n", f"arguments: {sys.argv[1:]!r}\n"]
    try:
        lines += traceback.format_exception(error)
    except Exception as again:  # noqa: BLE001  # likewise: its text is another's code
        lines += [*traceback.format_tb(error.__traceback__), f"{type(error)!r}, {type(again)!r}\n"]
    reason = "no folder to write to"
    for folder in (_crash_folder(), None):
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, path = tempfile.mkstemp(prefix="mmtui-crash-", suffix=".txt", dir=folder)
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(lines)
        except OSError as failed:
            reason = failed.strerror or str(failed)
            continue
        return f"report in {one_line(path)}"
    return f"the report could not be written ({reason})"


def _crash_folder() -> Path | None:
    try:
        from mmtui.model.files import state_directory

        return state_directory() / "crashes"
    except (ImportError, RuntimeError):  # half of mmtui may be broken, or there is no home
        return None
