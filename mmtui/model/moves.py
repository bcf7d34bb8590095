"""Every way to move a bench: doing, stepping forward, going back, changing the future.

Each move either happens as a whole or raises `SandboxError` at the place where it had to
stop; in both cases `changes` says what it changed.  The script's actions are begun when
there is nothing left to step.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile

from mmtui.model.changes import ChangeRecorder
from mmtui.model.done import pending_place
from mmtui.model.standing import Standing
from sandbox.errors import SandboxError, UsageError
from sandbox.rules import Violation
from sandbox.run.scheduling import play
from sandbox.run.session import Step
from sandbox.run.until import Condition, Forward, before
from sandbox.scenario.language import Action, CpuBlock
from sandbox.scenario.schedule import Turn

__all__ = ["Moves", "Stop"]


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a long move ended where it did."""

    text: str
    violation: Violation | None = None


class Moves(Standing):
    """What moves; the machine is changed through these methods and by nothing else."""

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
            self._noting(cpu)
            self.settle()

    def _noting(self, cpu: int | None) -> None:
        """Do one event, and note where in the kernel's text it was."""
        machine = self.session.machine
        acts = cpu
        if acts is None:
            future = machine.future_cpus
            acts = future[-1] if future else next(iter(machine.enabled()), None)
        done = pending_place(self.session, acts)
        self.session.step_event(cpu)
        self.done = done and done._replace(forks=machine.forks)  # doing it may have forked history

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
                self._lay_out(recorder)
                seen = len(violations)
                recorder.restart()  # what matters at the end is the event that broke the rule
                self._one_event(wait=False)
                for violation in violations[seen:]:
                    if violation.run == 1 and not violation.known_window:
                        return Stop(f"{violation.rule} broken", violation)
            return Stop("the story is over and no further rule broke")

    def _lay_out(self, recorder: ChangeRecorder) -> None:
        """Make the future of the script's next action, if it has a schedule, what that says."""
        session = self.session
        if not self.idle or self.can_redo or self.next_item is None:
            return
        if turns_in(self.script.items[self.next_item].action) and self._begin_next():
            start, turns = session.starts[-1], turns_in(session.steps[-1].action)
            play(session, turns)
            session.finish()
            while session.position > start:
                recorder.undo()

    def run_until(self, condition: Condition) -> Stop | None:
        """Step until a condition comes to hold; None when the script is over before."""
        with self._move() as recorder:
            looked = Forward(self.session, condition)
            while not self.idle or self.can_redo or self.next_item is not None:
                recorder.restart()  # what matters at the end is the event that stopped it
                self._one_event(wait=False)
                if looked.met():
                    return Stop(condition.text)
            return None

    def back_until(self, condition: Condition) -> bool:
        """Go back to where a condition last came to hold; stays where it is if it never did."""
        if condition.expectation is not None:
            return self._back_until_expected(condition)
        found = before(self.session, condition, self.session.position)
        if found is not None:
            self._back_to(found)
        return found is not None

    def _back_until_expected(self, condition: Condition) -> bool:
        """Look at each place before this one, going back; what holds only once done is known."""
        start, later = self.session.position, False
        with self._move() as recorder:
            while self.session.position:
                recorder.undo()
                holds = condition.holds(self.session)
                if later and not holds:
                    self.session.step_event(self.session.machine.future_cpus[-1])
                    return True
                later = holds
            if not later:
                self.session.goto(start)
            return later

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
                self.session.goto(max(position - 1, self.session.position))
                if self.session.position < position:
                    self._noting(None)
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


def turns_in(action: Action | CpuBlock) -> tuple[Turn, ...]:
    """The turns of a step's schedule."""
    return action.schedule if isinstance(action, CpuBlock) else ()
