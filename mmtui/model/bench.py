"""The workbench: one document on one machine, and every way to move it.

Each move either happens as a whole or raises `SandboxError` at the place where it had to
stop; in both cases `changes` says what it changed.  The script's actions are begun when
there is nothing left to step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile

from mmtui.model.changes import NO_CHANGES, ChangeRecorder, Changes
from mmtui.model.living import Living, Roll
from mmtui.model.progress import Progress
from mmtui.model.regrow import regrow
from mmtui.model.script import Script, Source
from mmtui.model.selection import Selection, areas_of
from mmtui.model.tree import Done, Place, Tree, place_of, root_steps, tree_of
from sandbox.errors import Cancelled, SandboxError, UsageError
from sandbox.machine.memory import Event
from sandbox.rules import Violation
from sandbox.run.runner import ScenarioRun
from sandbox.run.scheduling import play
from sandbox.run.session import Session, Step
from sandbox.scenario.expect import ExpectResult
from sandbox.scenario.language import Action, CpuBlock
from sandbox.scenario.schedule import Turn, turns_of

__all__ = ["Bench", "Stop", "actions_of"]


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a long move ended where it did."""

    text: str
    violation: Violation | None = None


class Bench:
    """A session on a document: where it is, what is selected, what the last move changed.

    The machine is changed through the methods of this class and by nothing else.
    """

    def __init__(self, source: Source, kernel: str | None = None) -> None:
        self.source = source
        self.kernel = kernel or source.kernels[0]
        self.run = ScenarioRun(self.kernel, name=source.name)
        self.script: Script = source.script(self.kernel)
        self._items = {
            item.action.where.line: number for number, item in enumerate(self.script.items)
        }
        self.progress = Progress(self.script)
        self.changes: Changes = NO_CHANGES
        self._moves = 0
        self._living = Living(self.session)
        self.checked: tuple[ExpectResult, ...] = ()
        """The expectations that the last move came by."""
        self.selection = Selection()
        self.level = 1
        """Zoom of the page tables: 0 regions, 1 entries, 2 decoded."""
        self.rule: int = 0
        """Which line of the rules is looked at."""
        self.refusal: SandboxError | None = None
        """What was refused first when this was made of another bench or a file."""
        self.keeper: Callable[[bool], None] | None = None
        """Writes down what was done: called after each action, and (True) after each move."""
        self.cpu: int | None = None
        """The CPU chosen to take the next events; None: as history has it, else the first one."""

    # -- where we are ------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session that is moved."""
        return self.run.session

    @property
    def end(self) -> int:
        """Position of the end of the present branch."""
        return self.session.end

    @property
    def idle(self) -> bool:
        """Whether no action is running."""
        return not self.session.running

    @property
    def can_redo(self) -> bool:
        """Whether going back left a future."""
        return self.session.machine.can_redo()

    @property
    def next_item(self) -> int | None:
        """Index of the script's next action, None after the last one."""
        return self.progress.next_item(self.session)

    @property
    def turn(self) -> int | None:
        """The CPU that the next event will be of, None when nothing runs."""
        machine, running = self.session.machine, self.session.running
        if not running:
            return None
        if self._chosen is not None:
            return self._chosen
        if machine.future_cpus and machine.running[machine.future_cpus[-1]] is not None:
            return machine.future_cpus[-1]
        return next(iter(machine.enabled()), running[0].cpu)

    @property
    def _chosen(self) -> int | None:
        """The chosen CPU while it has something to do."""
        if self.cpu is None or self.session.machine.running[self.cpu] is None:
            return None
        return self.cpu

    def procs(self) -> tuple[str, ...]:
        """Names of the living processes."""
        return tuple(self.session.ledger.processes())

    def living(self) -> Roll:
        """The folios that are alive."""
        return self._living.roll(self._moves, self.changes)

    def fresh(self) -> list[Violation]:
        """The rules that the last step broke, known windows left out."""
        low, high = sorted((self.changes.start, self.changes.end))
        if self.changes.end < self.changes.start:
            return []
        found = self.session.rules.violations
        first, after = (bisect_left(found, at, key=lambda v: v.event) for at in (low, high))
        return [v for v in found[first:after] if v.run == 1 and not v.known_window]

    # -- acting ------------------------------------------------------------------------

    def act(self, action: Action | CpuBlock, *, paused: bool = False) -> Step:
        """Do an action of one's own to its end, or begin it; an old future becomes a branch.

        While an action is running, one on another CPU joins it, and waits at its first event.
        """
        with self._move() as recorder:
            if not self.idle:
                if isinstance(action, CpuBlock):
                    return self._join(action, recorder)
                task = self.session.running[0]
                raise UsageError(
                    f"{task.name} is still running",
                    expected="n to finish it first, or cpu1 and an action beside it",
                )
            self.cpu = None
            return self.session.begin(action) if paused else self.session.do(action)

    def _join(self, block: CpuBlock, recorder: ChangeRecorder) -> Step:
        """Begin the running action anew with another one beside it, and come back to this event."""
        session, machine = self.session, self.session.machine
        running, position = session.steps[-1], session.position
        old, script = running.action, self.progress.item_of(running)
        present = old.actions if isinstance(old, CpuBlock) else (old._replace(cpu=old.cpu or 0),)
        start = min(task.start for task in session.tasks_of(running))
        order = bytes(machine.cpus[start:])
        if not order:  # going back over an event is what takes a function off its CPU
            session.step_event()
        while session.position > start:
            recorder.undo()
        try:
            step = session.begin(CpuBlock((*present, *block.actions), (), block.where))
        except SandboxError:
            if order:
                session.goto(position)
            else:
                step = session.begin(old)
                self._begun(script, step)
            raise
        self._begun(script, step)
        for cpu in order:
            with suppress(UsageError):  # told when it was done first
                session.step_event(cpu)
        return step

    def _begun(self, script: int | None, step: Step) -> None:
        """Note that an action was begun anew, if it is one of the script."""
        if script is not None:
            self.progress.begun(script, step)

    def _begin_next(self) -> bool:
        """Begin the script's next action; False when it was refused as the story says it is."""
        index = self.next_item
        if index is None:
            raise SandboxError("the story is over", expected="an action of your own, or going back")
        try:
            step = self.session.begin(self.script.items[index].action)
        except UsageError as error:
            self.progress.refused(index, self.session, error)
            self.settle()
            if self.progress.expects_refusal(index):
                return False
            raise
        self.progress.begun(index, step)
        return True

    # -- forward -----------------------------------------------------------------------

    def step_event(self, count: int = 1) -> None:
        """Do *count* events, beginning the script's actions as needed."""
        with self._move():
            for _ in range(count):
                self._one_event()

    def _one_event(self, *, wait: bool = True) -> None:
        """One event; `wait` keeps to the chosen CPU also while that has to wait for a lock."""
        if self._ready():
            self._fork_off()
            cpu = self._chosen
            if cpu is not None and not wait and self.session.machine.blocked(cpu) is not None:
                cpu = None
            self.session.step_event(cpu)
            self.settle()

    def _fork_off(self) -> None:
        """At the start of a block that was left: begin it anew if another CPU is to be first."""
        machine = self.session.machine
        if self.cpu is None or not self.idle or not machine.can_redo():
            return
        future = reversed(machine.future_tasks)
        due = list(takewhile(lambda task: task.start == machine.position, future))
        step = due[0].payload if due else None
        if isinstance(step, Step) and machine.future_cpus[-1] != self.cpu:
            if all(task.cpu != self.cpu for task in due):
                return
            script = self.progress.item_of(step)
            self._begun(script, self.session.begin(step.action))

    def _ready(self) -> bool:
        """Have something to step, if need be the script's next action."""
        return not self.idle or self.can_redo or self._begin_next()

    def step_function(self, count: int = 1) -> None:
        """Run until the present kernel function has returned."""
        with self._move():
            for _ in range(count):
                if self.turn is None:
                    self._one_event()
                else:
                    self._out_of_function(self.turn)

    def _out_of_function(self, cpu: int) -> None:
        """Step a CPU until the function that it is in has returned."""
        machine = self.session.machine
        task = machine.running[cpu]
        assert task is not None
        function = machine.running_function(task)
        while machine.running[cpu] is task and function.gi_frame is not None:
            self._one_event()

    def step_action(self, count: int = 1) -> None:
        """Finish the running action (that of the chosen CPU), or do the next one."""
        with self._move():
            for _ in range(count):
                if self._chosen is None:
                    self._one_action()
                else:
                    self._finish_cpu(self._chosen)

    def _finish_cpu(self, cpu: int) -> None:
        """Step one CPU until its function has returned, or must wait for a lock."""
        machine = self.session.machine
        task = machine.running[cpu]
        self._one_event()
        while machine.running[cpu] is task and machine.blocked(cpu) is None:
            self._one_event()

    def _one_action(self) -> None:
        if self.can_redo:
            later = self.session.start_from(self.session.position + 1)
            self.session.goto(self.end if later is None else later)
        else:
            if not self._ready():
                return
            step = self.session.steps[-1]
            if self.session.position == self.session.starts[-1]:  # not stepped by hand
                play(self.session, turns_in(step.action))
            self.session.finish()
        self.settle()

    def step_story(self) -> None:
        """Do the rest of the present story step, or all of the next one."""
        with self._move():
            step = self.progress.current(self.session)
            while self.progress.current(self.session) == step:
                self._one_action()

    def run_to_end(self) -> None:
        """Do everything that is left of the script."""
        with self._move():
            while not self.idle or self.can_redo or self.next_item is not None:
                self._one_action()

    def run_until_violation(self) -> Stop:
        """Step until a rule breaks that did hold, known windows apart, or the script is over."""
        with self._move() as recorder:
            violations = self.session.rules.violations
            while not self.idle or self.can_redo or self.next_item is not None:
                seen = len(violations)
                recorder.restart()  # what matters at the end is the event that broke the rule
                self._one_event(wait=False)
                for violation in violations[seen:]:
                    if violation.run == 1 and not violation.known_window:
                        return Stop(f"{violation.rule} broken", violation)
            return Stop("the story is over and no further rule broke")

    def settle(self) -> None:
        """Hold a story step that is complete now against what is expected of it, and keep it."""
        self.checked += self.progress.settle(self.run)
        if self.keeper is not None and self.idle:
            self.keeper(False)

    # -- back --------------------------------------------------------------------------

    def back_event(self, count: int = 1) -> None:
        """Take *count* events back, or all there are if they are fewer."""
        position = self.session.position
        self._back_to(max(position - count, 0) if position else -1)

    def back_function(self) -> None:
        """Go back to the event that led into the present kernel function; idle, an event back."""
        position, running = self.session.position, self.session.running
        start = self.session.machine.called_at(running[0]) if running else position
        self._back_to(min(start, position - 1))

    def back_action(self, count: int = 1) -> None:
        """Go back to the start of the running or of the last action."""
        start = self.session.start_before(self.session.position, count)
        if start is None:
            raise SandboxError("at the start: nothing to go back to")
        self._back_to(start)

    def back_story(self) -> None:
        """Go back to the start of the running or of the last story step."""
        start = self.progress.story_start(self.session)
        if start is None:
            self.back_action()
        else:
            self._back_to(start)

    def _back_to(self, position: int) -> None:
        with self._move() as recorder:
            if position < 0:
                raise SandboxError("at the start: nothing to go back to")
            while self.session.position > position:
                recorder.undo()

    def goto(self, position: int) -> None:
        """Go to any position of the present branch."""
        if not 0 <= position <= self.end:
            raise UsageError(f"there is no event {position}", expected=f"0 to {self.end}")
        if position < self.session.position:
            self._back_to(position)
        else:
            with self._move():
                self.session.goto(position)
                self.settle()

    def switch_branch(self, number: int) -> None:
        """Make a branch that was left the future again."""
        branches = {branch.number: branch for branch in self.session.machine.branches}
        if number not in branches:
            known = ", ".join(map(str, branches)) or "none yet: go back and do something else"
            raise UsageError(f"there is no branch {number}", expected=known)
        branch = branches[number]
        low = branch
        while low.parent is not None:  # its own parents are gone along first, from the lowest
            low = low.parent
        with self._move() as recorder:
            while self.session.position > low.position:
                recorder.undo()
            self.session.machine.switch_branch(branch)

    # -- replaying ---------------------------------------------------------------------

    def replay_on(self, kernel: str, started: Callable[[Bench], None] | None = None) -> Bench:
        """The same on another kernel (`replay.replayed`)."""
        from mmtui.model.replay import replayed  # it makes benches

        return replayed(self, kernel, started)

    # -- what was done, as a value -------------------------------------------------------

    def tree(self) -> Tree:
        """Everything that was done, with all that was left."""
        return tree_of(self.session.machine, self.line_of)

    def place(self) -> Place:
        """Where on the present line this is."""
        starts = [start for _, start in root_steps(self.session.machine)]
        return place_of(starts, self.session.position, self.end)

    def regrow(self, tree: Tree, place: Place, *, exact: bool = True) -> None:
        """Do on a new bench what another one had (`regrow.regrow`); keeps the first refusal."""
        with self._move() as recorder:
            self.refusal = regrow(self, tree, place, exact=exact)
            recorder.restart()

    def script_item(self, done: Done) -> int | None:
        """Index of the script's action that an action of a tree is, None for one's own."""
        index = self._items.get(done.line)
        if index is None:
            return None
        mine, its = self.script.items[index].action, done.action
        return index if actions_of(mine)[0].text == actions_of(its)[0].text else None

    def line_of(self, step: Step) -> int:
        """The line of the document whose action a step is, 0 for one's own."""
        index = self.progress.item_of(step)
        return 0 if index is None else self.script.items[index].action.where.line

    def as_done(self, step: Step) -> Action | CpuBlock:
        """The action of a step; a block of CPUs with the order in which their events were done."""
        action, machine = step.action, self.session.machine
        if not isinstance(action, CpuBlock) or len(action.actions) < 2:
            return action
        tasks = self.session.tasks_of(step)
        start = min(task.start for task in tasks)
        end = max(machine.position if task.end is None else task.end for task in tasks)
        order = tuple(machine.cpus[start:end])
        if all(task.end is not None for task in tasks):  # what is left runs to its end by itself
            order = order[: len(order) - len(list(takewhile(order[-1].__eq__, reversed(order))))]
        return action._replace(schedule=turns_of(order))

    def follow(self, line: int, *, begin: bool) -> None:
        """Do the script's actions above a line of the document, and begin the one there."""
        with self._move():
            while (index := self.next_item) is not None:
                at = self.script.items[index].action.where.line
                if at < line or (at == line and not begin):
                    self._one_action()
                    continue
                if at == line:
                    self._begin_next()
                return

    def go_alike(self, done: Iterable[tuple[int, Event]]) -> None:
        """Do events of a CPU as long as they are what it is about to do, and stop before another.

        What then goes wrong is the first refusal, as it is of a replay.
        """
        session, machine = self.session, self.session.machine
        with self._move() as recorder:
            try:
                for cpu, event in done:
                    task, future = machine.running[cpu], machine.future_cpus
                    if task is None or task.pending != event or (future and future[-1] != cpu):
                        break
                    session.step_event(cpu)
                    self.settle()
            except Cancelled:
                raise
            except SandboxError as error:
                self.refusal = self.refusal or error
            recorder.restart()

    # -- the frame around every move -----------------------------------------------------

    @contextmanager
    def _move(self) -> Iterator[ChangeRecorder]:
        """Record what happens inside, also when it ends in an error."""
        recorder = ChangeRecorder(self.session.machine)
        self.checked = ()
        try:
            yield recorder
        finally:
            self.changes = recorder.result()
            self._moves += 1
            self.select_settled()
            if self.keeper is not None:
                self.keeper(True)

    def select(self, change: Callable[[Selection], Selection]) -> None:
        """Move the cursor or the mark."""
        self.selection = change(self.selection)

    def point_at(self, selection: Selection) -> bool:
        """Select what was pointed at; True, for there was something."""
        self.selection = selection
        self.select_settled()
        return True

    def select_settled(self) -> None:
        """Keep the selection within what exists."""
        self.selection = self.selection.settle(areas_of(self.session), self.procs())


def turns_in(action: Action | CpuBlock) -> tuple[Turn, ...]:
    """The turns of a step's schedule."""
    return action.schedule if isinstance(action, CpuBlock) else ()


def actions_of(action: Action | CpuBlock) -> tuple[Action, ...]:
    """The actions of a step, without CPUs and schedule for one alone."""
    return action.actions if isinstance(action, CpuBlock) else (action,)
