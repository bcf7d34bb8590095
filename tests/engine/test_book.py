"""What has a name follows from notes, and every word of the kernel's memory is a number."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sandbox.errors import KernelBug
from sandbox.machine.fields import FIELDS, STRUCTS, WIDTHS
from sandbox.memory import Event, Gen, note
from sandbox.truth.book import Book
from sandbox.truth.canonical import canonical
from tests.engine.support import act, back_action, begin, put, run

LIFE = """\
mthp 64K madvise
mmap A R 64K
touch A R 0 16 w
memfd F 4p
file G 4p /x/g
mmap A S 4p fd=G
read A S 0 4
fork A B
pin A R 0 2 p w
get B R 4 6 g -
uring A R 8 12
uring A R 12 16
mprotect B R 4 8 r
pageout B R 8 12
exec B E
dropcache
unpin p
unuring A
exit B
exit A"""


def tables(book: Book) -> tuple[Any, ...]:
    """All that the book says, in its order."""
    regions = [(name, book.regions(mm)) for name, mm in book.processes.items()]
    named = (book.processes, book.places, book.files)
    return [list(table.items()) for table in named], regions, list(book.holds), dict(book.pinned)


# -- the book ----------------------------------------------------------------------------


def test_the_book_says_what_there_is() -> None:
    session = run("7.2", LIFE.partition("\nexec")[0])
    book = session.book
    assert list(book.processes) == ["A", "B"]
    assert [region.name for region in book.regions(book.processes["B"])] == ["R", "S"]
    assert {name: file.pages for name, file in book.files.items()} == {"F": 4, "G": 4}
    assert book.ids == ["p", "g"]
    assert len(book.buffer(book.processes["A"])) == 4
    assert sum(book.pinned.values()) == 2 + 4
    act(session, "exec B E")
    assert [region.name for region in book.regions(book.processes["B"])] == ["E"]
    act(session, "unpin p\nunpin g\nunuring A\nexit A\nexit B")
    assert not book.processes
    assert not list(book.holds)
    assert not book.pinned
    assert list(book.places) == ["R", "S", "E"]


def test_the_book_follows_every_move() -> None:
    session = run("7.2", LIFE)
    seen = {session.position: tables(session.book)}
    while session.position:
        session.machine.undo()
        seen[session.position] = tables(session.book)
    assert tables(session.book) == ([[], [], []], [], [], {})
    dice = random.Random(1)
    for position in [*dice.sample(sorted(seen), 8), max(seen)]:
        session.goto(position)
        assert tables(session.book) == seen[position]


def test_a_clone_and_another_future_have_books_of_their_own() -> None:
    session = run("7.2", "mmap A R 16K\ntouch A R 0 4 w\nfork A B\npin A R 0 2 p w")
    clone = session.machine.clone()
    before = tables(session.book)
    assert tables(Book(clone)) == before
    act(session, "unpin p\nexit B")
    assert tables(Book(clone)) == before
    back_action(session)
    back_action(session)
    assert tables(session.book) == before
    act(session, "exit B")
    assert session.book.ids == ["p"]


@pytest.mark.parametrize(
    "wrong",
    [
        note("process_gone", 5),
        note("process", "A"),
        note("hold", "p", "pin", 3, 4),
        note("hold_gone", 7),
        note("hold_gone", "p", "pin", (4096,)),
        note("exec", 16, 32),
    ],
    ids=str,
)
def test_a_note_that_says_nothing_is_refused(wrong: Event) -> None:
    session = run("7.2", "mmap A R 16K")
    before, position = tables(session.book), session.position

    def body() -> Gen[None]:
        yield wrong

    put(session.machine, "body", body)
    with pytest.raises(KernelBug, match=r"the note|no process|nothing is held"):
        session.machine.run(0)
    assert session.position == position
    assert tables(session.book) == before


# -- words -------------------------------------------------------------------------------


def test_every_word_begins_as_a_number() -> None:
    for layout in STRUCTS.values():
        assert all(type(value) is int for value in layout.initial)


@pytest.mark.parametrize("kernel", ["6.6", "6.9", "6.12", "7.2", "7.3", "ryan-v2"])
def test_every_word_stays_a_number(kernel: str) -> None:
    session = run(kernel, LIFE.partition("\n")[2] if kernel == "6.6" else LIFE)
    memory = session.machine.memory
    assert all(isinstance(value, int) for value in memory.cells)
    for kind, value in zip(memory.kinds, memory.cells, strict=True):
        bits = WIDTHS.get(kind, 64)
        assert -(1 << bits - 1) <= value < 1 << bits, FIELDS[kind]


BLOCK = """\
cpu0: mmap A S 8p nohuge
cpu0: write A S 0 4
cpu0: memfd F 4p
cpu1: mmap C T 8p nohuge
cpu1: write C T 0 4
cpu1: uring C T 0 2"""


def test_a_state_at_rest_does_not_depend_on_who_was_first() -> None:
    states = set()
    for seed in range(12):
        session = run("7.2", "mmap A R 16K\ntouch A R 0 4 w")
        begin(session, BLOCK)
        dice = random.Random(seed)
        while session.running:
            session.machine.step(dice.choice(session.machine.enabled()))
        session.finish()
        states.add(canonical(session.machine))
    assert len(states) == 1
    act(session, "write C T 5 6")
    assert canonical(session.machine) not in states


def test_a_named_process_or_hold_is_a_part_of_the_state() -> None:
    states = {
        canonical(run("7.2", f"mmap A R 16K\nwrite A R 0 4\n{more}").machine)
        for more in ("", "pin A R 0 2 p w", "pin A R 0 2 q w", "get A R 0 2 p w", "proc B")
    }
    assert len(states) == 5
