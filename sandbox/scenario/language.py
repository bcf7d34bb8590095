"""The scenario language: text to actions and back.

`parse_scenarios` reads a file of `scenario ... end` blocks, `parse_lines` bare
lines (a preset's command block) and `parse_action` one line (what is typed at
`:`).  All of them raise `ScenarioError` and nothing else, with line and column.
The grammar is that of LANGUAGE.md; the verbs are those of `verbs.VERBS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from sandbox.errors import ScenarioError, Where
from sandbox.machine.handles import MAX_CPUS
from sandbox.scenario.lines import Budget, Line, Word, near, quote, read_line, read_lines
from sandbox.scenario.schedule import Turn, format_schedule, read_schedule
from sandbox.scenario.verbs import VERBS, Group, Kind, Param, Refused, Style, Verb

__all__ = [
    "MAX_CPUS",
    "VERBS",
    "Action",
    "CpuBlock",
    "Group",
    "Kind",
    "Param",
    "Scenario",
    "Style",
    "Verb",
    "format_action",
    "format_scenario",
    "format_step",
    "parse_action",
    "parse_lines",
    "parse_scenarios",
]

_SCENARIO_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CPU_PREFIX = re.compile(r"cpu([0-9]{1,4}):")


class Action(NamedTuple):
    """One action: a verb with its arguments by parameter name.

    Sizes are in pages of 4K, ranges half-open in pages of the region.  Two actions
    are equal if they ask for the same thing, wherever and however it was written.
    """

    verb: str
    args: Mapping[str, Any]
    text: str
    """The line as written, with single spaces, without `traced` and `cpuN:`."""
    traced: bool = False
    cpu: int | None = None
    where: Where = Where("<command>", 1, 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Action):
            return NotImplemented
        mine = (self.verb, self.args, self.traced, self.cpu)
        return mine == (other.verb, other.args, other.traced, other.cpu)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.verb, self.traced, self.cpu))

    @property
    def source(self) -> str:
        """The whole line with single spaces, as a recording's `source` has it."""
        cpu = "" if self.cpu is None else f"cpu{self.cpu}: "
        return f"{cpu}{'traced ' if self.traced else ''}{self.text}"


class CpuBlock(NamedTuple):
    """Actions on several CPUs at a time, and whose turn it is until when.

    A CPU does its actions one after the other.  What the schedule leaves out runs to its
    end, the first CPU first.  Two blocks are equal wherever they were written.
    """

    actions: tuple[Action, ...]
    schedule: tuple[Turn, ...]
    where: Where

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CpuBlock):
            return NotImplemented
        return (self.actions, self.schedule) == (other.actions, other.schedule)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.actions, self.schedule))

    @property
    def source(self) -> str:
        """The lines of the block, joined by newlines."""
        schedule = [format_schedule(self.schedule)] if self.schedule else []
        return "\n".join([*(action.source for action in self.actions), *schedule])

    @property
    def text(self) -> str:
        """The actions on one line, each with its CPU."""
        return "; ".join(action.source for action in self.actions)

    @property
    def cpus(self) -> tuple[int, ...]:
        """The CPUs that have something to do, ascending."""
        return tuple(sorted({action.cpu or 0 for action in self.actions}))

    def of_cpu(self, cpu: int) -> tuple[Action, ...]:
        """The actions of one CPU, in the order in which it does them."""
        return tuple(action for action in self.actions if (action.cpu or 0) == cpu)

    @property
    def playable(self) -> bool:
        """Whether a real kernel can be given the schedule (`Turn.playable`)."""
        return all(turn.playable for turn in self.schedule)


class Scenario(NamedTuple):
    """A named list of steps, equal to another one wherever it was written."""

    name: str
    about: str
    steps: tuple[Action | CpuBlock, ...]
    where: Where

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scenario):
            return NotImplemented
        mine = (self.name, self.about, self.steps)
        return mine == (other.name, other.about, other.steps)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.name, self.about, self.steps))

    @property
    def source(self) -> list[str]:
        """The lines of the steps, as a recording's `source` has them."""
        return [line for step in self.steps for line in step.source.split("\n")]


def _unknown_verb(line: Line, word: Word) -> NoReturn:
    if word.text in ("scenario", "about", "end"):
        line.fail(word.column, f"{word.text!r} is not an action", "an action such as 'fork A B'")
    if word.text == "schedule":
        line.fail(word.column, "a schedule without CPUs", "cpuN: lines before it")
    message = f"unknown verb {quote(word.text)}{near(word.text, VERBS)}"
    line.fail(word.column, message, "a verb of the language, such as fork, write or munmap")


def _read_value(line: Line, param: Param, word: str, column: int, verb: Verb) -> int | str:
    try:
        return param.kind.read(word)
    except Refused as why:
        expected = f"{param.kind.expected} ({verb.usage})"
        line.fail(column, f"{quote(word)} for {param.name}: {why}", expected)


def _read_option(line: Line, word: Word, verb: Verb, args: dict[str, Any]) -> None:
    """Read one `name=value` or bare word after the positional parameters."""
    name, equals, value = word.text.partition("=")
    options = {p.name: p for p in verb.params if p.style in (Style.KEYWORD, Style.FLAG)}
    param = options.get(name)
    if param is None or bool(equals) != (param.style is Style.KEYWORD):
        hint = near(name, options)
        line.fail(word.column, f"{quote(word.text)} is too much{hint}", verb.usage)
    if name in args:
        line.fail(word.column, f"{name} is given twice", f"{name} once")
    column = word.column + len(name) + len(equals)
    args[name] = _read_value(line, param, value, column, verb)


def _read_args(line: Line, verb: Verb, words: Sequence[Word]) -> dict[str, Any]:
    """Read the words after the verb; the result has every parameter, in order."""
    given: dict[str, Any] = {}
    columns: dict[str, int] = {}
    rest = list(words)
    for param in verb.params:
        if param.style in (Style.KEYWORD, Style.FLAG):
            continue
        if not rest:
            if param.style is Style.OPTIONAL:
                continue
            expected = f"{param.kind.expected} ({verb.usage})"
            line.fail(line.end, f"{verb.name} lacks its {param.name}", expected)
        word = rest.pop(0)
        given[param.name] = _read_value(line, param, word.text, word.column, verb)
        columns[param.name] = word.column
    for word in rest:
        _read_option(line, word, verb, given)
    if "end" in given and given["end"] <= given["start"]:
        message = f"the range [{given['start']}, {given['end']}) is empty"
        line.fail(columns["end"], message, "b greater than a: the range is half-open")
    return {p.name: given.get(p.name, p.default) for p in verb.params}


def _read_action(line: Line) -> Action:
    """Read `[cpuN:] [traced] VERB ARGUMENTS`."""
    words = list(line.words)
    cpu = None
    if prefix := _CPU_PREFIX.fullmatch(words[0].text):
        cpu = int(prefix[1])
        if cpu >= MAX_CPUS:
            line.fail(words[0].column, f"there is no CPU {cpu}", f"0 to {MAX_CPUS - 1}")
        words.pop(0)
    traced = bool(words) and words[0].text == "traced"
    if traced:
        words.pop(0)
    if not words:
        line.fail(line.end, "the action is missing", "an action such as 'fork A B'")
    verb = VERBS.get(words[0].text)
    if verb is None:
        _unknown_verb(line, words[0])
    args = _read_args(line, verb, words[1:])
    text = " ".join(word.text for word in words)
    return Action(verb.name, args, text, traced, cpu, line.where)


def _block(actions: Sequence[Action], schedule: tuple[Turn, ...] = ()) -> CpuBlock:
    return CpuBlock(tuple(actions), schedule, actions[0].where)


def _read_steps(lines: Iterable[Line], budget: Budget) -> list[Action | CpuBlock]:
    """Read lines to steps; a run of `cpuN:` lines and its schedule is one step."""
    steps: list[Action | CpuBlock] = []
    together: list[Action] = []
    for line in lines:
        if together and line.words[0].text == "schedule":
            cpus = {action.cpu for action in together if action.cpu is not None}
            steps.append(_block(together, read_schedule(line, cpus, budget)))
            together = []
            continue
        budget.take_action(line)
        action = _read_action(line)
        if action.cpu is not None:
            together.append(action)
            continue
        if together:
            steps.append(_block(together))
            together = []
        steps.append(action)
    if together:
        steps.append(_block(together))
    return steps


def parse_lines(
    text: str, filename: str, first_line: int = 1, budget: Budget | None = None
) -> list[Action | CpuBlock]:
    """Read bare action lines, as in a preset's command block; `budget` is of the whole document.

    Raises `ScenarioError`; its line counts from `first_line`.
    """
    return _read_steps(read_lines(text, filename, first_line), budget or Budget())


def parse_action(line: str, filename: str = "<command>", line_no: int = 1) -> Action:
    """Read one action, as typed at `:`.

    Raises `ScenarioError`, also for an empty line and for more than one line.
    """
    if "\n" in line.strip("\n"):
        where = Where(filename, line_no, 1)
        raise ScenarioError("more than one line", where, "one action")
    read = read_line(line.strip("\n"), filename, line_no)
    if not read.words:
        read.fail(1, "there is nothing here", "an action such as 'fork A B'")
    return _read_action(read)


def _read_header(line: Line, seen: Mapping[str, Where]) -> str:
    """Read `scenario NAME` and return the name."""
    first = line.words[0]
    if first.text != "scenario":
        message = f"{quote(first.text)} outside a scenario"
        line.fail(first.column, message, "'scenario NAME'")
    if len(line.words) != 2:
        line.fail(line.end, "a scenario has one name", "'scenario NAME'")
    name = line.words[1]
    if not _SCENARIO_NAME.fullmatch(name.text):
        expected = "lower-case words joined by '-'"
        line.fail(name.column, f"{quote(name.text)} is no name of a scenario", expected)
    if name.text in seen:
        expected = f"a name other than that of line {seen[name.text].line}"
        line.fail(name.column, f"a second scenario {name.text!r}", expected)
    return name.text


def _read_body(header: Line, lines: Iterable[Line], most: int) -> tuple[str, list[Line]]:
    """Collect the lines up to `end`; return the text of `about` and at most so many others."""
    about: str | None = None
    body: list[Line] = []
    for line in lines:
        first = line.words[0]
        if first.text == "end":
            if len(line.words) > 1:
                line.fail(line.words[1].column, "something after end", "'end' alone")
            return about or "", body
        if first.text == "scenario":
            line.fail(first.column, "a scenario inside a scenario", "'end' before it")
        if first.text != "about":
            if len(body) > 2 * most:  # an action may have a schedule; refused by the budget
                return about or "", body
            body.append(line)
        elif about is not None or body:
            line.fail(first.column, "about in a wrong place", "it once, after the scenario line")
        else:
            about = line.code.strip()[len("about") :].strip()
    name = header.words[1].text
    header.fail(header.words[0].column, f"scenario {name!r} has no end", "'end'")


def parse_scenarios(text: str, filename: str) -> list[Scenario]:
    """Read a file of `scenario NAME ... end` blocks.

    Raises `ScenarioError`, also for a file without any scenario.
    """
    scenarios: list[Scenario] = []
    seen: dict[str, Where] = {}
    budget = Budget()
    lines = iter(read_lines(text, filename, 1))
    for header in lines:
        name = _read_header(header, seen)
        seen[name] = header.where
        about, body = _read_body(header, lines, budget.actions)
        scenarios.append(Scenario(name, about, tuple(_read_steps(body, budget)), header.where))
    if not scenarios:
        raise ScenarioError("no scenario in the file", Where(filename, 1, 1), "'scenario NAME'")
    return scenarios


def _format_param(param: Param, value: object) -> str:
    if param.style is Style.FLAG:
        return param.name
    shown = param.kind.show(value)
    return f"{param.name}={shown}" if param.style is Style.KEYWORD else shown


def format_action(action: Action) -> str:
    """Write an action in its canonical form: `parse_action` gives an equal one back.

    Parameters that have their default value are left out.
    """
    verb = VERBS[action.verb]
    words = [verb.name]
    for param in verb.params:
        value = action.args[param.name]
        if param.style is Style.POSITIONAL or value != param.default:
            words.append(_format_param(param, value))
    cpu = [] if action.cpu is None else [f"cpu{action.cpu}:"]
    return " ".join([*cpu, *(["traced"] if action.traced else []), *words])


def format_step(step: Action | CpuBlock) -> str:
    """Write a step as its lines, joined by newlines, without a newline at the end.

    A block always gets its schedule line, which keeps it apart from a block after it.
    """
    if isinstance(step, Action):
        return format_action(step)
    lines = [format_action(action) for action in step.actions]
    return "\n".join([*lines, format_schedule(step.schedule)])


def format_scenario(scenario: Scenario) -> str:
    """Write a whole scenario block, with a newline at its end."""
    about = [f"about {scenario.about}"] if scenario.about else []
    steps = [format_step(step) for step in scenario.steps]
    return "\n".join([f"scenario {scenario.name}", *about, *steps, "end", ""])
