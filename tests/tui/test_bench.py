"""The workbench: moving forth and back, acting, branching, replaying, and what changed."""

from __future__ import annotations

import pytest

from mmtui.model.sessions import saved_text
from sandbox.errors import SandboxError, UsageError
from sandbox.scenario.language import parse_action, parse_scenarios
from tests.tui.support import SIXTEEN, machine, preset


def test_an_event_begins_the_next_action_of_the_story() -> None:
    bench = preset("3")
    bench.step_event()
    assert bench.session.position == 1
    assert not bench.idle


def test_going_back_shows_the_same_words_the_other_way_round() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    end = bench.session.position
    while not bench.changes.olds or bench.session.position > end - 1:
        bench.back_event()
    before = dict(bench.changes.olds)
    cells = bench.session.machine.memory.cells
    values = {addr: cells[addr] for addr in before}
    bench.step_event()
    assert dict(bench.changes.olds) == values
    assert {addr: cells[addr] for addr in values} == before


def test_a_story_step_evaluates_its_expectations_once_it_is_done() -> None:
    bench = preset("3", "7.2")
    bench.step_story()
    results = bench.progress.results(bench.session, 0)
    assert results
    assert all(result.ok for result in results), [str(r) for r in results if not r.ok]


def test_results_are_of_the_history_that_led_here() -> None:
    bench = preset("3", "7.2")
    bench.step_story()
    bench.back_story()
    assert not bench.progress.results(bench.session, 0)
    bench.step_story()
    assert bench.progress.results(bench.session, 0)


def test_running_until_a_violation_stops_at_the_event_that_broke_it() -> None:
    bench = preset("3", "ryan-v2")
    stop = bench.run_until_violation()
    assert stop.violation is not None
    assert stop.violation.rule == "I-05"
    assert stop.violation.event == bench.session.position - 1
    assert [v.rule for v in bench.fresh()] == ["I-05"]


def test_a_kernel_without_the_flaw_runs_to_the_end() -> None:
    bench = preset("3", "6.9")
    stop = bench.run_until_violation()
    assert stop.violation is None
    assert bench.next_item is None


def test_the_story_is_told_anew_on_another_kernel_up_to_the_same_place() -> None:
    bench = preset("3", "ryan-v2")
    bench.run_to_end()
    bench.back_action()
    bench.step_event(5)
    other = bench.replay_on("7.2")
    assert [step.action.text for step in other.session.steps][-1] == "fork A B"
    assert not any("mprotect" in step.action.text for step in other.session.steps)
    assert not other.idle


def test_actions_of_ones_own_are_replayed_as_they_are() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    other = bench.replay_on("6.12")
    assert [s.action.text for s in other.session.steps] == [*SIXTEEN, "fork A B"]


def test_acting_in_the_past_keeps_the_future_as_a_branch() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    end = bench.end
    bench.back_action()
    bench.act(parse_action("dontneed A R 0 4"))
    (branch,) = bench.session.machine.branches
    bench.switch_branch(branch.number)
    assert bench.end == end


def test_what_is_refused_changes_nothing() -> None:
    bench = machine("7.2", *SIXTEEN)
    position = bench.session.position
    for line in ("fork X B", "munmap A R 0 99", "unpin 7", "fold A R 0 16"):
        with pytest.raises(UsageError):
            bench.act(parse_action(line))
    assert bench.session.position == position


def test_the_ends_of_time_are_errors_not_crashes() -> None:
    bench = machine("7.2")
    for move in (bench.back_event, bench.back_action, bench.back_story, bench.back_function):
        with pytest.raises(SandboxError):
            move()
    for move in (bench.step_event, bench.step_action, bench.step_story, bench.step_function):
        with pytest.raises(SandboxError):
            move()
    with pytest.raises(UsageError):
        bench.goto(5)


def test_what_was_done_is_a_scenario() -> None:
    bench = machine("7.2", *SIXTEEN)
    (scenario,) = parse_scenarios(saved_text(bench), "log")
    assert scenario.source == list(SIXTEEN)
