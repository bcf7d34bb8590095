"""Sessions on file: opening them again, and all that must be as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mmtui.model.bench import Bench
from mmtui.model.documents import open_document
from mmtui.model.script import Source, empty_source, open_source
from mmtui.model.sessions import saved_text
from mmtui.model.workbook import Workbook
from sandbox.errors import SandboxError
from sandbox.machine.tasks import Task
from sandbox.run.runner import ScenarioRun
from sandbox.run.session import Session, Step
from sandbox.scenario.language import Action, CpuBlock, format_step, parse_scenarios
from tests.attack.escapes import Standing
from tests.engine.support import snapshot

__all__ = ["bench_after", "complete", "differences", "done_texts", "reopen", "save", "standing_of"]


def reopen(path: Path) -> Bench:
    """Open a session file as the application does: the one place that knows how.

    Raises:
        SandboxError: it is no session, or it cannot be done again.
    """
    book = Workbook(Bench(open_source(str(path))))
    book.begin()
    book.bench.keeper = None  # this one is looked at, not worked on
    if book.bench.refusal is not None:
        raise book.bench.refusal
    return book.bench


def save(bench: Bench, path: Path) -> None:
    """Write a bench to a file that `reopen` opens: the other half of what knows how.

    Raises:
        SandboxError: it cannot be written.
    """
    path.write_text(saved_text(bench))


def run_state(path: Path, kernel: str) -> dict[str, Any]:
    """The state at the end of a session file that is run as any scenario is (`mmtui run`).

    Raises:
        SandboxError: it is no scenario, or an action of it is refused.
    """
    scenario = open_document(str(path)).scenarios(kernel)[0]
    running = ScenarioRun(kernel, name=scenario.name)
    for step in scenario.steps:
        running.do(step)
    return running.session.state()


def bench_after(lines: Iterable[str], kernel: str | None = None, script: str = "") -> Bench:
    """A fresh bench, on a scenario or on an empty machine, on which some moves were made.

    A move is an action of the language, or one of `N`, `A`, `e`, `n`, `]`, `branch N`,
    `kernel ID` as they are typed in the application.
    """
    bench = Bench(scenario_source(script) if script else empty_source(), kernel)
    for line in lines:
        bench = move(bench, line)
    return bench


def scenario_source(text: str) -> Source:
    """The first scenario of a text as a document."""
    scenario = parse_scenarios(text, "typed.scn")[0]
    return Source(scenario.name, scenario.name, ("7.2",), scenario=scenario)


def move(bench: Bench, line: str) -> Bench:
    """Make one move on a bench; a kernel makes another bench of it.

    Raises:
        SandboxError: it was refused.
    """
    from mmtui.commands.acting import parse

    word, _, rest = line.partition(" ")
    keys: dict[str, Callable[[], object]] = {
        "N": bench.back_action, "n": bench.step_action, "[": bench.back_story,
        "]": bench.step_story, "s": bench.step_event, "S": bench.back_event,
        "e": bench.run_to_end, "A": lambda: bench.goto(0),
    }  # fmt: skip
    if line in keys:
        keys[line]()
    elif word == "branch":
        bench.switch_branch(int(rest))
    elif word == "kernel":
        return bench.replay_on(rest)
    else:
        action = parse(rest if word == "begin" else line)
        paused = word == "begin"
        if isinstance(action, CpuBlock) and not action.schedule:  # as the application has it
            paused = paused or len(action.actions) > 1 or not bench.idle
        bench.act(action, paused=paused)
    return bench


def standing_of(bench: Bench) -> Standing:
    """Where a bench is, as the status line says it."""
    branches = len(bench.session.machine.branches)
    return Standing(bench.kernel, bench.session.position, bench.end, branches)


def done_texts(bench: Bench) -> list[str]:
    """The actions of the whole present line, those ahead of the position too."""
    machine = bench.session.machine
    return _actions([*machine.tasks, *reversed(machine.future_tasks)])


def _actions(tasks: Iterable[Task]) -> list[str]:
    """The actions of tasks as the language writes them, drains left out."""
    steps: list[Step] = []
    for task in tasks:
        step = task.payload
        if isinstance(step, Step) and (not steps or steps[-1] is not step):
            steps.append(step)
    return [_written(step.action) for step in steps]


def _written(action: Action | CpuBlock) -> str:
    """An action however it was typed; the order of CPUs is that of the events."""
    if isinstance(action, CpuBlock):
        return " | ".join(format_step(each) for each in action.actions)
    return format_step(action)


def histories(bench: Bench) -> list[tuple[list[str], bytes]]:
    """All that was done, as the set of its ends: the actions to each, and the order of their CPUs.

    An action that was begun and left before its end is the one in progress, and left out; so is
    a history that another one goes on from.  Goes to each end: the bench is elsewhere afterwards.
    """
    machine = bench.session.machine
    found = {_history(bench)}
    for _ in range(2):  # a branch that forked off another one is met when that was gone to
        for branch in list(machine.branches):
            if branch in machine.branches:
                machine.switch_branch(branch)
                found.add(_history(bench))
    return sorted(
        (list(actions), order)
        for actions, order in found
        if not any(_goes_on(longer, (actions, order)) for longer in found)
    )


def _goes_on(longer: tuple[tuple[str, ...], bytes], other: tuple[tuple[str, ...], bytes]) -> bool:
    """Whether a history begins with all of another one."""
    begins = longer[0][: len(other[0])] == other[0] and longer[1].startswith(other[1])
    return begins and longer != other


def _history(bench: Bench) -> tuple[tuple[str, ...], bytes]:
    """What was done up to the end of the present line, an action that is running left out."""
    machine = bench.session.machine
    machine.goto(bench.end)
    running = [task.payload for task in bench.session.running]
    tasks = [task for task in machine.tasks if task.payload is None or task.payload not in running]
    begun = [task.start for task in machine.tasks if task.payload in running and task.payload]
    return tuple(_actions(tasks)), bytes(machine.cpus)[: min(begun, default=machine.position)]


def complete(bench: Bench) -> dict[str, Any]:
    """Everything of a bench that opening its session again must bring back, bit for bit.

    The kernel; all words of memory at the position and at the end of the present line, with the
    ledger and the rules; and all that was done, on branches too.  It is the last that is done to
    a bench, which is elsewhere afterwards.
    """
    session = bench.session
    state: dict[str, Any] = {"kernel": bench.kernel, "line": done_texts(bench)}
    state |= {f"here {name}": value for name, value in _snapshot(session).items()}
    session.machine.goto(bench.end)
    state |= {f"end {name}": value for name, value in _snapshot(session).items()}
    state["histories"] = histories(bench)
    return state


def _snapshot(session: Session) -> dict[str, Any]:
    """Everything, but for how the actions were typed: `20K` and `5p` are the same."""
    found = snapshot(session)
    found["running"] = [task and task[1:] for task in found["running"]]
    found["tasks"] = [task[1:] for task in found["tasks"]]
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> str:
    """In which parts two complete states differ, with the first difference of each; empty: none."""
    parts = []
    for name in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(name), other.get(name)
        if mine != theirs:
            parts.append(f"{name}: {_first(mine, theirs)}")
    return "; ".join(parts)


def _first(mine: object, theirs: object) -> str:
    """The first place where two values differ, shortly."""
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        at = next(i for i, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1])
        return f"[{at}] {mine[at]!r} and {theirs[at]!r}"[:160]
    return f"{mine!r:.80} and {theirs!r:.80}"


def replayable(path: Path) -> str:
    """Why a session file cannot be opened again; empty if it can."""
    try:
        reopen(path)
    except SandboxError as error:
        return f"{path.name}: {error}"
    return ""
