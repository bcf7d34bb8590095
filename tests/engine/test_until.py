"""Conditions to stop at: what can be written, and that going forth and back stops alike."""

from __future__ import annotations

import pytest

from sandbox.errors import UsageError
from sandbox.run.session import Session
from sandbox.run.until import Condition, Forward, before, parse_condition
from sandbox.truth.events import describe_events
from tests.engine.support import FORK_64K, act

STORY = f"{FORK_64K}\nwrite B R 3 4\ndontneed A R 5 6"


def session(kernel: str = "7.2") -> Session:
    made = Session(kernel)
    act(made, STORY)
    return made


def forward(condition: Condition, done: Session) -> list[int]:
    """Every place at which a run from the start stops."""
    end = done.position
    done.goto(0)
    looked, found = Forward(done, condition), []
    while done.position < end:
        done.step_event(done.machine.future_cpus[-1])
        if looked.met():
            found.append(done.position)
    return found


def backward(condition: Condition, done: Session) -> list[int]:
    found, at = [], done.position + 1
    while (there := before(done, condition, at)) is not None:
        found.append(there)
        at = there
    return found[::-1]


CONDITIONS = ["wp_page_copy", "folio_add_new_anon_rmap", "F1._refcount", "F1.page3._mapcount",
              "A.R pte 5", "mm(A).rss_stat[MM_ANONPAGES]", "F1._refcount = 32",
              "F1._refcount <= 31", "A.R pte 5 +RO", "F1.page3.flags -anon_exclusive",
              "cpu0", "no_such_word_x._refcount"]  # fmt: skip


@pytest.mark.parametrize("text", CONDITIONS)
def test_forth_and_back_stop_at_the_same_places(text: str) -> None:
    done, condition = session(), parse_condition(text)
    there = forward(condition, done)
    back = [at for at in backward(condition, done) if at]
    # Going back, a folio's name is known before its first mapping as well.
    assert there == [at for at in back if not text.startswith("F1") or at >= min(there)]
    assert bool(there) == (text not in ("no_such_word_x._refcount", "cpu0"))


@pytest.mark.parametrize("word", ["F1._refcount", "A.R pte 5", "F1.page3._mapcount"])
def test_it_stops_after_each_change_of_a_word_and_nowhere_else(word: str) -> None:
    done = session()
    changed = [
        event["n"] + 1
        for event in describe_events(done)
        if event.get("word") == word and "new" in event and event["old"] != event["new"]
    ]
    assert changed
    assert backward(parse_condition(word), done) == changed


def test_it_stops_before_the_first_event_of_a_function() -> None:
    done = session()
    (at,) = forward(parse_condition("wp_page_copy"), done)
    done.goto(at)
    assert any(frame.function == "wp_page_copy" for frame in done.stack())
    done.goto(at - 1)
    assert not any(frame.function == "wp_page_copy" for frame in done.stack())


def test_a_line_of_the_kernels_text() -> None:
    done = session()
    event = next(e for e in describe_events(done) if e["function"] == "wp_page_copy")
    condition = parse_condition(f"{event['file'].rpartition('/')[2]}:{event['line']}")
    there = forward(condition, done)
    assert event["n"] in there
    assert there == backward(condition, done)


def test_a_rule_and_an_expectation() -> None:
    done = Session("ryan-v2")
    act(done, FORK_64K)
    rule = done.rules.violations[0].rule
    broke = sorted({v.event + 1 for v in done.rules.violations if v.rule == rule and v.run == 1})
    there = forward(parse_condition(rule), done)
    assert there == broke
    condition = parse_condition("B.rss.anon = 16")
    assert condition.expectation is not None
    (at, *_) = forward(condition, done)
    done.goto(at)
    assert condition.holds(done)
    done.goto(at - 1)
    assert not condition.holds(done)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "nothing to stop at"), ("wp_page_coppy", "did you mean wp_page_copy"),
     ("I-5", "did you mean I-"), ("F1.refcounts", "cannot stop"), ("== 3", "cannot stop"),
     ("x" * 5000, "cannot stop")],
)  # fmt: skip
def test_what_cannot_be_looked_for_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_condition(text)
