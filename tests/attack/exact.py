"""Random benches held against fresh replays, bit for bit: undo, redo, branches, kernels, saving."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from mmtui.commands import acting
from mmtui.model.bench import Bench
from mmtui.model.script import empty_source, open_source
from sandbox.errors import SandboxError
from sandbox.kernels import KERNEL_IDS
from sandbox.run.session import Session, Step
from sandbox.scenario.language import CpuBlock
from sandbox.scenario.library import list_cards
from tests.attack.actions import START, random_action
from tests.attack.back import draw
from tests.attack.report import Report
from tests.attack.sessions import complete, differences, reopen, save
from tests.engine.support import snapshot

__all__ = ["Walk", "exact", "exact_under_hash_seeds"]

_REPLAYED = 30_000
"""Events of a history that is done again from nothing."""
_PRESETS = tuple(card.slug for card in list_cards())
HASH_SEEDS = range(5)


class Found(Exception):
    """A fault was noted: the walk is over."""


class Walk:
    """One random bench, made of its seed alone; every move is checked."""

    def __init__(self, report: Report, seed: int, folder: Path) -> None:
        self.report, self.seed, self.folder = report, seed, folder
        self.random = Random(seed)
        self.history: deque[str] = deque()
        self.digest = hashlib.sha256()
        kernel = self.random.choice(KERNEL_IDS)
        source = empty_source()
        if self.random.random() < 0.5:
            source = open_source(self.random.choice(_PRESETS))
            if self.random.random() < 0.5:
                kernel = self.random.choice(source.kernels)
        self.bench = Bench(source, kernel)
        self.boot = snapshot(self.bench.session)
        self._ends: dict[object, str] = {}
        self._moves: tuple[tuple[float, Callable[[], None]], ...] = (
            (0.45, self._act), (0.26, self._forth), (0.21, self._to), (0.10, self._back),
            (0.05, self._branch), (0.03, self._kernel), (0.04, self._replay),
        )  # fmt: skip

    def run(self) -> None:
        """All of it; what is wrong is in the report afterwards."""
        self.report.tried += 1
        try:
            if self.bench.source.preset is None:
                for line in START:
                    self._try(partial(self._do, line))
            for _ in range(self.random.randint(10, 70)):
                self._move()
            self._try(self._there_and_back)
            self._try(self._every_branch)
            self._try(self._saved_and_reopened)
        except Found:
            return
        finally:
            self.digest.update(_text(self.bench.session).encode())

    # -- one move ------------------------------------------------------------------------

    def _move(self) -> None:
        kinds = [move for _, move in self._moves]
        move = self.random.choices(kinds, [weight for weight, _ in self._moves])[0]
        before = self.bench.session.position
        self.report.counts["moves"] += 1
        self._try(move)
        moved = self.bench.session.position - before
        self.report.counts["events" if moved > 0 else "events back"] += abs(moved)
        self._no_ghost()
        self._same_end()
        self._try(lambda: draw(self.bench, [(120, 40)]))

    def _try(self, move: Callable[[], object]) -> None:
        """Do something: a refusal is right, any other error is a fault."""
        try:
            move()
        except SandboxError:
            self.report.counts["refused"] += 1
        except Found:
            raise
        except Exception as error:  # noqa: BLE001  # each of them would be a crash
            places = traceback.extract_tb(error.__traceback__)[-2:]
            where = " < ".join(f"{Path(p.filename).name}:{p.lineno}" for p in reversed(places))
            self._fault("error", f"{type(error).__name__}: {error} @ {where}")

    def _fault(self, kind: str, text: str) -> None:
        where = f"bench {self.seed} ({self.bench.source.name} on {self.bench.kernel})"
        self.report.fault(kind, f"{where}: {text[:600]}", "\n".join(self.history))
        raise Found

    def _do(self, line: str, *, paused: bool = False) -> None:
        self.history.append((":begin " if paused else ":") + line)
        self.bench.act(acting.parse(line), paused=paused)

    def _act(self) -> None:
        self._do(random_action(self.random, self.bench), paused=self.random.random() < 0.25)
        self.report.counts["actions"] += 1

    def _forth(self) -> None:
        bench = self.bench
        moves: list[tuple[str, Callable[[], object]]] = [
            ("s", lambda: bench.step_event(self.random.choice((1, 1, 5, 20, 100)))),
            ("n", bench.step_action), ("]", bench.step_story), ("o", bench.step_function),
            ("v", bench.run_until_violation), ("e", bench.run_to_end), ("P", self._cpu),
        ]  # fmt: skip
        name, move = self.random.choice(moves)
        self.history.append(name)
        move()

    def _cpu(self) -> None:
        self.bench.cpu = self.random.choice((None, 0, 1))

    def _back(self) -> None:
        bench, choose = self.bench, self.random.choice
        moves: list[tuple[str, Callable[[], object]]] = [
            ("S", lambda: bench.back_event(choose((1, 1, 5, 30, 200)))), ("[", bench.back_story),
            ("N", lambda: bench.back_action(choose((1, 1, 2, 5)))), ("O", bench.back_function),
        ]  # fmt: skip
        name, move = choose(moves)
        self.history.append(name)
        move()

    def _to(self) -> None:
        position = self.random.randrange(self.bench.end + 2)
        self.history.append(f":{position}")
        self.bench.goto(position)

    def _branch(self) -> None:
        branches = self.bench.session.machine.branches
        if branches:
            number = self.random.choice(branches).number
            self.history.append(f":branch {number}")
            self.bench.switch_branch(number)
            self.bench.goto(self.bench.end)
            self.report.counts["branches"] += 1

    def _kernel(self) -> None:
        """Another kernel and back is where we were, unless CPUs took turns or it was refused."""
        bench = self.bench
        other = self.random.choice(KERNEL_IDS)
        self.history.append(f"K {other}")
        there = bench.replay_on(other)
        draw(there, [(80, 24)])
        self.report.counts["kernels"] += 1
        steps = bench.session.steps
        if bench.session.running or any(isinstance(step.action, CpuBlock) for step in steps):
            return
        again = there.replay_on(bench.kernel)
        if [step.action for step in again.session.steps] == [step.action for step in steps]:
            self.report.counts["kernels and back"] += 1
            if _text(again.session) != _text(bench.session):
                self._fault("kernel and back", f"over {other}: another state")

    # -- what must hold ------------------------------------------------------------------

    def _no_ghost(self) -> None:
        machine = self.bench.session.machine
        if any(task.end is None and task not in machine.running for task in machine.tasks):
            self._fault("ghost", "an action that is not running and has not ended")

    def _same_end(self) -> None:
        """The same history has always the same state at its end."""
        session = self.bench.session
        if session.machine.can_redo():
            return
        steps = tuple((step.number, step.action.text) for step in session.steps)
        key = (bytes(session.machine.cpus), steps)
        state = f"{session.position} {_text(session)}"
        self.digest.update(state.encode())
        if self._ends.setdefault(key, state) != state:
            self._fault("branch", "the same history has another state")

    def _replay(self) -> None:
        """The state at a random position is that of the same events done from nothing."""
        if self.bench.end > _REPLAYED:
            return
        self.bench.goto(self.random.randrange(self.bench.end + 1))
        self.history.append(f"replayed up to {self.bench.session.position}")
        fresh = replayed(self.bench.session)
        if fresh.position != self.bench.session.position:
            return  # in the middle of a drain, which a fresh session does as a whole
        self.report.counts["replays"] += 1
        self.report.counts["replayed events"] += fresh.position
        self._equal("replay", snapshot(self.bench.session), snapshot(fresh))

    def _equal(self, kind: str, one: dict[str, Any], other: dict[str, Any]) -> None:
        parts = [name for name in one if name not in ("rules", "checks")]
        wrong = differences({n: one[n] for n in parts}, {n: other[n] for n in parts})
        if wrong:
            self._fault(kind, wrong)

    def _there_and_back(self) -> None:
        """Twice to the start, which is as it was, and forth again, with a stop or two."""
        bench = self.bench
        if bench.session.running:
            bench.goto(bench.end)
            bench.session.finish()
        before = snapshot(bench.session)
        here = bench.session.position
        for _ in range(2):
            bench.goto(0)
            self._equal("undo", self.boot, snapshot(bench.session))
            for stop in sorted(self.random.randrange(here + 1) for _ in range(2)):
                bench.goto(stop)
            bench.goto(here)
            wrong = differences(before, snapshot(bench.session))
            if wrong:
                self._fault("redo", wrong)
            self.report.counts["round trips"] += 1

    def _every_branch(self) -> None:
        """All that was left can be reached, and has the state that it had."""
        for _ in range(min(12, 3 * len(self.bench.session.machine.branches))):
            self._branch()
            self._no_ghost()
            self._same_end()

    def _saved_and_reopened(self) -> None:
        """A session on file is the bench with its position and branches."""
        bench = self.bench
        bench.goto(bench.end)
        bench.session.finish()
        if not bench.end:
            return
        bench.goto(self.random.choice((bench.end, self.random.randrange(bench.end + 1))))
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"bench-{self.seed}.scn"
        self.history.append(f"saved at {bench.session.position}")
        try:
            save(bench, path)
            again = reopen(path)
        except SandboxError as error:
            self._fault("session", f"{error}")
        self.report.counts["reopened"] += 1
        wrong = differences(complete(bench), complete(again))
        if wrong:
            self._fault("session", wrong)
        path.unlink()


def _text(session: Session) -> str:
    """The state as text, to be compared byte by byte."""
    return json.dumps(session.state(), sort_keys=True, default=str)


def replayed(session: Session) -> Session:
    """A new session that does the same steps in the same order of CPUs, event by event."""
    machine, fresh = session.machine, Session(session.kernel, len(session.cpus))
    starts: list[tuple[int, Step]] = []
    for task in machine.tasks:
        step = task.payload
        if isinstance(step, Step) and all(step is not other for _, other in starts):
            starts.append((task.start, step))
    order = bytes(machine.cpus)
    while True:
        while starts and starts[0][0] == fresh.position and not fresh.running:
            fresh.begin(starts.pop(0)[1].action)
        if fresh.position >= machine.position:
            return fresh
        cpu = order[fresh.position]
        fresh.machine.step(cpu)
        if fresh.machine.running[cpu] is None:
            fresh.drain()


def exact(report: Report, folder: Path, seed: int, seconds: float) -> list[str]:
    """Walks of consecutive seeds until the time is over; a digest of each."""
    until = time.monotonic() + seconds
    digests = []
    number = seed * 1_000_000
    while time.monotonic() < until:
        walk = Walk(report, number, folder)
        walk.run()
        digests.append(walk.digest.hexdigest())
        number += 1
    return digests


def exact_under_hash_seeds(report: Report, folder: Path, seed: int, seconds: float) -> None:
    """The same walks under each of five hash seeds, whose digests must be the same."""
    found: list[list[str]] = []
    for number in HASH_SEEDS:
        report.counts[f"hash seed {number}"] += 1
        share = str(seconds / len(HASH_SEEDS))
        argv = [sys.executable, "-m", "tests.attack", "exact-once", "--seed", str(seed)]
        done = subprocess.run(
            [*argv, "--seconds", share, "--into", str(folder)],
            env=os.environ | {"PYTHONHASHSEED": str(number)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        line = done.stdout.splitlines()[-1:] or [""]
        try:
            result = json.loads(line[0])
        except ValueError:
            report.fault("error", f"hash seed {number}: {done.stderr[-500:]}", done.stderr)
            continue
        found.append(result.pop("digests"))
        report.take(result)
    for number, digests in enumerate(zip(*found, strict=False)):
        same = len(set(digests)) == 1
        report.expect(same, "hash seed", f"bench {seed * 1_000_000 + number} depends on it")
        report.counts["benches under every hash seed"] += 1
