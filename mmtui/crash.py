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
        path, reason = _write(error, None)
        place = f"please report it with {one_line(path)}" if path else _unwritten(reason)
        sys.stderr.write(f"mmtui: internal error: {brief(error)}; {place}\n")
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
    """Write the traceback to a new file; says `report in FILE`, or why that failed.

    The file is in `crashes` of the state directory, or else in the folder for temporary files.
    """
    path, reason = _write(error, _crash_folder())
    return f"report in {one_line(_short(path))}" if path else _unwritten(reason)


def _unwritten(reason: str) -> str:
    return f"the report could not be written ({reason})"


def _write(error: BaseException, folder: Path | None) -> tuple[str, str]:
    """Write a report; its path, or an empty one and the reason."""
    import tempfile
    import traceback

    lines = [f"mmtui {__version__}, Python {sys.version}\n", f"arguments: {sys.argv[1:]!r}\n"]
    try:
        lines += traceback.format_exception(error)
    except Exception as again:  # noqa: BLE001  # its text is another's code
        lines += [*traceback.format_tb(error.__traceback__), f"{type(error)!r}, {type(again)!r}\n"]
    reason = ""
    for place in dict.fromkeys((folder, None)):
        prefix = "mmtui-crash-" if place is None else "crash-"
        try:
            if place is not None:
                place.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, path = tempfile.mkstemp(prefix=prefix, suffix=".txt", dir=place)
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(lines)
        except OSError as failed:
            reason = failed.strerror or str(failed)
            continue
        return path, ""
    return "", reason


def _short(path: str) -> str:
    """A path as a shell reads it, with `~` for the home."""
    home = os.environ.get("HOME", "")
    return f"~{path[len(home) :]}" if len(home) > 1 and path.startswith(f"{home}/") else path


def _crash_folder() -> Path | None:
    try:
        from mmtui.model.files import state_directory

        return state_directory() / "crashes"
    except (ImportError, RuntimeError):  # half of mmtui may be broken, or there is no home
        return None
