"""A person's own kernel: whatever its functions raise, yield or return is named, and undone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.errors import Cancelled, KernelBug, NotPureError, SandboxError, UsageError
from sandbox.fields import Struct
from sandbox.kernels.linux_6_9 import Linux69
from sandbox.machine.history import History
from sandbox.memory import (
    ALLOC,
    LOAD,
    Folio,
    Gen,
    Mm,
    Page,
    Vma,
    add,
    alloc,
    cas,
    load,
    lock,
    note,
    store,
    tlb_flush,
    trylock,
    unlock,
)
from sandbox.run.runner import ScenarioRun
from sandbox.run.session import Session
from sandbox.scenario.language import parse_lines
from tests.engine.support import FORK_64K, act, as_json, back_action, begin, put, snapshot

Function = Callable[..., Any]


def kernel_with(function: Function, **attributes: object) -> type[Linux69]:
    """A kernel whose fork duplicates batches with *function*."""
    body = {"id": "mine", "folio_try_dup_anon_rmap_ptes": function} | attributes
    return type("Mine", (Linux69,), body)


class Odd(BaseException):
    pass


class Unprintable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def raising(error: BaseException | type[BaseException]) -> Function:
    def raises(
        self: Linux69, folio: Folio, page: Page, nr: int, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        yield load(folio.flags)
        raise error

    return raises


def yielding(what: Callable[[Any], Any]) -> Function:
    def yields(
        self: Linux69, folio: Folio, page: Page, nr: int, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        yield load(folio.flags)
        yield what(folio)
        return True

    return yields


def plain(self: Linux69, folio: Folio, page: Page, nr: int, dst_mm: Mm, src_vma: Vma) -> bool:
    return True


def refuses_to_end(
    self: Linux69, folio: Folio, page: Page, nr: int, dst: Mm, src: Vma
) -> Gen[bool]:
    while True:
        try:
            yield load(folio.flags)
            yield add(folio._refcount, 1)
            yield (LOAD, -1)
        except GeneratorExit:
            pass


ERRORS: list[BaseException | type[BaseException]] = [
    SystemExit(0), SystemExit("bye"), KeyboardInterrupt, GeneratorExit, Odd("x"), ValueError("x"),
    MemoryError, StopIteration(1), RecursionError, Unprintable(), OSError(28, "full"),
    BrokenPipeError(), Cancelled("x"), UsageError("mine"), KernelBug("BUG at mm/rmap.c"),
]  # fmt: skip

GARBAGE: list[Callable[[Any], Any]] = [
    lambda f: None, lambda f: 5, lambda f: "abc", lambda f: (), lambda f: (LOAD,),
    lambda f: [LOAD, f.flags], lambda f: (999, 0), lambda f: (-1, 0), lambda f: (1.5, 1),
    lambda f: ("load", f.flags), lambda f: (LOAD, -5), lambda f: (LOAD, 0), lambda f: (LOAD, 1.5),
    lambda f: (LOAD, "x"), lambda f: (LOAD, 1 << 60), lambda f: (LOAD, f.flags, 1, 2),
    lambda f: store(-5, 7), lambda f: store(f._mapcount, "abc"), lambda f: store(f._mapcount, [1]),
    lambda f: store(f._refcount, object()), lambda f: store(f._refcount, 1 << 100_000),
    lambda f: store(f._refcount, (1,)), lambda f: store((f & ~15) + 6, 12345),
    lambda f: add(f._refcount, "1"), lambda f: add(f._refcount, 0.5), lambda f: add(-1, 1),
    lambda f: cas(f.flags, 0, None), lambda f: lock(f.flags, 7), lambda f: trylock(-3),
    lambda f: unlock(1 << 40), lambda f: store(f._refcount, "x"), lambda f: (ALLOC, 0, 77, 5),
    lambda f: alloc(Struct.PAGE, -5), lambda f: alloc(Struct.PAGE, 1 << 34),
    lambda f: note(5), lambda f: note("begin", object()), lambda f: tlb_flush(f, "a", 5),  # type: ignore[arg-type]
]  # fmt: skip


def check_named_and_undone(kernel: type[Linux69], says: str) -> KernelBug:
    """The fork is refused as *says*; the machine is between two events, goes back and goes on."""
    session = Session(kernel)
    *before, fork = FORK_64K.splitlines()
    act(session, "\n".join(before))
    there, text = snapshot(session), as_json(session)
    with pytest.raises(KernelBug, match=says) as caught:
        act(session, fork)
    middle = session.position
    assert len(session.machine.events) == len(session.machine.olds) == len(session.machine.cpus)
    with pytest.raises(KernelBug, match=says):  # the same again, and nothing moves
        session.finish()
    assert session.position == middle
    session.goto(there["position"])
    assert snapshot(session) == there
    assert as_json(session) == text
    act(session, "write A R 0 4")
    return caught.value


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: getattr(e, "__name__", type(e).__name__))
def test_whatever_a_function_raises_is_a_kernel_bug_with_its_line(
    error: BaseException | type[BaseException],
) -> None:
    caught = check_named_and_undone(
        kernel_with(raising(error)), r"^fork A B: raises \(test_contained\.py:\d+\)"
    )
    assert "\n" not in str(caught)


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_what_is_no_event_is_a_kernel_bug_with_its_line(number: int) -> None:
    check_named_and_undone(
        kernel_with(yielding(GARBAGE[number])),
        r"^fork A B: yields \(test_contained\.py:\d+\) "
        r"(yielded|did a|stored|took a lock|allocated)",
    )


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (plain, r"plain.*no generator|folio_try_dup_anon_rmap_ptes .*no generator"),
        (lambda self: (yield), "TypeError"),
        (refuses_to_end, r"refuses_to_end \(test_contained.py:\d+\) did a load at -0x1"),
    ],
    ids=["plain", "arity", "stubborn"],
)
def test_what_is_no_kernel_function_is_named(function: Function, says: str) -> None:
    check_named_and_undone(kernel_with(function), says)


def test_escapes_in_an_error_do_not_reach_the_message() -> None:
    caught = check_named_and_undone(
        kernel_with(raising(ValueError("\x1b[2J\x9b\u202e\nx"))), "raised"
    )
    assert str(caught).isprintable()


def test_a_function_that_moves_its_own_machine_is_refused() -> None:
    machines: list[History] = []

    def moves(self: Linux69, folio: Folio, page: Page, nr: int, dst: Mm, src: Vma) -> Gen[bool]:
        machines[0].undo()
        yield load(folio.flags)
        return True

    session = Session(kernel_with(moves))
    machines.append(session.machine)
    with pytest.raises(KernelBug, match="moves the machine"):
        act(session, FORK_64K)
    session.goto(0)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(0), Odd()])
def test_a_kernel_that_cannot_be_made_is_named(error: BaseException) -> None:
    def init(self: Linux69, cpu: int = 0) -> None:
        raise error

    with pytest.raises(KernelBug, match=r"init \(test_contained.py:\d+\) raised"):
        Session(kernel_with(plain, __init__=init))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONT_PTES", 0), ("CONT_PTES", -16), ("CONT_PTES", 3), ("CONT_PTES", "x"),
        ("has_contpte", None), ("supported_orders", -1), ("id", 5), ("rules_off", []),
        ("copy_page_range", "x"), ("folio_try_dup_anon_rmap_ptes", 5),
    ],
)  # fmt: skip
def test_a_constant_that_cannot_be_is_refused_before_anything_runs(
    name: str, value: object
) -> None:
    kernel = type("Mine", (Linux69,), {"id": "mine", name: value, "f": plain})
    with pytest.raises(UsageError, match=rf"test_contained.*Mine\.{name} is .*expected"):
        Session(kernel)


def test_a_coroutine_is_no_generator() -> None:
    async def wrong(self: Linux69) -> bool:
        return True

    with pytest.raises(UsageError, match="expected a generator, not `async`"):
        Session(kernel_with(wrong))


@pytest.mark.parametrize("addr", [-1, -5, 0, 1 << 40])
@pytest.mark.parametrize("what", [load, unlock, lambda a: store(a, 1), lambda a: add(a, 1)])
def test_no_machine_has_words_outside_its_memory(addr: int, what: Callable[[int], Any]) -> None:
    def body() -> Gen[None]:
        yield load(33)
        yield what(addr)

    machine = History()
    put(machine, "body", body)
    cells = list(machine.memory.cells)
    for _ in range(2):
        with pytest.raises(KernelBug, match=rf"body \(test_contained.py:\d+\).* at {addr:#x}:"):
            machine.run(0)
    assert (machine.position, machine.memory.cells) == (1, cells)


def test_the_same_event_twice_is_not_taken_back_for_one_that_failed() -> None:
    def body() -> Gen[None]:
        event = unlock(33)
        yield lock(33)
        yield event
        yield event

    machine = History()
    put(machine, "body", body)
    with pytest.raises(KernelBug, match="does not hold"):
        machine.run(0)
    assert (machine.position, machine.peek(33)) == (2, 0)


# -- functions that are not pure -------------------------------------------------------------


CALLS: list[int] = []


class Counts(Linux69):
    """Keeps a count outside the words, so it is another function each time."""

    id = "counts"

    def folio_try_dup_anon_rmap_ptes(
        self, folio: Folio, page: Page, nr: int, dst_mm: Mm, src_vma: Vma
    ) -> Gen[bool]:
        CALLS.append(1)
        for _ in CALLS:
            yield load(folio.flags)
        ret: bool = yield from super().folio_try_dup_anon_rmap_ptes(
            folio, page, nr, dst_mm, src_vma
        )
        return ret


NAMED = r"not a pure function of its answers: \w+ \([\w.]+:\d+\): event \d+ was .*, now .*"


def impure_in_the_middle() -> tuple[Session, int]:
    """A session in the middle of such a function, whose generator has to be made again."""
    session = Session(Counts)
    *before, fork = FORK_64K.splitlines()
    act(session, "\n".join(before))
    start = session.position
    begin(session, fork)
    while not (stack := session.stack()) or stack[-1].function != "dup_anon_page":
        session.step_event()
    for _ in range(4):
        session.step_event()
    session.machine.undo()
    return session, start


def test_an_impure_function_is_named_and_going_back_stays_possible() -> None:
    session, start = impure_in_the_middle()
    there = session.position
    for _ in range(2):
        with pytest.raises(NotPureError, match=NAMED):
            session.machine.step(0)
    assert session.position == there
    (frame,) = session.stack()
    assert frame.filename == __file__ or "sandbox" in frame.filename
    assert re.search("pure function", session.machine.blocked(0) or "")
    session.machine.undo()
    session.goto(session.machine.called_at(session.running[0]))
    back_action(session)
    assert session.position == start
    act(session, "write A R 0 4")
    assert not session.running


def test_an_impure_function_is_found_out_without_going_back() -> None:
    run = ScenarioRun(Counts)
    *before, fork = parse_lines(FORK_64K, "<test>")
    for step in before:
        run.do(step)
    with pytest.raises(NotPureError, match=NAMED) as caught:
        run.do(fork)
    assert caught.value.line
    assert caught.value.file.endswith("test_contained.py")


def test_a_pure_kernel_of_ones_own_runs_and_is_done_twice() -> None:
    class Mine(Linux69):
        id = "mine"

    run, model = ScenarioRun(Mine), ScenarioRun("6.9")
    for step in parse_lines(FORK_64K, "<test>"):
        assert run.do(step) == model.do(step)
    assert run.session.machine.checked
    assert not model.session.machine.checked


def test_a_refusal_is_still_a_refusal() -> None:
    session = Session(kernel_with(raising(ValueError())))
    with pytest.raises(UsageError, match="no process"):
        act(session, "exit Z")
    with pytest.raises(SandboxError):
        session.step_event()
