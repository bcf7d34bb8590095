"""The compiled walker's library: made with the machine's own compiler, once, and kept.

Where there is no compiler, or it fails, there is none, and the walker in plain Python is used.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["library", "why_not"]

SOURCES = ("core.c", "walk.h")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O2", "-shared", "-fPIC", "-std=gnu11")
SECONDS = 60
"""How long a compiler may take; it takes two."""
OFF = "MMTUI_NO_COMPILER"
"""Set, it keeps the compiled walker from being used."""

_INT, _U32, _U64 = ctypes.c_int, ctypes.c_uint32, ctypes.c_uint64
_CORE, _BYTES, _POINTER = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "core_new": (_CORE, [_INT, _INT, _U64]),
    "core_free": (None, [_CORE]),
    "core_lay_out": (_INT, [_CORE, _INT, _U32, _BYTES, _BYTES, _BYTES]),
    "core_root": (None, [_CORE, _INT, _U64, _U32]),
    "core_table": (_U32, [_CORE, _U32]),
    "core_guard": (_U32, [_CORE, _U32, _POINTER]),
    "core_child": (None, [_CORE, _U32, _U32, _U32]),
    "core_leaf": (_U32, [_CORE, _INT, _U32, _INT, _BYTES, _POINTER, _INT, _POINTER]),
    "core_alone": (None, [_CORE, _INT, _INT, _U32, _U32, _POINTER]),
    "core_bound": (None, [_CORE, _U32, _U64]),
    "core_start": (_INT, [_CORE, _POINTER]),
    "core_run": (_INT, [_CORE, _U64, _INT]),
    "core_ask": (_U64, [_CORE, _INT]),
    "core_final": (_U64, [_CORE, _U64]),
    "core_parent": (_U32, [_CORE, _U64]),
    "core_numbers": (None, [_CORE, _U64, _POINTER]),
    "core_hit": (_U64, [_CORE, _U32, _POINTER, _POINTER]),
}


class _NoLibrary(Exception):
    """There is none; the text says why."""


@functools.cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    """(The library, why there is none)."""
    try:
        if os.environ.get(OFF):
            raise _NoLibrary(f"{OFF} is set")
        made = ctypes.CDLL(str(_made()))
    except (_NoLibrary, OSError) as error:
        return None, str(error)
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(made, name)
        function.restype, function.argtypes = result, arguments
    return made, ""


def library() -> ctypes.CDLL | None:
    """The compiled walker, or None."""
    return _loaded()[0]


def why_not() -> str:
    """Why there is no compiled walker; nothing if there is one."""
    return _loaded()[1]


def _made() -> Path:
    """The file of the library, compiled if it was not yet."""
    here = Path(__file__).parent
    sources = [(here / name).read_bytes() for name in SOURCES]
    told = "\0".join((*FLAGS, platform.machine(), platform.libc_ver()[1]))
    key = hashlib.sha256(b"\0".join((*sources, told.encode()))).hexdigest()[:16]
    folder = _cache()
    file = folder / f"core-{key}.so"
    if file.is_file() and file.stat().st_uid == os.getuid():
        return file
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise _NoLibrary("there is no C compiler")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        new = Path(scratch) / "core.so"
        command = [compiler, *FLAGS, "-o", str(new), str(here / SOURCES[0])]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise _NoLibrary(f"{compiler} took longer than {SECONDS} s") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise _NoLibrary(f"{compiler} failed: {said[0] if said else 'it says nothing'}")
        new.replace(file)  # at once: another process may be doing the same
    return file


def _cache() -> Path:
    """The user's folder for what can be made again."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    return base / "mmtui"
