"""The entry point of the console script and of `python -m mmtui`."""

from __future__ import annotations

import os
import sys

from mmtui import __version__

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run one command line and returns its exit status.

    `argv` is without the program's name; the process's own if left out.
    """
    _open_missing()
    args = sys.argv[1:] if argv is None else argv
    # Answered before anything else is imported; what goes wrong is said below as ever.
    if args in (["--version"], ["-V"]) and _write(f"mmtui {__version__}\n"):
        return 0
    try:
        from mmtui.cli import dispatch

        return dispatch(args)
    except KeyboardInterrupt:  # before or after the command's own care
        return 130


def _write(text: str) -> bool:
    """Write to stdout, if it is neither closed nor full and somebody reads."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, AttributeError):
        return False
    return True


def _open_missing() -> None:
    """Put nothing in the place of streams that were closed: the next file would take it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one


if __name__ == "__main__":
    sys.exit(main())
