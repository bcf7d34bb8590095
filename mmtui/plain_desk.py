"""The desk of `mmtui --plain`: the same commands, answered in sentences.

There is no screen: what a command would show is written, line by line, from the top to the bottom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mmtui.commands.help import help_doc
from mmtui.commands.registry import invoke
from mmtui.model.bench import Bench
from mmtui.model.script import open_named
from mmtui.model.workbook import Workbook
from mmtui.views.descriptor import descriptor_lines
from mmtui.views.explain import explain_doc, terms_of
from mmtui.views.glyphs import Glyphs, choose
from mmtui.views.lines import Doc, Line, Lines, plain
from mmtui.views.marks import marks_of
from mmtui.views.panes import PANES, document, titled
from mmtui.views.telling import Teller
from sandbox.errors import UsageError
from sandbox.kernels import KERNEL_IDS

__all__ = ["WIDTH", "PlainDesk"]

T = TypeVar("T")
WIDTH = 78
"""Characters of the longest line."""
_MOST = 400
"""Lines of a pane that are written at once."""


class PlainDesk:
    """What commands work at where there is no screen; `write` takes each line."""

    def __init__(self, book: Workbook, write: Callable[[str], None]) -> None:
        self.book = book
        self._write = write
        self._pane = next(iter(PANES))
        self._top = 0
        self._pause = False
        self.over = False
        """Whether the end was asked for."""
        self._teller = Teller(book.bench)

    @property
    def bench(self) -> Bench:
        """The document that is open."""
        return self.book.bench

    @property
    def paused(self) -> bool:
        """Whether actions wait at their first event."""
        return self._pause

    # -- moving ------------------------------------------------------------------------

    def begin(self) -> None:
        """Say what was opened, and what comes first."""
        self._tell(self._teller.opening())

    def work(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Do it here and now; Ctrl-C ends all."""
        done(job())

    def moved(self, message: str = "") -> None:
        """Write what the move brought."""
        if message:
            self._write(message)
        self._tell(self._teller.moved())

    def looked(self) -> None:
        """Write the pane that is looked at anew."""
        self._show()

    def say(self, message: str) -> None:
        """Write a message."""
        if message:
            self._write(message)

    def replay_on(self, kernel: str) -> None:
        """Replay on another kernel."""
        self.book.keep()
        self.book.go_on_with(self.book.replay_on(kernel))
        self._teller = Teller(self.bench)
        self.moved(f"Replayed on {kernel}.")

    def read(self, *, step: bool) -> bool:
        """All of the story up to the next action was written already."""
        return False

    def read_on(self) -> None:
        """What the story has to say of a move is written with it."""

    def to_story(self) -> None:
        """Write the story's present step once more."""
        self._tell(self._teller.place())

    # -- looking -----------------------------------------------------------------------

    def cursor(self, across: int, down: int) -> None:
        """Move the cursor of the pane, and write the line that it is at."""
        move = PANES[self._pane].move
        if move is None or not move(self.bench, across, down, WIDTH):
            self._top += down
        doc = self._document()
        at = doc.focus if move is not None and doc.focus is not None else self._top
        self._top = max(0, min(at, doc.height - 1))
        self._write(_text(doc.line(self._top)) or "(empty)")
        self._lines(doc.foot)

    def page(self, pages: float) -> None:
        """Write a pane from its top, or its end."""
        self._show(last=pages > 0 and math.isinf(pages))

    def focus_pane(self, number: int) -> None:
        """Write a pane: by its number, 0 is the next one and -1 the previous."""
        names = list(PANES)
        if number > 0:
            self._pane = names[number - 1]
        else:
            step = 1 if number == 0 else -1
            self._pane = names[(names.index(self._pane) + step) % len(names)]
        self._top = 0
        self._show()

    def pick(self) -> None:
        """Explain what is at the cursor, or go to the event of the chosen rule."""
        spec = PANES[self._pane]
        if spec.event is not None:
            position = spec.event(self.bench)
            if position is None:
                raise UsageError("no rule was broken so far")
            self.bench.goto(position)
            self.moved()
        elif spec.explains:
            self.explain("")
        else:
            invoke(self, "level")

    def search(self, text: str) -> None:
        """Write the lines of the pane with a text in them."""
        doc = self._document()
        lines = (doc.line(y) for y in range(min(doc.height, 20_000)))
        found = [line for line in lines if text.casefold() in plain(line).casefold()]
        if not found:
            raise UsageError(f"{text[:30]!r} is not in this pane")
        self._lines(found)

    def explain(self, word: str) -> None:
        """Explain a word, or those at the cursor of the pane."""
        spec = PANES[self._pane]
        terms = terms_of(self._document(), letters=spec.letters) if spec.explains else []
        if not word and not terms:
            raise UsageError("nothing to explain here", expected="explain WORD, or another pane")
        if spec.name == "tables" and not word:
            self._lines(descriptor_lines(self.bench))
        self._doc(explain_doc(terms, word, WIDTH))

    def proc(self, lines: Sequence[str]) -> None:
        """Write the lines of a file of /proc."""
        for line in lines:
            self._write(line)

    def help(self) -> None:
        """Write every command."""
        self._write("A line is a command or an action; an empty line is the story's next step.")
        self._doc(help_doc(self.bench, "", WIDTH))

    def back_out(self) -> None:
        """Drop the marked range."""
        if self.bench.selection.anchor is not None:
            invoke(self, "mark")

    def toggle_pause(self) -> None:
        """Let actions wait at their first event, or run to their end."""
        self._pause = not self._pause
        what = "wait at their first event" if self._pause else "run to their end"
        self._write(f"Actions {what}.")

    def choose_kernel(self) -> None:
        """List the kernels."""
        mine = ", ".join(self.bench.source.kernels)
        self._write(f"Kernels: {', '.join(KERNEL_IDS)}. This is {self.bench.kernel}.")
        self._write(f"The story was written for {mine}. `kernel ID` replays on one.")

    def choose_branch(self) -> None:
        """List the futures that were left."""
        for branch in reversed(self.bench.session.machine.branches):
            tasks = ", ".join(task.name for task in reversed(branch.tasks)) or "the action's rest"
            where = f"from event {branch.position}, {len(branch.cpus)} events"
            self._write(f"Branch {branch.number}: {where}: {tasks}.")
        self._write("`branch N` makes one the future again.")

    def prompt(self, text: str) -> None:
        """Every line is typed here anyway."""
        self._write("Type it here: a command, an action, or `search TEXT`.")

    # -- what needs a screen -------------------------------------------------------------

    def _no_screen(self) -> None:
        raise UsageError("there is no screen here to change", expected="mmtui without --plain")

    def toggle_hold(self) -> None:
        """Panes do not move by themselves."""
        self._no_screen()

    def zoom(self) -> None:
        """There is no screen to share."""
        self._no_screen()

    def resize(self, wider: int, taller: int) -> None:
        """There is no screen to share."""
        self._no_screen()

    def share_anew(self) -> None:
        """There is no screen to share."""
        self._no_screen()

    def set_theme(self, name: str) -> None:
        """There are no colours."""
        self._no_screen()

    def quiz(self) -> None:
        """The quiz is a form to fill in."""
        self._no_screen()

    def set_glyphs(self, chosen: Glyphs) -> None:
        """Write panes with these shapes."""
        choose(chosen)

    # -- documents ---------------------------------------------------------------------

    def save(self, path: str, *, insist: bool = False) -> None:
        """Write what was done as a scenario."""
        if not path:
            raise UsageError("no file to write to", expected="save FILE")
        self.book.save(path, insist=insist)
        self._write(f"Saved to {path}.")

    def open(self, target: str) -> None:
        """Open another document."""
        if not target:
            raise UsageError("no document", expected="open PRESET or open FILE")
        book = Workbook(Bench(open_named(target)))
        self.book.keep(left=True)
        self.book.close()
        self.book = book
        book.begin()
        self._teller = Teller(self.bench)
        self.begin()

    def leave(self) -> None:
        """End; what was done is on file."""
        self.book.keep(left=True)
        self.over = True

    # -- writing -----------------------------------------------------------------------

    def _document(self) -> Doc:
        return document(self._pane, self.bench, marks_of(self.bench), WIDTH, 40)

    def _show(self, *, last: bool = False) -> None:
        """Write the pane that is looked at."""
        doc = self._document()
        self._write(f"Pane {titled(self._pane)}:")
        start = max(0, doc.height - _MOST) if last else 0
        end = min(doc.height, start + _MOST)
        self._lines((*doc.head, *(doc.line(y) for y in range(start, end)), *doc.foot))
        if doc.height > end - start:
            self._write(f"(lines {start + 1} to {end} of {doc.height})")

    def _doc(self, doc: Lines) -> None:
        self._lines(doc.lines)

    def _lines(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._write(_text(line))

    def _tell(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self._write(sentence)


def _text(line: Line) -> str:
    return plain(line).rstrip()
