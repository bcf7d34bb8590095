"""The table of all commands, and how a line at `:` finds its command."""

from __future__ import annotations

from difflib import get_close_matches

from mmtui.commands import acting, finding, looking, stepping
from mmtui.commands.model import Command, Desk
from mmtui.model.bench import Bench
from mmtui.model.selection import areas_of
from mmtui.views.panes import PANES
from sandbox.errors import UsageError
from sandbox.kernels import KERNEL_IDS
from sandbox.scenario.complete import complete as complete_action
from sandbox.scenario.verbs import VERBS

__all__ = ["ALIASES", "COMMANDS", "completions", "execute", "invoke"]

_GROUPS = (stepping.COMMANDS, finding.COMMANDS, acting.COMMANDS, looking.LOOK, looking.APP)

COMMANDS: dict[str, Command] = {
    command.name: command for commands in _GROUPS for command in commands
}
"""Every command by its name, in the order of the help."""

ALIASES = {
    "q": "quit",
    "q!": "quit",
    "w": "save",
    "w!": "save!",
    "wq": "quit",
    "h": "help",
    "e": "open",
    "k": "kernel",
}
"""What fingers type by habit."""


def invoke(desk: Desk, name: str, text: str = "") -> None:
    """Give a command, or say why it cannot be given now.

    Raises:
        SandboxError: it was refused.
    """
    command = COMMANDS[name]
    reason = command.check(desk.bench)
    if reason is not None:
        desk.say(f"{command.title}: {reason}")
        return
    command.run(desk, text)


def execute(desk: Desk, line: str) -> None:
    """Do what was typed at `:`: a command, an event to go to, or a line of the language.

    Raises:
        SandboxError: it is no command, or it was refused; nothing changed.
    """
    line = line.strip()
    if not line:
        return
    word, _, rest = line.partition(" ")
    name = ALIASES.get(word, word)
    if word.isascii() and word.isdigit():
        invoke(desk, "goto", word)
    elif name in COMMANDS:
        invoke(desk, name, rest.strip())
    elif _looks_like_action(word):
        acting.perform(desk, line)
    else:
        near = get_close_matches(word, [*COMMANDS, *VERBS], n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(
            f"there is no command {word[:30]!r}{hint}",
            expected="an action such as 'fork A B', or help",
        )


def _looks_like_action(word: str) -> bool:
    return word in VERBS or word == "traced" or acting.is_block(word)


def completions(line: str, bench: Bench, themes: list[str]) -> list[str]:
    """Words that may stand where the last word of a line is being written."""
    in_block = acting.is_block(line.lstrip())
    if in_block:
        line = acting.last_action(line)
    first, space, rest = line.lstrip().partition(" ")
    areas = areas_of(bench.session)
    regions = list(dict.fromkeys(area.region for area in areas))
    if not space:
        names = [name for name in COMMANDS if name.startswith(first)]
        if in_block and first and "schedule".startswith(first):
            names.append("schedule")
        return [*complete_action(first, bench.procs(), regions), *names] if first else list(VERBS)
    name = ALIASES.get(first, first)
    partial = rest.split(" ")[-1]
    choices: dict[str, list[str]] = {
        "kernel": list(KERNEL_IDS),
        "theme": themes,
        "pane": list(PANES),
        "open": list(bench.source.others),
        "select": [*bench.procs(), *regions],
    }
    if name in ("until", "back-until", "who"):
        return finding.complete(bench, partial, words_only=name == "who")
    if name == "cat":
        from sandbox.truth.procfs.proc import WHATS  # only this needs it, and start-up time counts

        choices[name] = [*(bench.procs() if " " in rest else WHATS)]
    if name in choices:
        return [choice for choice in choices[name] if choice.startswith(partial)]
    if name in ("do", "begin"):
        return complete_action(rest, bench.procs(), regions)
    return [] if name in COMMANDS else complete_action(line, bench.procs(), regions)
