"""Loading a kernel of a person's own from a Python file, whatever that file does.

A file that is broken is refused with one line that says where in it.  It is read and compiled
here, not imported: an edited file is seen at once, and nothing is written beside it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from sandbox.errors import UnknownKernelError, Where
from sandbox.kernels.files import OwnFiles
from sandbox.kernels.guard import Source, find_mistakes, refuse_mistakes
from sandbox.machine.watchdog import NoEvent, Watch
from sandbox.printable import one_line, printable, short

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel

__all__ = [
    "Files",
    "class_of",
    "contained",
    "described",
    "from_file",
    "load_kernel",
    "place_of",
    "taken",
]

_T = TypeVar("_T")
_WORDS = ("id", "title", "summary")
"""What a class says of itself, and screens and reports show."""

_LONGEST_ID = 80


def load_kernel(path: str, name: str) -> type[Kernel]:
    """Run a Python file and return its kernel class of that name.

    Raises:
        UnknownKernelError: the file cannot be read, is broken, stops the interpreter, or has no
            such class.
        PatchError: the class has a mistake that its text shows (`guard`).
    """
    return from_file(path, lambda files, module: taken(files, class_of(path, module, name)))


def from_file(path: str, take: Callable[[OwnFiles, ModuleType], _T]) -> _T:
    """Run a Python file and take what is wanted of its module.

    When it is refused, what an earlier call made of the same file stays in use.

    Raises:
        UnknownKernelError: the file cannot be read, is broken, or stops the interpreter.
        SandboxError: what *take* refuses.
    """
    files = OwnFiles(path)
    try:
        return take(files, contained(files, files.load))
    except BaseException:
        files.put_back()
        raise


class Files(Protocol):
    """The files that a kernel is from."""

    path: str
    """What errors name that are in none of its lines."""
    codes: dict[str, CodeType]

    def has(self, file: str) -> bool:
        """Whether a line of that file is one of its lines."""
        ...

    def shown(self, file: str) -> str:
        """What errors call that file."""
        ...

    def sources(self) -> list[Source]:
        """The texts that there are."""
        ...


def taken(files: Files, found: type[Kernel]) -> type[Kernel]:
    """Take a kernel class, if what it says of itself, its text and its making are in order.

    Raises:
        UnknownKernelError: what is wrong and where.
    """
    words = contained(files, lambda: [getattr(found, word) for word in _WORDS])
    _check_words(place_of(files, found), words)
    sources = files.sources()
    refuse_mistakes(contained(files, lambda: find_mistakes(found, sources)))
    contained(files, lambda: [found(cpu) for cpu in (0, 1)])
    return found


def class_of(path: str, module: ModuleType, name: str) -> type[Kernel]:
    """The kernel class of that name in a module.

    Raises:
        UnknownKernelError: there is none.
    """
    from sandbox.kernels.base import Kernel

    classes = {
        key: value
        for key, value in vars(module).items()
        if issubclass(type(value), type) and issubclass(value, Kernel)
    }
    if name not in classes:
        names = short(", ".join(classes), 200) or "a subclass of a kernel in it"
        message = f"{path} has no kernel class {short(name, 60)!r}"
        raise UnknownKernelError(message, expected=f"one of {names}")
    return classes[name]


def _check_words(where: Where, words: Sequence[object]) -> None:
    """Refuse a class whose id, title or summary could not be shown."""
    for word, value in zip(_WORDS, words, strict=True):
        if type(value) is not str:
            _refuse(where, f"{word} is no text", f'{word} = "..."')
        if printable(value) != value or "\n" in value or "\t" in value:
            message = f"{word} has control characters: {one_line(value, 60)}"
            _refuse(where, message, "printable text")
        if word == "id" and (not 0 < len(value) <= _LONGEST_ID or " " in value):
            expected = f"a word of at most {_LONGEST_ID} letters"
            _refuse(where, f"the id is {short(value, 40)!r}", expected)


def _refuse(where: Where, message: str, expected: str) -> NoReturn:
    raise UnknownKernelError(message, where, expected)


def _line_of(code: CodeType, kernel: type) -> int:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_qualname == kernel.__qualname__:
                return inner.co_firstlineno
            if (line := _line_of(inner, kernel)) > 1:
                return line
    return 1


# -- containing --------------------------------------------------------------------------------


def contained(files: Files, work: Callable[[], _T]) -> _T:
    """Do something with a person's code; whatever it raises is one error with its place.

    Raises:
        UnknownKernelError: it raised anything, `SystemExit` and `KeyboardInterrupt` included, or
            came to no end.
        KeyboardInterrupt: the person pressed Ctrl+C.
    """
    watch = Watch(None)
    with _real_interrupts() as pressed:
        try:
            with watch:
                return work()
        except NoEvent as error:
            raise UnknownKernelError(watch.text, place_of(files, error)) from None
        except BaseException as error:  # a person's file may raise anything
            if pressed and isinstance(error, KeyboardInterrupt):
                raise
            if isinstance(error, UnknownKernelError) and error.__cause__ is not None:
                raise  # a file that cannot be read
            raise UnknownKernelError(described(error), place_of(files, error)) from None


@contextmanager
def _real_interrupts() -> Iterator[list[int]]:
    """Tell Ctrl+C from a `KeyboardInterrupt` that a file raises: the list holds what arrived."""
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and callable(before)
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def described(error: BaseException) -> str:
    """Name an error and say its text, which may itself be broken."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    try:
        text = one_line(str(error), 200)
    except BaseException:  # noqa: BLE001  # its __str__ is a person's code as well
        text = "(its text cannot be made)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place_of(files: Files, what: BaseException | type) -> Where:
    """Where in the files something is; the first line if in none of theirs.

    Of an error the innermost line of theirs, of a class where it stands (any file; a class that a
    call made stands nowhere).
    """
    if isinstance(what, type):
        for file, code in files.codes.items():
            if (line := _line_of(code, what)) > 1:
                return Where(files.shown(file), line, 1)
        return Where(files.path, 1, 1)
    if isinstance(what, SyntaxError) and what.filename and files.has(what.filename):
        return Where(files.shown(what.filename), what.lineno or 1, what.offset or 1)
    where, trace = Where(files.path, 1, 1), what.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if files.has(file):
            where = Where(files.shown(file), trace.tb_lineno, _column(trace))
        trace = trace.tb_next
    return where


def _column(trace: TracebackType) -> int:
    positions = list(trace.tb_frame.f_code.co_positions())
    column = positions[trace.tb_lasti // 2][2] if trace.tb_lasti >= 0 else None
    return 1 if column is None else column + 1
