"""`mmtui --plain`: the application as a stream of text, for a screen reader or through a pipe.

A line of stdin is a command or an action, as at `:`; an empty one is the story's next step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from mmtui.commands.registry import ALIASES, COMMANDS, execute, invoke
from mmtui.exit_codes import ExitCode
from mmtui.model.bench import Bench
from mmtui.model.script import Source
from mmtui.model.workbook import Workbook
from mmtui.plain_desk import PlainDesk
from mmtui.views.lines import pure_text
from sandbox.errors import Cancelled, SandboxError

__all__ = ["run_plain"]

_LONGEST = 4_000
"""Characters of a line that are read."""
_KEYS = {key: command.name for command in COMMANDS.values() for key in command.keys}


def run_plain(source: Source, kernel: str | None) -> ExitCode:
    """Tell a document, doing what the lines of stdin say; ends with them, or at `quit`.

    Returns:
        USAGE if a line that did not come from a terminal was refused, else OK.

    Raises:
        SandboxError: the document cannot be gone on with.
    """
    book = Workbook(Bench(source, kernel))
    desk = PlainDesk(book, _write)
    asked = sys.stdin is not None and sys.stdin.isatty()
    refused = 0
    try:
        if source.session is not None:
            book.begin()
        desk.begin()
        for line in _lines(asked):
            refused += not _do(desk, line)
            if desk.over:
                break
        desk.book.keep(left=True)
    finally:
        path = desk.book.log.path
        desk.book.close()
    if path is not None:
        sys.stderr.write(f"the session is on file: mmtui --continue, or mmtui {path}\n")
    return ExitCode.USAGE if refused and not asked else ExitCode.OK


def _write(line: str) -> None:
    sys.stdout.write(f"{pure_text(line)}\n")


def _lines(asked: bool) -> Iterator[str]:
    """The lines of stdin, each asked for where a person types them."""
    while sys.stdin is not None:
        if asked:
            sys.stdout.write("> ")
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return
        yield line[:_LONGEST].strip()


def _do(desk: PlainDesk, line: str) -> bool:
    """Do what a line says; whether it was not refused."""
    line = line.removeprefix(":")
    try:
        if not line:
            invoke(desk, "story")
        elif line.startswith("/"):
            desk.search(line[1:])
        elif line in _KEYS and line not in ALIASES and line not in COMMANDS:
            invoke(desk, _KEYS[line])
        else:
            execute(desk, line)
    except Cancelled:
        raise
    except SandboxError as error:
        _write(f"Refused: {' '.join(str(error).split())}")
        return False
    return True
