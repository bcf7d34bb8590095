"""What follows history, move by move, is what reading all of it would find."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from mmtui.model.bench import Bench
from mmtui.model.script import open_source
from mmtui.views.episodes import listed
from sandbox.errors import SandboxError
from sandbox.memory import ADDR_MASK
from sandbox.rules import Violation
from sandbox.run.following import Follower
from sandbox.run.session import Session, Step
from sandbox.scenario.language import parse_action

STORIES = ("3", "presets/06-seed-partial-dontneed.md", "tests/scenarios/10-fork.scn")


def steps_of(session: Session) -> list[Step]:
    found: list[Step] = []
    for task in session.machine.tasks:
        if isinstance(task.payload, Step) and (not found or found[-1] is not task.payload):
            found.append(task.payload)
    return found


def bounds_of(session: Session) -> list[int]:
    tasks = [*session.machine.tasks, *session.machine.future_tasks]
    starts = {task.start for task in tasks if isinstance(task.payload, Step)}
    return sorted(starts | {session.position + len(session.machine.future_cpus)})


def check_session(session: Session, chance: random.Random) -> None:
    steps, bounds = steps_of(session), bounds_of(session)
    assert list(session.steps) == steps
    assert all(mine is its for mine, its in zip(session.steps, steps, strict=True))
    assert session.several_cpus == any(task.cpu for task in session.machine.tasks)
    for step in steps[-3:]:
        assert session.tasks_of(step) == [t for t in session.machine.tasks if t.payload is step]
    at = chance.randint(0, session.position)
    assert session.start_before(at) == max((b for b in bounds if b < at), default=None)
    begun = {t.start for t in (*session.machine.tasks, *session.machine.future_tasks)
             if isinstance(t.payload, Step)}  # fmt: skip
    assert session.start_from(at) == min((start for start in begun if start >= at), default=None)


def check_progress(bench: Bench) -> None:
    session, progress = bench.session, bench.progress
    steps = steps_of(session)
    items = [progress.item_of(step) for step in steps]
    done = [item for item in items if item is not None]
    count = len(bench.script.items)
    assert [i for i in range(count) if progress.is_done(i, session)] == done
    assert list(progress.own_steps(session)) == [
        step for step, item in zip(steps, items, strict=True) if item is None
    ]
    assert progress.only_script(session) == all(
        item is not None and bench.script.items[item].action == step.action
        for step, item in zip(steps, items, strict=True)
    )
    starts: dict[int, int] = {}
    for step, item in zip(steps, items, strict=True):
        if item is not None:
            starts.setdefault(bench.script.items[item].step, session.tasks_of(step)[0].start)
    before = [start for start in starts.values() if start < session.position]
    assert progress.story_start(session) == max(before, default=None)


def check_ledger(session: Session) -> None:
    ledger = session.ledger
    held = {int(p) & ADDR_MASK for hold in session.book.holds for p in hold.pages}
    heads = {int(ledger.cells[p + 6]) & ADDR_MASK for p in held}
    assert [int(folio) & ADDR_MASK for folio in ledger.live_folios()] == [
        head
        for head in ledger.names
        if ledger.leaves[head] > 0 or head in heads or ledger.zero_leaves.get(head, 0) > 0
    ]
    assert all(ledger.rss.values())
    assert all(count for owners in ledger.owners.values() for count in owners.values())


def episodes_of(session: Session) -> list[tuple[Any, ...]]:
    """Consecutive states in which a rule was broken, gathered from all violations."""
    groups: list[list[Violation]] = []
    latest: dict[tuple[str, str], list[Violation]] = {}
    for violation in session.rules.violations:
        key = (violation.rule, violation.subject)
        if violation.run == 1 or key not in latest:
            latest[key] = []
            groups.append(latest[key])
        latest[key].append(violation)
    found = []
    for group in groups:
        current = session.rules.broken.get((group[0].rule, group[0].subject))
        now = current is not None and group[-1].event == current.event
        shown = current if now and current else max(group, key=lambda v: v.deficit)
        worst, window = max(v.deficit for v in group), group[0].known_window
        found.append((now, window, group[0].rule, group[0].subject, shown.text, group[0].event,
                      len(group), worst))  # fmt: skip
    found.sort(key=lambda e: (not e[0], e[1] is not None, -e[5]))
    return found


def check_rules(session: Session) -> None:
    rules = session.rules
    assert rules.breaks == [v.event for v in rules.violations if not v.known_window]
    found = listed(rules)
    assert [
        (e.now, e.window, e.rule, e.subject, e.text, e.event, e.states, e.worst)
        for e in (found[at] for at in range(len(found)))
    ] == episodes_of(session)


def begin_and_step(bench: Bench, line: str) -> None:
    bench.act(parse_action(line), paused=True)
    bench.step_event()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("story", STORIES)
def test_what_follows_history_is_what_reading_it_finds(story: str, seed: int) -> None:
    chance = random.Random(f"{story} {seed}")
    bench = Bench(open_source(story), chance.choice(["ryan-v2", "xen-overbatch", "7.2"]))
    own = ("fork A Z", "exit Z", "write A R 0 4", "dontneed A R 2 3", "cpu1: read A R 1 2")
    moves: tuple[Callable[[], object], ...] = (
        lambda: bench.step_event(chance.randint(1, 30)),
        lambda: bench.back_event(chance.randint(1, 30)),
        lambda: bench.step_action(chance.randint(1, 2)),
        lambda: bench.back_action(chance.randint(1, 3)),
        bench.step_story,
        bench.back_story,
        lambda: bench.goto(chance.randint(0, bench.end)),
        lambda: bench.act(parse_action(chance.choice(own))),
        lambda: begin_and_step(bench, chance.choice(own)),
        lambda: bench.switch_branch(chance.choice(bench.session.machine.branches).number),
    )
    for _ in range(60):
        try:
            chance.choice(moves)()
        except (SandboxError, IndexError):  # refused, or there is no branch
            continue
        if chance.random() < 0.7:  # not every move is looked at
            check_session(bench.session, chance)
            check_progress(bench)
            check_ledger(bench.session)
            check_rules(bench.session)


def test_a_follower_that_forgot_an_item_takes_it_in_again() -> None:
    class Lengths(Follower[str]):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[str] = []

        def added(self, item: str, at: int) -> None:
            self.told.append(f"+{item}{at}")

        def dropped(self, item: str, at: int) -> None:
            self.told.append(f"-{item}{at}")

    lengths, items = Lengths(), ["a", "b", "c"]
    lengths.follow(items)
    lengths.forget("b", 1)
    lengths.forget("z", 0)
    lengths.follow(items[:2])
    lengths.follow(["a", "d"])
    assert lengths.told == ["+a0", "+b1", "+c2", "-c2", "-b1", "+b1", "-b1", "+d1"]
    assert len(lengths) == 2
