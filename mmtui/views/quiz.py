"""The quiz as text: what is asked for, what was guessed, and what came of it."""

from __future__ import annotations

from mmtui.model.quiz import Question, Quiz
from mmtui.views.lines import EMPTY, Line, Lines, clip, join, say, wrap_words

__all__ = ["quiz_doc"]

_NUMBER = 8
"""Cells of a number."""


def quiz_doc(quiz: Quiz, typed: str, said: str, width: int) -> Lines:
    """The questions, the events that were revealed, and the score."""
    lines: list[Line] = []
    head = f"What will {quiz.action} come to on {quiz.kernel}?"
    lines += [say(text, "strong") for text in wrap_words(head, width, " ")]
    lines += [say(text, "dim") for text in wrap_words(_hint(quiz), width, " ")]
    if said:
        lines += [say(text, "violation") for text in wrap_words(said, width, " ")]
    lines.append(EMPTY)
    room = max(12, min(36, width - 3 * _NUMBER - 12))
    titles = "".join(f"{title:>{_NUMBER}}" for title in ("now", "you", "after"))
    lines.append(say(f"   {'':<{room}}{titles}", "dim"))
    lines += [_question(quiz, question, typed, room) for question in quiz.questions]
    focus = len(lines)
    if quiz.changes:
        lines.append(EMPTY)
    for change in quiz.changes:
        values = f"{change.name} {change.old} -> {change.new}"
        spans = ((f" {change.event:>6} ", "dim"), (values, "changed"))
        lines.append(join(spans, ((f"  {change.function}()" if change.function else "", "dim"),)))
        focus = len(lines) - 1
    if quiz.over and quiz.questions:
        lines += [EMPTY, *_score(quiz, width)]
        focus = len(lines) - 1
    return Lines(tuple(clip(line, width) for line in lines), focus)


def _hint(quiz: Quiz) -> str:
    if quiz.current is not None:
        return "Type the value, then Enter; Enter alone: it stays as it is. This is a copy."
    if not quiz.over:
        return "Enter shows the next event that changes one of them."
    return "Enter asks about the next action."


def _question(quiz: Quiz, question: Question, typed: str, room: int) -> Line:
    here = question is quiz.current
    guess = typed[: _NUMBER - 2] + "_" if here else ""
    if question.guess is not None:
        guess = str(question.guess)
    after, token, mark = "", "", ""
    if quiz.over:
        after, token = str(question.after), "ok" if question.right else "violation"
        mark = "  right" if question.right else "  wrong"
    elif question.told is not None:
        after, token = str(question.told), "changed"
    lead = " > " if here else "   "
    name = question.name if len(question.name) <= room else question.name[: room - 1] + "~"
    return join(
        (
            (lead, "current" if here else ""),
            (f"{name:<{room}}", "strong" if here else ""),
            (f"{question.before:>{_NUMBER}}", "dim"),
            (f"{guess:>{_NUMBER}}", "key" if here else ""),
            (f"{after:>{_NUMBER}}{mark}", token),
        )
    )


def _score(quiz: Quiz, width: int) -> list[Line]:
    count = len(quiz.questions)
    text = f"{quiz.points} of {count} right"
    if quiz.asked:
        text += f"; {quiz.right + quiz.points} of {quiz.asked + count} since the quiz began"
    token = "ok" if quiz.points == count else "strong"
    return [say(part, token) for part in wrap_words(text, width, " ")]
