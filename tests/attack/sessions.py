"""Sessions on file: opening them again, and all that must be as it was."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmtui.model.bench import Bench
from mmtui.model.script import Source, empty_source, open_source
from sandbox.errors import SandboxError
from sandbox.scenario.language import parse_scenarios
from tests.attack.terminal import Standing
from tests.engine.support import snapshot

__all__ = ["bench_after", "complete", "differences", "done_texts", "reopen", "standing_of"]

_KERNEL = re.compile(r"^# mmtui .*--kernel (\S+)$", re.MULTILINE)


def reopen(path: Path) -> Bench:
    """Open a session file as the application does: the one place that knows how.

    Raises:
        SandboxError: it is no session, or it cannot be done again.
    """
    source = open_source(str(path))
    kernel = _KERNEL.search(path.read_text("utf-8"))
    bench = Bench(source, kernel[1] if kernel else None)
    bench.run_to_end()
    return bench


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
    keys = {
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
        bench.act(parse(rest if word == "begin" else line), paused=word == "begin")
    return bench


def standing_of(bench: Bench) -> Standing:
    """Where a bench is, as the status line says it."""
    branches = len(bench.session.machine.branches)
    return Standing(bench.kernel, bench.session.position, bench.end, branches)


def done_texts(bench: Bench) -> list[str]:
    """The actions of the whole present line, those ahead of the position too."""
    machine = bench.session.machine
    texts: list[str] = []
    last = None
    for task in [*machine.tasks, *reversed(machine.future_tasks)]:
        if task.payload is not None and task.payload is not last:
            last = task.payload
            texts.append(last.action.text)
    return texts


def complete(bench: Bench) -> dict[str, Any]:
    """Everything of a bench that opening its session again must bring back, bit for bit.

    All words of memory at the position and at the end of the present line, with the ledger and
    the rules; the kernel; and of each branch where it forks off, its actions and the order of
    its CPUs.  The bench is where it was afterwards.
    """
    session, machine = bench.session, bench.session.machine
    here = session.position
    state: dict[str, Any] = {"kernel": bench.kernel, "line": done_texts(bench)}
    state["branches"] = sorted(
        (branch.position, bytes(branch.cpus), tuple(task.name for task in branch.tasks))
        for branch in machine.branches
    )
    state |= {f"here {name}": value for name, value in snapshot(session).items()}
    if machine.can_redo():
        machine.goto(bench.end)
        state |= {f"end {name}": value for name, value in snapshot(session).items()}
        machine.goto(here)
    return state


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
