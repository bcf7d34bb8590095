"""Until, back until, and who wrote it: from a bench as the commands drive it."""

from __future__ import annotations

import pytest

from mmtui.commands.registry import completions, execute
from mmtui.model.bench import Bench
from sandbox.errors import UsageError
from sandbox.truth.events import describe_events
from tests.tui.support import preset
from tests.tui.test_commands import desk


def at(bench: Bench) -> int:
    return bench.session.position


def test_until_goes_on_to_each_change_and_back_until_to_the_one_before() -> None:
    bench = preset("3", "7.2")
    execute(desk(bench), "until A.R pte 5")
    first = at(bench)
    assert first
    execute(desk(bench), "until")
    second = at(bench)
    assert second > first
    execute(desk(bench), "back-until")
    assert at(bench) == first
    execute(desk(bench), "back-until")
    assert at(bench) == first  # never before


def test_who_goes_to_the_event_that_wrote_the_entry_under_the_cursor() -> None:
    bench = preset("3", "7.2")
    execute(desk(bench), "end")
    execute(desk(bench), "select A R 5 6")
    execute(desk(bench), "who")
    (event,) = describe_events(bench.session, at(bench) - 1, at(bench))
    assert event["word"] == "A.R pte 5"
    later = [e["n"] for e in describe_events(bench.session) if e.get("word") == "A.R pte 5"]
    assert max(later) == event["n"]


def test_a_function_a_rule_and_an_expectation() -> None:
    bench = preset("3", "ryan-v2")
    execute(desk(bench), "until copy_present_ptes")
    assert any(frame.function == "copy_present_ptes" for frame in bench.session.stack())
    execute(desk(bench), "until A.rss.anon = 16")
    there = at(bench)
    execute(desk(bench), "back-until A.rss.anon = 16")
    assert at(bench) <= there
    execute(desk(bench), "end")
    broken = bench.session.rules.violations[-1]
    execute(desk(bench), f"back-until {broken.rule}")
    assert at(bench) == broken.event + 1


def test_the_end_of_the_story_says_so() -> None:
    bench = preset("3", "7.2")
    fake = desk(bench)
    execute(fake, "until collapse_file")
    fake.moved.assert_called_with("the story is over: collapse_file did not come again")


@pytest.mark.parametrize("line", ["who cpu0", "until wp_page_coppy", "back-until I-99"])
def test_nonsense_is_refused_and_nothing_moves(line: str) -> None:
    bench = preset("3", "7.2")
    execute(desk(bench), "step 7")
    with pytest.raises(UsageError):
        execute(desk(bench), line)
    assert at(bench) == 7


def test_words_functions_and_rules_are_completed() -> None:
    bench = preset("3", "7.2")
    execute(desk(bench), "end")
    assert "F1._refcount" in completions("until F1._ref", bench, [])
    assert "copy_present_ptes" in completions("until copy_pres", bench, [])
    assert "I-05" in completions("back-until I-0", bench, [])
    assert completions("who copy_pres", bench, []) == []
