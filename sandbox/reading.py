"""The one reader of input: any file that a person names is read, or refused with one line.

Regular files, pipes and FIFOs (`/dev/stdin`, `<(...)`) and terminals are read alike.  Nothing
that is read can hold the reader: what sends no byte for two seconds, is endless or is too large
is refused, and devices are not even opened.  Nothing that is read is executed.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from sandbox.errors import Cancelled, SandboxError, Where
from sandbox.printable import short

__all__ = ["MAX_BYTES", "PATIENCE", "StopAsked", "decoded", "read_bytes", "read_text"]

MAX_BYTES = 16 << 20
"""Bytes of an input; a larger one is refused."""

PATIENCE = 2.0
"""Seconds without a byte after which a pipe, a FIFO or a terminal is refused."""

StopAsked = Callable[[], bool]
"""Whether somebody asked to stop; called some twenty times a second from the reading thread."""

_CHUNK = 1 << 18
_SLICE = 0.05
"""Seconds to wait at a time while somebody may ask to stop."""


def read_text(path: str, expected: str = "a text in UTF-8", stop: StopAsked | None = None) -> str:
    """Read a text in UTF-8, its lines ended by newlines whether or not they had a CR as well.

    Raises:
        SandboxError: as `read_bytes`; or it is not UTF-8, with line and column of the first
            byte that is not.
        Cancelled: as `read_bytes`.
    """
    return decoded(path, read_bytes(path, stop), expected)


def decoded(path: str, data: bytes, expected: str = "a text in UTF-8") -> str:
    """Decode what was read of a file, its lines ended by newlines.

    Raises:
        SandboxError: it is not UTF-8, with line and column of the first byte that is not.
    """
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        before = data[data.rfind(b"\n", 0, error.start) + 1 : error.start]
        where = Where(path, line, len(before.decode("utf-8")) + 1)
        raise SandboxError("not UTF-8 text", where, expected) from error


def read_bytes(path: str, stop: StopAsked | None = None) -> bytes:
    """Read all of a file, pipe, FIFO or terminal, at most `MAX_BYTES`.

    Raises:
        SandboxError: there is no such thing, it is of another kind (a directory, a device), it
            cannot be read, is too large, or sent nothing for `PATIENCE` seconds.
        Cancelled: `stop` said so; nothing is left open.
    """
    try:
        _refuse_devices(path)
        # Without a writer a FIFO would block the opening, not the reading.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return _read_all(path, descriptor, stop)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(path, error.strerror or "an error") from error
    except ValueError as error:  # a NUL, or a character that no file's name can have
        raise _unreadable(path, "no file has such a name") from error


def _unreadable(path: str, reason: str) -> SandboxError:
    return SandboxError(f"cannot read {short(path, 200)}: {reason}")


def _refuse_devices(path: str) -> None:
    """Refuse what must not be opened: opening a device may already do something."""
    found = os.stat(path)
    mode = found.st_mode
    if stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or _is_our_terminal(found):
        return
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for is_kind, name in kinds if is_kind(mode)), "a device")
    raise SandboxError(f"cannot read {short(path, 200)}: it is {kind}", expected="a file or a pipe")


def _is_our_terminal(found: os.stat_result) -> bool:
    """Tell whether a thing is the terminal that one of our own streams is."""
    if not stat.S_ISCHR(found.st_mode):
        return False
    if found.st_rdev == os.makedev(5, 0):  # /dev/tty stands for it
        return True
    for stream in (0, 1, 2):
        try:
            if os.isatty(stream) and os.fstat(stream).st_rdev == found.st_rdev:
                return True
        except OSError:  # that stream is closed
            continue
    return False


def _read_all(path: str, descriptor: int, stop: StopAsked | None) -> bytes:
    """Read to the end, or refuse; the descriptor does not block."""
    data = bytearray()
    # What a regular file says of its size spares the reading; a pipe says 0.
    while max(len(data), os.fstat(descriptor).st_size) <= MAX_BYTES:
        chunk = _next_chunk(path, descriptor, stop)
        if not chunk:
            return bytes(data)
        data += chunk
    raise SandboxError(f"{short(path, 200)} is too large", expected=f"at most {MAX_BYTES >> 20} MB")


def _next_chunk(path: str, descriptor: int, stop: StopAsked | None) -> bytes:
    """Wait for some bytes; none are the end."""
    import select  # here: a preset of the library is read without waiting

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    until = time.monotonic() + PATIENCE
    while True:
        if stop is not None and stop():
            raise Cancelled(f"stopped reading {short(path, 200)}")
        left = until - time.monotonic()
        if left <= 0:
            expected = f"a first byte within {PATIENCE:g} s, and the next ones too"
            raise SandboxError(f"nothing comes out of {short(path, 200)}", expected=expected)
        if not poll.poll(1000 * (min(left, _SLICE) if stop is not None else left)):
            continue
        try:
            return os.read(descriptor, _CHUNK)
        except BlockingIOError:  # a file of /proc that is always ready, and has nothing
            time.sleep(min(left, _SLICE))
