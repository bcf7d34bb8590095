"""The entry point of the console script and of `python -m mmtui`."""

from __future__ import annotations

import sys

from mmtui import __version__

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run one command line and returns its exit status.

    `argv` is without the program's name; the process's own if left out.
    """
    args = sys.argv[1:] if argv is None else argv
    if args in (["--version"], ["-V"]):  # answered before anything else is imported
        sys.stdout.write(f"mmtui {__version__}\n")
        return 0
    try:
        from mmtui.cli import dispatch

        return dispatch(args)
    except KeyboardInterrupt:  # before or after the command's own care
        return 130


if __name__ == "__main__":
    sys.exit(main())
