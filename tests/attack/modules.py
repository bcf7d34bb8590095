"""Kernel modules of a person's own that are wrong: none ends, hangs or falsifies unnamed.

Left out is what no process can do anything about from within: `os._exit` and a module that
patches the engine.
"""

from __future__ import annotations

from pathlib import Path

from tests.attack.homes import Home
from tests.attack.limited import judge, run_limited
from tests.attack.report import Report

__all__ = ["FAULTS", "MODULES", "body", "try_modules"]

HEAD = """\
from sandbox.kernels.linux_6_9 import Linux69
from sandbox.fields import Struct
from sandbox.memory import *
from sandbox.memory import Page
class K(Linux69):
    id = "k"
    title = "t"
    summary = "s"
"""
_FUNCTION = "    def folio_try_dup_anon_rmap_ptes(self, folio, page, nr, dst_mm, src_vma):\n"
_CALL = "folio_try_dup_anon_rmap_ptes(folio, page, nr, dst_mm, src_vma)"
_ITSELF = f"yield from self.{_CALL}"
_SUPER = f"return (yield from super().{_CALL})"
_THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(1,)).start()\n"
NAMED = (1, 2, 3)
"""Statuses of a run that was stopped by what a kernel did."""
_SECONDS = 30.0
_SPACE = 2 << 30


def body(text: str) -> str:
    return HEAD + _FUNCTION + "".join(f"        {line}\n" for line in text.split("\n"))


FAULTS = {
    "ValueError": 'raise ValueError("boom")\nyield',
    "escapes": 'raise ValueError("\\x1b[2Jboom\\x1b]0;t\\x07\\nsecond line")\nyield',
    "no repr": "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E\nyield",
    "BaseException": 'class B(BaseException): pass\nraise B("x")\nyield',
    "KeyboardInterrupt": "raise KeyboardInterrupt\nyield",
    "SystemExit 0": "raise SystemExit(0)\nyield",
    "SystemExit 3": "raise SystemExit(3)\nyield",
    "SystemExit text": 'import sys\nsys.exit("bye")\nyield',
    "GeneratorExit": "raise GeneratorExit\nyield",
    "StopIteration": "raise StopIteration(1)\nyield",
    "MemoryError": "raise MemoryError\nyield",
    "RecursionError": "def f(): return f()\nf()\nyield",
    "Cancelled": 'from sandbox.errors import Cancelled\nraise Cancelled("x")\nyield',
    "UsageError": 'from sandbox.errors import UsageError\nraise UsageError("mine")\nyield',
    "BrokenPipeError": "raise BrokenPipeError\nyield",
    "no space left": 'import errno\nraise OSError(errno.ENOSPC, "full")\nyield',
    "loops": "while True: pass\nyield",
    "loops in C": "sum(iter(int, 1))\nyield",
    "loops with events": "while True:\n    yield load(folio.flags)",
    "allocates": "x = []\nwhile True: x.append(bytes(1 << 20))\nyield",
    "sleeps": "import time\ntime.sleep(1000)\nyield",
    "yields None": "yield None\nreturn True",
    "yields a number": "yield 5\nreturn True",
    "yields a text": 'yield "abc"\nreturn True',
    "yields nothing": "yield ()\nreturn True",
    "unknown operation": "yield (999, 0)\nreturn True",
    "negative operation": "yield (-1, 0)\nreturn True",
    "far address": "yield (LOAD, 1 << 60)\nreturn True",
    "negative address": "yield (LOAD, -5)\nreturn True",
    "store to a negative address": "yield store(-5, 7)\nreturn True",
    "store a text": 'yield store(folio._mapcount, "abc")\nreturn True',
    "store a list": "yield store(folio._mapcount, [1, 2])\nreturn True",
    "store an object": "yield store(folio._refcount, object())\nreturn True",
    "address no whole number": "yield (LOAD, 1.5)\nreturn True",
    "address a text": 'yield (LOAD, "x")\nreturn True',
    "unknown kind": "yield (ALLOC, 0, 77, 5)\nreturn True",
    "negative count": "yield (ALLOC, 0, Struct.PAGE, -5)\nreturn True",
    "2^34 pages": "yield (ALLOC, 0, Struct.PAGE, 1 << 34)\nreturn True",
    "locks for ever": "yield from spin_lock(folio.flags)\nreturn True",
    "no generator": "return None",
    "a thread": _THREAD + _SUPER,
    "recursion": _ITSELF,
    "recursion with events": f"yield load(folio.flags)\n{_ITSELF}",
}
"""Bodies of a function that must be stopped and named."""

HARMLESS = {
    "reads standard input": f"try: input()\nexcept EOFError: pass\n{_SUPER}",
    "prints": f'print("hello")\n{_SUPER}',
    "warns": f'import warnings\nwarnings.warn("old")\n{_SUPER}',
}
"""Bodies after which the run is right."""

MODULES: dict[str, str | bytes] = {
    "wrong arity": HEAD + "    def folio_try_dup_anon_rmap_ptes(self):\n        yield\n",
    "no function": HEAD + "    folio_try_dup_anon_rmap_ptes = 5\n",
    "async": HEAD + "    async def folio_try_dup_anon_rmap_ptes(self, *a):\n        return True\n",
    "raises": 'raise ValueError("at import\\nline2 \\x1b[31m")\n',
    "exits": "import sys; sys.exit(0)\n",
    "KeyboardInterrupt": "raise KeyboardInterrupt\n",
    "BaseException": "class B(BaseException): pass\nraise B\n",
    "GeneratorExit": "raise GeneratorExit\n",
    "missing import": "import nothing_of_that_name\n" + HEAD + "    pass\n",
    "syntax": "class K(:\n", "NUL": "x = 1\0\n", "no UTF-8": b'# \xff\nx = "\xe9"\n', "empty": "",
    "loops": "while True: pass\n", "loops in C": "sum(iter(int, 1))\n",
    "recursion": "def f(): f()\nf()\n",
    "5,000 brackets": "x = " + "(" * 5000 + ")" * 5000 + "\n",
    "200,000 signs": "x = " + "-" * 200_000 + "1\n",
    "no class": HEAD.replace("class K", "class Other") + "    pass\n",
    "no kernel": "class K: pass\n", "a function": "def K(): pass\n",
    "the base": "from sandbox.kernels.base import Kernel as K\n",
    "init raises": HEAD + '    def __init__(self, cpu): raise ValueError("init")\n',
    "init of another arity": HEAD + "    def __init__(self): pass\n",
    "id no text": HEAD.replace('id = "k"', "id = 5") + "    pass\n",
    "id an escape": HEAD.replace('id = "k"', 'id = "\\x1b[31m"') + "    pass\n",
    "CONT_PTES 0": HEAD + "    CONT_PTES = 0\n", "CONT_PTES a text": HEAD + '    CONT_PTES = "x"\n',
    "CONT_PTES -1": HEAD + "    CONT_PTES = -1\n",
    "copy_page_range a text": HEAD + '    copy_page_range = "x"\n',
    "copy_page_range garbage": HEAD + "    def copy_page_range(self, *a):\n        yield 1, 2, 3\n",
    "getattr for ever": HEAD + '    def __getattr__(self, n): return getattr(self, n + "x")\n'
    "    copy_present_ptes = property(lambda self: self.nothing)\n",
}  # fmt: skip
"""Whole modules that must be refused or stopped, and named."""

SPECS = (
    "k.py:", "k.py:K:K", ":K", "nofile.py:K", ".:K", "/dev/null:K", "k.py:K.x",
    "k.py:__builtins__", "k.py:__doc__", "k.py:Page", "k.py:\x1b[31m", "k.txt:K", "/dev/zero:K",
    "x" * 5000 + ".py:K",
)  # fmt: skip
"""What may be typed after --kernel and is no kernel."""
_ALSO = ("ValueError", "loops with events", "SystemExit 0", "KeyboardInterrupt", "BaseException",
         "yields None")  # fmt: skip
"""Faults that `check` and `proc` meet, too."""


def _try(
    report: Report, home: Home, label: str, argv: tuple[str, ...], allowed: tuple[int, ...]
) -> None:
    outcome = run_limited(home, argv, _SECONDS, space=_SPACE)
    judge(report, label, outcome, allowed)
    if outcome.status and not outcome.stopped:
        said = outcome.out + outcome.err  # `check` names what failed in its report
        named = any(name in said for name in ("k.py", "kernel", ":K", "expected FILE.py:CLASS"))
        report.expect(named, "not named", f"{label}: {outcome.err[:200]!r}")


def try_modules(report: Report, folder: Path, names: list[str]) -> None:
    """All modules, or those named, and all ways to name one."""
    home = Home(folder)
    module = home.path / "k.py"
    texts: dict[str, tuple[str | bytes, tuple[int, ...]]] = {
        **{f"body: {name}": (body(text), NAMED) for name, text in FAULTS.items()},
        **{f"harmless: {name}": (body(text), (0,)) for name, text in HARMLESS.items()},
        **{f"module: {name}": (text, NAMED) for name, text in MODULES.items()},
    }
    for label, (text, allowed) in texts.items():
        if names and not any(name in label for name in names):
            continue
        module.write_bytes(text if isinstance(text, bytes) else text.encode())
        _try(report, home, label, ("run", "3", "--kernel", "k.py:K"), allowed)
        if label.partition(": ")[2] in _ALSO and label.startswith("body"):
            for argv in (("check", "3"), ("proc", "3", "smaps")):
                _try(report, home, f"{argv[0]} {label}", (*argv, "--kernel", "k.py:K"), NAMED)
    if not names:
        module.write_text(HEAD + "    pass\n")
        for spec in SPECS:
            _try(report, home, f"spec {spec[:20]!r}", ("run", "3", "--kernel", spec), (2,))
