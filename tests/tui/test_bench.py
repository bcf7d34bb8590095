"""The workbench: moving forth and back, acting, branching, replaying, and what changed."""

from __future__ import annotations

import pytest

from mmtui.model.bench import Bench
from mmtui.model.sessions import saved_text
from sandbox.errors import SandboxError, UsageError
from sandbox.scenario.language import parse_action, parse_scenarios
from tests.engine.support import action_bounds, as_json, frozen
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


def forking() -> Bench:
    """A fork that is in the first call of dup_anon_page."""
    bench = machine("7.2", *SIXTEEN)
    bench.act(parse_action("fork A B"), paused=True)
    while not bench.session.stack() or bench.session.stack()[-1].function != "dup_anon_page":
        bench.step_event()
    return bench


def test_stepping_out_goes_to_the_return_of_the_present_function() -> None:
    bench = forking()
    for page in range(15):  # each call returns before the next begins, at the same depth
        assert bench.session.stack()[-2].function == "folio_try_dup_anon_rmap_ptes"
        assert bench.session.stack()[-2].locals["i"] == page
        bench.step_function()
    bench.step_function()
    assert bench.session.stack()[-1].function != "dup_anon_page"
    assert bench.session.running


def test_going_back_by_function_goes_to_the_caller() -> None:
    bench = forking()
    there, position = frozen(bench.session.stack()), bench.session.position
    bench.back_function()  # this is its first event, so the call is one event away
    assert bench.session.position == position - 1
    bench.step_event()
    assert frozen(bench.session.stack()) == there


def test_going_back_by_function_stops_at_the_start_of_the_action() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    start = bench.session.position
    bench.act(parse_action("exit B"), paused=True)
    bench.step_event(4)
    for _ in range(4):
        if bench.session.position > start:
            bench.back_function()
    assert bench.session.position == start


def test_going_back_by_function_goes_call_by_call() -> None:
    bench = machine("7.2", *SIXTEEN)
    bench.act(parse_action("fork A B"), paused=True)
    session, starts, before = bench.session, [], None
    while session.running and len(starts) < 6:
        function = session.machine.running_function(session.running[0])
        if function is not before and function.gi_code.co_name == "dup_anon_page":
            starts.append(session.position)
        before = function
        bench.step_event()
    bench.goto(starts[-1])
    for start in reversed(starts[:-1]):  # one sibling at a time, none skipped
        bench.back_function()
        assert start <= session.position < starts[starts.index(start) + 1]
        bench.goto(start)


def test_moving_by_action_comes_by_every_start_both_ways() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    bounds = action_bounds(bench.session)
    assert bounds[0] == 0
    assert len(bounds) == 5
    seen = [bench.session.position]
    while bench.session.position:
        bench.back_action()
        seen.append(bench.session.position)
    assert seen == bounds[::-1]
    again = [0]
    while bench.can_redo:
        bench.step_action()
        again.append(bench.session.position)
    assert again == bounds


def test_the_next_action_is_first_the_rest_of_the_running_one() -> None:
    straight = machine("7.2", *SIXTEEN, "fork A B")
    bench = machine("7.2", *SIXTEEN)
    bench.act(parse_action("fork A B"), paused=True)
    bench.step_event()
    bench.step_action()
    assert as_json(bench.session) == as_json(straight.session)


def test_going_back_by_action_from_the_middle_goes_to_its_start() -> None:
    bench = machine("7.2", *SIXTEEN, "fork A B")
    start = bench.session.position
    bench.act(parse_action("exit B"), paused=True)
    bench.step_event(9)
    bench.back_action()
    assert bench.session.position == start
    assert bench.idle


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
    for line in ("fork X B", "munmap A Q 0 9", "fold A R 0 16"):
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
