"""The quiz: asked of a copy, answered by a person, revealed event by event, counted."""

from __future__ import annotations

import pytest

from mmtui.app import MmtuiApp
from mmtui.model.bench import Bench
from mmtui.model.quiz import Quiz
from mmtui.screens.quiz import QuizScreen
from mmtui.views.lines import plain
from mmtui.views.quiz import quiz_doc
from sandbox.errors import UsageError
from sandbox.machine.memory import Folio
from tests.tui.support import SIXTEEN, machine, preset, state_of, until


def before_fork() -> Bench:
    """Preset 3 with the second fork next."""
    bench = preset("3", "7.2")
    bench.run_to_end()
    bench.back_action()
    return bench


def shown(quiz: Quiz, width: int = 100) -> str:
    return "\n".join(map(plain, quiz_doc(quiz, "", "", width).lines))


def test_the_right_answers_are_what_the_action_does_and_the_bench_is_left_alone() -> None:
    bench = before_fork()
    state = state_of(bench)
    quiz = Quiz(bench)
    assert quiz.action == "fork A B"
    names = [question.name for question in quiz.questions]
    assert "F1._refcount" in names
    assert any(name.endswith("_mapcount + 1") for name in names)
    for question in quiz.questions:
        quiz.go_on(str(question.after))
    assert not quiz.over
    quiz.finish()
    assert quiz.over
    assert quiz.points == len(quiz.questions)
    assert state_of(bench) == state
    bench.step_action()
    cells = bench.session.machine.memory.cells
    assert [cells[q.addr] + q.bias for q in quiz.questions] == [q.after for q in quiz.questions]


def test_nothing_gives_the_answers_away_before_they_are_revealed() -> None:
    quiz = Quiz(before_fork())
    question = quiz.questions[0]
    assert question.before != question.after
    assert f" {question.after}" not in shown(quiz).split("after", 1)[1].splitlines()[1][-9:]
    while quiz.current is not None:
        quiz.go_on("")
    assert "Enter shows the next event" in shown(quiz)
    quiz.go_on("")
    assert len(quiz.changes) == 1
    change = quiz.changes[0]
    assert change.function
    assert f"{change.name} {change.old} -> {change.new}" in shown(quiz)
    while not quiz.over:
        quiz.go_on("")
    assert "wrong" in shown(quiz)
    assert f"{quiz.points} of {len(quiz.questions)} right" in shown(quiz)


def test_events_lead_from_what_was_to_what_comes_of_it() -> None:
    quiz = Quiz(before_fork())
    while quiz.current is not None:
        quiz.answer("0")
    quiz.finish()
    for question in quiz.questions:
        mine = [change for change in quiz.changes if change.name == question.name]
        values = [question.before, *(change.new for change in mine)]
        assert values[-1] == question.after
        assert [change.old for change in mine] == values[:-1]


def test_what_is_no_number_is_refused_and_what_changes_nothing_is_not_asked() -> None:
    quiz = Quiz(before_fork())
    with pytest.raises(UsageError, match="not a number"):
        quiz.go_on("many")
    assert quiz.questions[0].guess is None
    with pytest.raises(UsageError, match="nothing that is left"):
        Quiz(machine("7.2", *SIXTEEN))


def test_the_score_goes_on_from_action_to_action() -> None:
    quiz = Quiz(preset("3", "7.2"))
    first = quiz.action
    for question in list(quiz.questions):
        quiz.answer(str(question.after))
    quiz.finish()
    count = len(quiz.questions)
    quiz.go_on("")
    assert quiz.action != first
    assert (quiz.right, quiz.asked) == (count, count)


def test_in_the_middle_of_an_action_the_rest_of_it_is_asked() -> None:
    bench = before_fork()
    bench.step_event(40)
    quiz = Quiz(bench)
    folio = Folio(next(iter(bench.living().folios)))
    before = {question.addr: question.before for question in quiz.questions}
    assert before[folio._refcount] == bench.session.machine.memory.cells[folio._refcount]


async def test_the_quiz_is_played_with_enter_alone() -> None:
    app = MmtuiApp("3", "7.2")
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await pilot.press(":", *"quiz", "enter")
        await until(pilot, lambda: isinstance(app.screen, QuizScreen))
        quiz = app.screen.quiz  # type: ignore[attr-defined]
        await pilot.press(*"17", "enter")
        assert quiz.questions[0].guess == 17
        await pilot.press(*"x", "enter")
        await pilot.pause()
        assert quiz.questions[1:2] == [] or quiz.questions[1].guess is None
        for _ in range(60):
            if quiz.over:
                break
            await pilot.press("enter")
        assert quiz.over
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, QuizScreen))
