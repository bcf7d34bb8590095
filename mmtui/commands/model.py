"""What a command is, and what it may ask of the screen it runs on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from mmtui.model.bench import Bench
from mmtui.views.glyphs import Glyphs

__all__ = ["Command", "Desk", "Group", "always"]

T = TypeVar("T")


class Group(StrEnum):
    """Headings of the help."""

    STEP = "Stepping"
    ACT = "Actions on the selection"
    LOOK = "Looking around"
    APP = "The application"


class Desk(Protocol):
    """What commands ask of the main screen; it turns every `SandboxError` into a message."""

    @property
    def bench(self) -> Bench:
        """The document that is open."""

    @property
    def paused(self) -> bool:
        """Whether actions wait at their first event."""

    def work(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Do what may take long, then *done* with what it returned; it can be stopped."""

    def moved(self, message: str = "") -> None:
        """The bench was moved: show it, with a message or what the move brought."""

    def toggle_hold(self) -> None:
        """Let panes stay where they are when the machine is moved, or go to what changed."""

    def looked(self) -> None:
        """The machine is where it was, and is looked at otherwise: show it, keep the message."""

    def say(self, message: str) -> None:
        """Show a message."""

    def replay_on(self, kernel: str) -> None:
        """Replay on another kernel; it can be stopped."""

    def read(self, *, step: bool) -> bool:
        """Show more of the story if it is to be read before the next action, or all of a step.

        Returns whether there was something to read.
        """

    def read_on(self) -> None:
        """Bring into sight what the story has to say of what was just done."""

    def to_story(self) -> None:
        """Go to where the story stands."""

    def cursor(self, across: int, down: int) -> None:
        """Move the cursor or scroll in the focused pane."""

    def page(self, pages: float) -> None:
        """Scroll the focused pane by (parts of) its height; infinity is its end."""

    def focus_pane(self, number: int) -> None:
        """Go to a pane by its number, 0 for the next one and -1 for the previous."""

    def zoom(self) -> None:
        """Give the whole screen to the focused pane, or share it again."""

    def resize(self, wider: int, taller: int) -> None:
        """Give the focused pane more or less columns or rows; remembered."""

    def share_anew(self) -> None:
        """Share the screen among the panes as at first."""

    def back_out(self) -> None:
        """Drop the marked range, or the zoom, or the message."""

    def pick(self) -> None:
        """Choose what is under the cursor of the focused pane."""

    def toggle_pause(self) -> None:
        """Let actions wait at their first event, or run to their end."""

    def prompt(self, text: str) -> None:
        """Ask for a line, beginning with `:` or `/`."""

    def search(self, text: str) -> None:
        """Go to the next line of the focused pane that has a text in it."""

    def choose_kernel(self) -> None:
        """Offer the kernels."""

    def choose_branch(self) -> None:
        """Offer the branches."""

    def set_theme(self, name: str) -> None:
        """Change the colours; no name is the next theme."""

    def set_glyphs(self, chosen: Glyphs) -> None:
        """Draw everything with these shapes."""

    def save(self, path: str, *, insist: bool = False) -> None:
        """Write what was done as a scenario; over somebody else's file only if they insist."""

    def open(self, target: str) -> None:
        """Open another document; nothing is the library."""

    def help(self) -> None:
        """Show the help."""

    def quiz(self) -> None:
        """Ask what the next action does, on a copy."""

    def explain(self, word: str) -> None:
        """Explain a word, or those at the cursor of the focused pane."""

    def proc(self, lines: Sequence[str]) -> None:
        """Show the lines of a file of /proc."""

    def leave(self) -> None:
        """End the application, with the log saved."""


def always(_bench: Bench) -> str | None:
    """A command that can always be given."""
    return None


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a person can do."""

    name: str
    """The word at `:`, and the identity of the key binding."""
    title: str
    """Two or three words, for footer and palette."""
    help: str
    """One full sentence."""
    group: Group
    run: Callable[[Desk, str], None]
    """Do it, given the words after its name at `:`."""
    keys: tuple[str, ...] = ()
    """Keys as they are typed (`]`) or named (`pagedown`); the first one is shown."""
    arguments: str = ""
    """What may follow the name, e.g. `[N]`."""
    check: Callable[[Bench], str | None] = always
    """Why it cannot be given now, None if it can."""
    footer: int = 0
    """Priority in the footer; 0 keeps it out."""

    @property
    def syntax(self) -> str:
        """The line at `:`."""
        return f":{self.name} {self.arguments}".rstrip()

    @property
    def key(self) -> str:
        """The key to show, if there is one."""
        return self.keys[0] if self.keys else ""
