"""A list over the main screen: kernels, branches."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen

from mmtui.model.bench import Bench
from mmtui.widgets.chooser import Choice, Chooser
from mmtui.widgets.contained import ContainedScreen
from mmtui.widgets.filter import Filter
from sandbox.kernels import REGISTRY, kernel_by_name, named_kernels
from sandbox.kernels.installed import installed

__all__ = ["ChooseScreen", "branch_choices", "kernel_choices"]


class ChooseScreen(ContainedScreen, ModalScreen[str | None]):
    """Choose one of a few rows; typing narrows them, Escape backs out."""

    DEFAULT_CSS = """
    ChooseScreen { align: center middle; }
    ChooseScreen > Container {
        width: 90%; max-width: 90; height: 80%; max-height: 24;
        background: $background; border: solid $primary;
    }
    ChooseScreen Chooser, ChooseScreen Chooser:focus { border-top: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Back", show=False)]
    AUTO_FOCUS = "Filter"

    def __init__(self, title: str, choices: list[Choice]) -> None:
        super().__init__()
        self._title = title
        self.chooser = Chooser("choices", "", choices)

    def compose(self) -> ComposeResult:
        """A filter over the rows."""
        with Container() as box:
            box.border_title = self._title
            yield Filter(self.chooser, "type to narrow, Enter chooses, Escape backs out")
            yield self.chooser

    @on(Chooser.Chosen)
    def _chosen(self, event: Chooser.Chosen) -> None:
        event.stop()
        self.dismiss(event.value)

    def action_cancel(self) -> None:
        """Back out."""
        self.dismiss(None)


def kernel_choices(bench: Bench) -> list[Choice]:
    """The kernels, those of the document first; at the end those named or installed."""
    mine = bench.source.kernels
    known = [(entry.id, entry.title) for entry in REGISTRY]
    known += [(name, kernel_by_name(name).title) for name in named_kernels()]
    listed = {name for name, _ in known}
    known += [(e.name, f"of {e.distribution}") for e in installed() if e.name not in listed]
    known.sort(key=lambda each: mine.index(each[0]) if each[0] in mine else len(mine))
    rows = []
    for name, title in known:
        now, told = name == bench.kernel, name in mine
        columns = (
            ("* " if now else "  ", "changed"),
            (f"{name:<13}", "strong"),
            (f" {title}" if len(name) > 12 else title, "" if told else "dim"),
        )
        about = "The kernel of now. " if now else ""
        if not told:
            about += "The story was not written for this kernel; its actions are done all the same."
        rows.append(Choice(name, columns, about))
    return rows


def branch_choices(bench: Bench) -> list[Choice]:
    """The futures that were left, latest first."""
    rows = []
    for branch in reversed(bench.session.machine.branches):
        tasks = ", ".join(task.name for task in reversed(branch.tasks)) or "the rest of the action"
        columns = (
            (f"{branch.number:<4}", "strong"),
            (f"from event {branch.position}, {len(branch.cpus)} events: ", ""),
            (tasks, "dim"),
        )
        rows.append(Choice(str(branch.number), columns))
    return rows
