"""Files the application writes: where, never half of one, and never over somebody else's work."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from sandbox.errors import UsageError

__all__ = [
    "expanded",
    "named",
    "nameless",
    "read_back",
    "replace_file",
    "save_text",
    "state_directory",
    "sync_folder",
    "temporary",
    "write_all",
    "write_atomically",
]

T = TypeVar("T")

_HANDLES = "/proc/self/fd"
"""Where a file that has no name can be found to be given one."""
_LOOKED_AT = 16 << 20
"""Bytes of a file that is to be saved over that are looked at; what mmtui writes is smaller."""


def state_directory() -> Path:
    """Where sessions and the history of commands are kept (XDG_STATE_HOME)."""
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if base.startswith("/") else Path(os.path.expanduser("~/.local/state"))
    return root / "mmtui"


def write_all(handle: int, data: bytes) -> None:
    """Write every byte, for a disk that is nearly full may take some of them only."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def sync_folder(folder: str) -> None:
    """Have the name of a file on disk as well; some file systems cannot, and need not."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(handle)


def temporary(path: str) -> tuple[int, str]:
    """Open a new file beside another one, which it is to replace; returns (handle, path)."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return _beside(path, lambda name: os.open(name, flags, 0o666))


def _beside(path: str, make: Callable[[str], T]) -> tuple[T, str]:
    """Make something under a new name beside a file; returns what was made, and the name."""
    folder, name = os.path.split(path)
    for number in range(1000):
        beside = os.path.join(folder, f".{name[:200]}.{os.getpid():x}{number:x}")
        try:
            return make(beside), beside
        except FileExistsError:
            continue
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def nameless(path: str) -> tuple[int, str]:
    """Open a new file in a folder that has no name yet: a kill leaves nothing of it there.

    One with a name, which is returned too, where the file system has no such files.
    """
    folder = os.path.dirname(path) or "."
    if os.path.exists(_HANDLES):
        try:
            return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o666), ""
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
    return temporary(path)


def named(handle: int, path: str) -> str:
    """Give a nameless file a name beside another one, which it is to replace; returns that."""
    # With a folder to start from, which a whole path does not need, links are followed.
    return _beside(path, partial(os.link, f"{_HANDLES}/{handle}", src_dir_fd=handle))[1]


def replace_file(path: str, data: bytes, mode: int | None = None) -> None:
    """Put a whole new file in place of what is at a path, or leave that as it is.

    Written under another name, synchronised and renamed; `mode` are permissions to keep.

    Raises:
        OSError: what failed; the old file is whole, and nothing else is left behind.
    """
    handle, beside = nameless(path)
    try:
        try:
            write_all(handle, data)
            if mode is not None:
                os.fchmod(handle, mode)
            os.fsync(handle)
            beside = beside or named(handle, path)
        finally:
            os.close(handle)
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            if beside:
                os.unlink(beside)
        raise
    sync_folder(os.path.dirname(path) or ".")


def write_atomically(path: Path, text: str) -> None:
    """Write one of the application's own files, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(str(path), text.encode("utf-8", "surrogateescape"))


# -- what a person names -------------------------------------------------------------------


def expanded(path: str) -> str:
    """A path as it was typed, with `~` and `~user` replaced, links followed.

    Raises:
        UsageError: there is no such user, or it is no path.
    """
    whole = os.path.expanduser(path)
    if whole.startswith("~"):
        user = whole.partition("/")[0][:40]
        raise UsageError(f"there is no user {user[1:]!r}", expected="a path, or ~ for your home")
    if "\0" in whole:
        raise UsageError("a path has no NUL in it", expected="a path")
    return os.path.realpath(whole)


def save_text(path: str, text: str, *, ours: bool, insist: bool = False) -> None:
    """Write a file that a person named, over a file only if it is *ours* or they *insist*.

    Links are followed; an existing file keeps its mode and its other names.  No folders are
    made.

    Raises:
        UsageError: it is there and is to stay, or cannot be written; nothing was changed.
    """
    real = expanded(path)
    try:
        found = os.stat(real)
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise _refused(path, error) from error
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is no regular file", expected="the name of a file")
    if found is not None and not ours and not insist:
        raise UsageError(
            f"{path} is there and was not written by mmtui, or was changed since",
            expected=f"another name, or :save! {path} to write over it",
        )
    try:
        _write_over(real, text.encode("utf-8", "surrogateescape"), found)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: str, error: OSError) -> UsageError:
    reason = error.strerror or str(error)
    folder = os.path.dirname(expanded(path)) if error.errno == errno.ENOENT else ""
    if folder and not os.path.isdir(folder):
        reason = f"there is no folder {folder}"
    return UsageError(f"cannot write {path}: {reason}", expected="another place, :save FILE")


def _write_over(path: str, data: bytes, found: os.stat_result | None) -> None:
    if found is None:
        replace_file(path, data)
    elif found.st_nlink > 1:
        _write_within(path, data)
    elif not os.access(path, os.W_OK):  # a new file in its place would get round its permissions
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    else:
        replace_file(path, data, stat.S_IMODE(found.st_mode))


def _write_within(path: str, data: bytes) -> None:
    """Write into a file that has other names, which a new one in its place would not have.

    What it held is on disk beside it until the new text is; if writing fails it is put back.
    """
    with open(path, "rb") as file:
        before = file.read(_LOOKED_AT + 1)
    if len(before) > _LOOKED_AT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    copy, beside = temporary(path)
    handle = -1
    try:
        write_all(copy, before)
        os.fsync(copy)
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _write_from_start(handle, data)
        except OSError as error:
            try:
                _write_from_start(handle, before)
            except OSError:
                kept, beside = beside, ""
                reason = f"{error.strerror}; what it held is in {kept}"
                raise OSError(error.errno, reason) from error
            raise
    finally:
        os.close(copy)
        if handle >= 0:
            os.close(handle)
        if beside:
            with contextlib.suppress(OSError):
                os.unlink(beside)


def _write_from_start(handle: int, data: bytes) -> None:
    os.lseek(handle, 0, os.SEEK_SET)
    write_all(handle, data)
    os.ftruncate(handle, len(data))
    os.fsync(handle)


def read_back(path: str) -> str | None:
    """The text of a file that is to be saved over, None if there is none (or no regular one).

    Raises:
        UsageError: it cannot be read, so nobody knows whose it is.
    """
    real = expanded(path)
    try:
        if not stat.S_ISREG(os.stat(real).st_mode):
            return None
        with open(real, "rb", opener=_nonblocking) as file:
            return file.read(_LOOKED_AT).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, error) from error


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
