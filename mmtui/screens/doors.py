"""The part of the main screen that opens others: lists to choose from, help, the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmtui.screens.showing import ShowingScreen
from mmtui.themes import THEMES
from mmtui.views.glyphs import Glyphs
from sandbox.errors import UsageError

__all__ = ["DoorsScreen"]


class DoorsScreen(ShowingScreen):
    """A screen from which one comes to others."""

    def give(self, name: str, text: str = "") -> None:
        """Give a command, with what would stand after its name."""
        raise NotImplementedError

    def choose_kernel(self) -> None:
        """Offer the kernels; those the document is meant for are marked."""
        from mmtui.screens.choose import ChooseScreen, kernel_choices

        choices = kernel_choices(self.bench)
        self.app.push_screen(
            ChooseScreen("Replay on which kernel?", choices), self._chosen("kernel")
        )

    def choose_branch(self) -> None:
        """Offer the branches."""
        from mmtui.screens.choose import ChooseScreen, branch_choices

        screen = ChooseScreen("Which future?", branch_choices(self.bench))
        self.app.push_screen(screen, self._chosen("branch"))

    def _chosen(self, name: str) -> Callable[[str | None], None]:
        def done(choice: str | None) -> None:
            if choice:
                self.give(name, choice)

        return done

    def set_theme(self, name: str) -> None:
        """Change the colours; no name is the next of ours.  Remembered."""
        if not name:
            name = self.app.next_theme()
        elif name not in self.app.available_themes:
            names = ", ".join(theme.name for theme in THEMES)
            raise UsageError(f"there is no theme {name[:30]!r}", expected=names)
        else:
            self.app.take_theme(name)
        self.say(f"theme {name}")

    def set_glyphs(self, chosen: Glyphs) -> None:
        """Draw everything with these shapes."""
        self.app.take_glyphs(chosen)
        self.frame.titles()
        self.refresh_panes()

    def open(self, target: str) -> None:
        """Open another document; nothing is the library."""
        self.app.open_target(target)

    def help(self) -> None:
        """Show the help."""
        from mmtui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.bench))

    def explain(self, word: str) -> None:
        """Explain a word, or those at the cursor of the pane."""
        from mmtui.screens.explain import ExplainScreen
        from mmtui.views.descriptor import descriptor_lines
        from mmtui.views.explain import terms_of

        spec = self.frame.spec
        terms = terms_of(self.frame.current.doc, letters=spec.letters) if spec.explains else []
        above = descriptor_lines(self.bench) if spec.name == "tables" and not word else ()
        self.app.push_screen(ExplainScreen(terms, word, above))

    def proc(self, lines: Sequence[str]) -> None:
        """Show the lines of a file of /proc."""
        from mmtui.screens.proc import ProcScreen

        self.app.push_screen(ProcScreen(lines))

    def leave(self) -> None:
        """Save the log and end."""
        self.app.leave()
