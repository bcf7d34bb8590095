"""Calls that a long function has made and come back from: what is not done again to look at it.

A function is made live again from its answers.  Of one that has run for millions of events only
the calls it is *in* matter for where it stands; of one that has returned nothing is left but its
result.  So results of returned calls are written down, with the answers between them, and when the
function is made again each of these calls returns at once.  What is left to do again are the
callers' own few events and the innermost call.

Which functions are worth it shows itself (`Calls.look`): the frame that was there at the last look
is long, and what it calls now is what it calls again and again.  Such a function is reached through
an attribute of the kernel object that this one running function has to itself.  A call is written
down only if its arguments and its result are plain values, so that there is nothing else that it
could have left; whatever is not written down is simply done again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from itertools import chain
from sys import getsizeof
from types import CodeType
from typing import Any
from weakref import ref

from sandbox.machine.calls import start
from sandbox.machine.frames import PASSED_ON, calls_of, innermost
from sandbox.machine.memory import Event, Gen
from sandbox.machine.tasks import Task

__all__ = ["Calls", "kernel_to_itself", "plain"]

LOOK_FROM = 1 << 15
"""Events of a function below which it is done again whole: what is written down has its price."""
SHORT = 32
"""Events of a call below which it is done again as fast as it is looked up."""
LONG = 1 << 14
"""Events of a call up to which it is done again from its start when one goes back into it."""
BLOCK = 4096
"""Answers that are taken from the journal at once."""
ENOUGH = 1 << 19
"""Events of a function after which `fill` may take its time."""
USELESS = 8
"""How often what a function's calls left was covered by its caller's, until it is left alone."""


class _Returned:
    """A call that has returned: its answers are those from `begin` to `end`."""

    __slots__ = ("after", "args", "begin", "end", "name", "result")

    def __init__(self, name: str, begin: int, end: int, args: Any, result: Any) -> None:  # noqa: ANN401  # plain values
        self.name, self.begin, self.end = name, begin, end
        self.args, self.result = args, result
        self.after: list[Any] = []
        """Answers from its end on, at most to the beginning of the next call written down."""


class Calls:
    """The returned calls of one task, and the functions of which they are written down."""

    def __init__(self, task: Task) -> None:
        self._task = ref(task)  # a task is freed as soon as nobody has it any more
        self._names: set[str] = set()
        self._useless: dict[str, int] = {}
        self._stack: list[ref[Any]] = []
        self._found: dict[tuple[str, int], _Returned] = {}
        self._order: list[_Returned] = [_Returned("", 0, 0, (), None)]
        """By end; the first stands for the beginning of the function."""
        self._count = -1
        """Answers given so far to a function that is being made again; -1 when none is."""
        self._skipped = False
        self._filled = False

    def __len__(self) -> int:
        """How many returned calls are known."""
        return len(self._order) - 1

    def __bool__(self) -> bool:
        """Whether there is anything to be gained."""
        return bool(self._names)

    def size(self) -> tuple[int, int]:
        """How many calls are written down, and about how many bytes they take."""
        size = getsizeof(self._found) + getsizeof(self._order)
        for returned in self._order:
            size += getsizeof(returned) + getsizeof(returned.args) + getsizeof(returned.after)
            size += getsizeof((returned.name, returned.begin))
            size += sum(getsizeof(arg) for arg in returned.args)
        return len(self), size

    @property
    def _owner(self) -> Task:
        task = self._task()
        assert task is not None  # it runs, or it is being made again
        return task

    # -- which functions -------------------------------------------------------------------

    def look(self) -> None:
        """Between two events of the task: is there a call of which there are many?"""
        task = self._owner
        if len(task.answers) < LOOK_FROM:
            return
        stack = list(calls_of(task.gen))
        before, self._stack = self._stack, [ref(gen) for gen in stack]
        same = 0
        while same < min(len(before), len(stack)) and before[same]() is stack[same]:
            same += 1
        if 0 < same < len(stack):
            code: CodeType = stack[same].gi_code
            function = getattr(type(task.kernel), code.co_name, None)
            if getattr(function, "__code__", None) is code:
                self._write_down(code.co_name)

    def _write_down(self, name: str) -> None:
        task = self._owner
        if name not in self._names and task.own is not task.kernel:
            self._names.add(name)
            object.__setattr__(task.own, name, _Door(self, name, task.own))

    def _prepare(self, kernel: object) -> None:
        """Have the calls of a function that is about to be made again pass through here."""
        for name in self._names:
            object.__setattr__(kernel, name, _Door(self, name, kernel))

    def _leave_alone(self, name: str, kernel: object) -> None:
        """Write down no more of a function's calls."""
        if name in vars(kernel):
            object.__delattr__(kernel, name)

    # -- a call begins and returns ---------------------------------------------------------

    def entered(self, name: str, args: Any) -> tuple[int, _Returned | None]:  # noqa: ANN401  # plain values
        """A call begins here: after how many answers, and its record if it is to return at once."""
        if self._count < 0:
            return len(self._owner.answers), None
        begin = self._count
        found = self._found.get((name, begin))
        if found is None or found.args != args:
            return begin, None
        self._count, self._skipped = found.end, True
        return begin, found

    def left(self, name: str, begin: int, args: Any, result: Any) -> None:  # noqa: ANN401  # plain, and whatever it returned
        """A call that is not written down yet returns here."""
        answers, order = self._owner.answers, self._order
        end = len(answers) if self._count < 0 else self._count
        if end - begin < SHORT or not plain(result):
            return
        at = len(order) if self._count < 0 else bisect_right(order, end, key=_end)
        returned = _Returned(name, begin, end, args, result)
        returned.after = order[at - 1].after[end - order[at - 1].end :]
        if end - begin < LONG:
            first = at
            while order[first - 1].begin >= begin and first > 1:
                first -= 1
            for inner in order[first:at]:
                self._cover(inner)
            del order[first:at]
            at = first
        last = order[at - 1]
        if last.end <= begin:
            if len(last.after) < begin - last.end:
                last.after = list(answers[last.end : begin])
            del last.after[begin - last.end :]
        order.insert(at, returned)
        self._found[name, begin] = returned

    def _cover(self, inner: _Returned) -> None:
        """A call is within one that has returned and is short enough to be done again whole."""
        self._found.pop((inner.name, inner.begin), None)
        seen = self._useless[inner.name] = self._useless.get(inner.name, 0) + 1
        if seen >= USELESS:
            self._leave_alone(inner.name, self._owner.own)

    # -- making the function again ---------------------------------------------------------

    def _truncate(self, count: int) -> None:
        """Forget what is not the outcome of the first *count* answers."""
        order = self._order
        while order[-1].end > count:
            late = order.pop()
            self._found.pop((late.name, late.begin), None)
        del order[-1].after[count - order[-1].end :]

    def made_again(
        self, last_events: Callable[[int], list[Event]], beat: Callable[[], None]
    ) -> Gen[Any] | None:
        """Make the task's function again; None when it does not come to where it was.

        *last_events* gives the task's last so many events, for comparison with those that were done
        again; *beat* is called every so often.
        """
        task = self._owner
        own = kernel_to_itself(task.kernel)
        self._prepare(own)
        gen = start(task.call, own)
        try:
            now, done = self._again(gen, beat)
        except Exception:  # noqa: BLE001  # a person's own kernel may raise anything: done whole, it says what
            return None
        if now is None or now != task.pending or done != last_events(len(done)):
            return None
        for name, seen in self._useless.items():
            if seen >= USELESS:
                self._leave_alone(name, own)
        task.own = own
        return gen

    def fill(self) -> None:
        """Write down, once, what the function called before it was known to be worth it.

        It is made again beside the running one for that, when it has run for so long that this is
        next to nothing.
        """
        task = self._owner
        if self._filled or not self or len(task.answers) < ENOUGH:
            return
        self._filled = True
        own = kernel_to_itself(task.kernel)
        self._prepare(own)
        with suppress(Exception):  # what a function raises that is not pure is told on going back
            self._again(start(task.call, own), lambda: None)

    def _again(self, gen: Gen[Any], beat: Callable[[], None]) -> tuple[Event | None, list[Event]]:
        """Give a fresh function the task's answers.

        Returns its pending event, and those done since the last call that returned at once.
        """
        count = len(self._owner.answers)
        self._truncate(count)
        self._count, self._skipped = 0, False
        done: list[Event] = []
        try:
            now = next(gen)
            while self._count < count:
                if self._skipped:
                    self._skipped = False
                    done.clear()
                    beat()
                for answer in self._answers(self._count, count):
                    done.append(now)
                    self._count += 1
                    if self._count == count:
                        self._owner.before = count, innermost(gen)
                    now = gen.send(answer)
                    if self._skipped:
                        break
            if self._skipped:
                done.clear()
        except StopIteration:
            return None, done
        finally:
            self._count = -1
        return now, done

    def _answers(self, at: int, count: int) -> Iterator[Any]:
        """The answers from *at* on: those kept after a returned call, then the journal's."""
        order = self._order
        last = order[bisect_right(order, at, key=_end) - 1]
        kept = last.after[at - last.end :]
        rest = at + len(kept)
        answers = self._owner.answers
        blocks = (answers[i : min(i + BLOCK, count)] for i in range(rest, count, BLOCK))
        return chain(kept, chain.from_iterable(blocks))


def _end(returned: _Returned) -> int:
    return returned.end


class _Door:
    """A kernel function as a running function finds it on the kernel object it has to itself."""

    __slots__ = ("_calls", "_function", "_name")

    def __init__(self, calls: Calls, name: str, kernel: object) -> None:
        self._calls = calls
        self._name = name
        self._function: Callable[..., Gen[Any]] = getattr(type(kernel), name).__get__(kernel)

    def __call__(self, *args: Any, **kwargs: Any) -> Gen[Any]:  # noqa: ANN401  # the function's
        """Call the function, and write down what becomes of it if it can be."""
        if kwargs or not plain(args):
            return self._function(*args, **kwargs)
        return _passed_on(self._calls, self._name, self._function, args)


def _passed_on(
    calls: Calls, name: str, function: Callable[..., Gen[Any]], args: tuple[Any, ...]
) -> Gen[Any]:
    """Do a call, or return at once what it returned."""
    begin, returned = calls.entered(name, args)
    if returned is not None:
        return returned.result
    result = yield from function(*args)
    calls.left(name, begin, args, result)
    return result


PASSED_ON.add(_passed_on.__code__)


def kernel_to_itself(kernel: object) -> object:
    """A kernel object for one running function alone; the same where none can be made."""
    kind = type(kernel)
    state = getattr(kernel, "__dict__", None)
    if kind.__new__ is not object.__new__ or type(state) is not dict:
        return kernel
    new = object.__new__(kind)
    for name, value in state.items():
        object.__setattr__(new, name, value)
    return new


def plain(value: object, deep: int = 4) -> bool:
    """Whether a value has no parts that could be changed: numbers, texts, tuples of such."""
    kind: Any = type(value)
    if _is_plain(kind):
        return True
    return isinstance(value, tuple) and deep > 0 and all(plain(item, deep - 1) for item in value)


@cache
def _is_plain(kind: Any) -> bool:  # noqa: ANN401  # a type
    if kind in (bool, str, float, bytes, type(None)):
        return True
    # A person's own subclass of int may have attributes, unless it says that it has none.
    own = not str(kind.__module__).startswith("sandbox.")
    return issubclass(kind, int) and not (own and kind.__dictoffset__)
