"""A person's kernel is read before it runs: what its text has wrong is refused with its place."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sandbox.errors import PatchError, UnknownKernelError
from sandbox.kernels import KERNEL_IDS, kernel_by_name, name_kernel
from sandbox.kernels.base import Kernel
from sandbox.kernels.guard import Finding, Source, find_mistakes
from sandbox.kernels.guard.kinds import address_members
from sandbox.memory import Folio, Mm

HEAD = """\
from __future__ import annotations
import os
from dataclasses import dataclass
from sandbox import memory
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import *
from sandbox.mm.batch import BatchDupMixin
from sandbox.mm.flags import PG_anon

"""
LINE = HEAD.count("\n") + 1


def load_text(where: Path, text: str) -> type[Kernel]:
    """Name the kernel of a file with the usual imports and a text."""
    file = where / "patch.py"
    file.write_text(HEAD + text, encoding="utf-8")
    return name_kernel(f"{file}:K")


def method(body: str, head: str = "folio_ref_add(self, folio, nr)") -> str:
    """A kernel with one function, whose body begins on the third line of the text."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    return f"class K(Linux72):\n    def {head}:\n{lines}"


def refused(where: Path, text: str) -> PatchError:
    with pytest.raises(PatchError) as caught:
        load_text(where, text)
    error = caught.value
    assert error.where is not None
    assert error.where.file == str(where / "patch.py")
    assert error.expected
    assert "\n" not in str(error)
    return error


# -- overrides -----------------------------------------------------------------------------------

YIELD = ":\n        yield add(folio._refcount, nr)\n"
MISFITS = {
    "folio_ref_add(self, folio)": "does not fit: it has no nr",
    "folio_ref_add(self, nr, folio)": "does not fit: nr where folio is",
    "folio_ref_add(self, folio, count)": "does not fit: count where nr is",
    "folio_ref_add(self, folio, nr, extra)": "does not fit: extra is given by no caller",
    "folio_ref_add(self, folio, *, nr)": "does not fit: it has no nr",
    "folio_ref_add(folio, nr)": "does not fit: nr where folio is",
    "folio_ref_add(self, folio, /, nr)": "folio cannot be given by its name",
    "folio_ref_add(self, page, nr)": "does not fit: page where folio is",
    "folio_put(self, folio, nr)": "does not fit: nr has no default",
    "folio_put(self, folio, nr=2)": "the default of nr is 2",
}


@pytest.mark.parametrize("head", MISFITS)
def test_a_signature_that_does_not_fit_is_refused_with_both(tmp_path: Path, head: str) -> None:
    error = refused(tmp_path, f"class K(Linux72):\n    def {head}{YIELD}")
    name = head.partition("(")[0]
    assert error.message.startswith(f"K.{name}(")
    assert MISFITS[head] in error.message
    assert error.expected == {
        "folio_ref_add": "folio_ref_add(folio, nr)", "folio_put": "folio_put(folio, nr=1)",
    }[name]  # fmt: skip
    assert (error.where.line, error.where.column) == (LINE + 1, 5)  # type: ignore[union-attr]  # refused() looks


@pytest.mark.parametrize(
    ("text", "message", "expected"),
    [
        ("def folio_refs_add(self, folio, nr):\n        yield add(folio._refcount, nr)",
         "K.folio_refs_add() replaces nothing", "folio_ref_add"),
        ("def __folio_put(self, folio):\n        yield load(folio.flags)",
         "K.__folio_put() replaces nothing", "folio_put"),
        ("def zzzz(self):\n        yield load(Globals.step)", "nothing in the file calls it",
         "a function that the kernel has"),
        ("def again(self):\n        yield from self.again()", "nothing in the file calls it", ""),
        ("has_contpt = False", "K.has_contpt replaces nothing and nothing in the file reads it",
         "has_contpte"),
        ("has_mmid: bool = True", "K.has_mmid replaces nothing", "has_mm_id"),
        ("has_contpte = lambda self: True", "is a function in place of a constant", "True"),
        ("folio_ref_add = 3", "K.folio_ref_add is 3 in place of a function",
         "def folio_ref_add(folio, nr)"),
        ("@staticmethod\n    def folio_ref_add(folio, nr):\n        yield add(folio._refcount, nr)",
         "K.folio_ref_add() is a staticmethod", "a method"),
        ("@property\n    def folio_ref_add(self):\n        return 3", "is a property", "a method"),
        ("def folio_ref_add(self, folio, nr):\n        return None",
         "K.folio_ref_add() is a plain function", "a kernel function"),
        ("folio_ref_add = lambda self, folio, nr: add(folio._refcount, nr)",
         "K.folio_ref_add() is a plain function", "a kernel function"),
        ("def anon_pgoff_word(self, vma):\n        yield load(vma.vm_anon_pgoff)",
         "the kernel's anon_pgoff_word() is a plain function", "no `yield` in it"),
    ],
)  # fmt: skip
def test_a_member_that_fits_nowhere_is_refused(
    tmp_path: Path, text: str, message: str, expected: str
) -> None:
    error = refused(tmp_path, f"class K(Linux72):\n    {text}\n")
    assert message in error.message
    assert expected in str(error.expected)
    assert error.where is not None
    assert error.where.line == LINE + 1 + text.startswith("@")


# -- functions, events and addresses ---------------------------------------------------------------

CALL = "self.folio_add_lru(folio)"
BODIES = {
    # a kernel function that does not run
    f"{CALL}\nyield add(folio._refcount, nr)": "1:1 ... is called without `yield from`",
    f"yield load(folio.flags)\nx = {CALL}": "2:5 ... from` and its result assigned",
    f"yield load(folio.flags)\nx, y = {CALL}": "2:8 ... from` and its result assigned",
    f"if {CALL}: yield load(folio.flags)": "1:4 ... from` and tested",
    f"while not {CALL}: yield load(folio.flags)": "1:11 ... from` and tested",
    f"yield load(folio.flags)\nreturn {CALL}": "2:8 ... from` and returned",
    f"yield load(folio.flags)\nreturn 1 + {CALL}": "2:12 ... from` and calculated with",
    f"yield load(folio.flags)\nreturn {CALL} == 3": "2:8 ... from` and compared",
    f"yield load(folio.flags)\nlist({CALL})": "2:6 ... from` and given to list()",
    f"yield load(folio.flags)\nfor x in {CALL}: pass": "2:10 ... from` and gone through",
    f"yield add(folio._refcount, {CALL})": "1:28 ... from` and given to add()",
    f"yield {CALL}": "1:1 self.folio_add_lru(folio) is a kernel function and is yielded without",
    "super().folio_ref_add(folio, nr)\nyield load(folio.flags)": "1:1 super().folio_ref_add(fo",
    "super(K, self).folio_ref_add(folio, nr)\nyield load(folio.flags)": "1:1 super(K, self).fol",
    "Linux72.folio_ref_add(self, folio, nr)\nyield load(folio.flags)": "1:1 Linux72.folio_ref_a",
    "put = self.folio_put\nput(folio)\nyield load(folio.flags)": "2:1 put(folio) is called",
    "yield load(folio.flags)\nif self.folio_add_lru: pass": "2:4 self.folio_add_lru is a func",
    "def part():\n    yield load(folio.flags)\npart()\nyield load(folio.flags)": "3:1 part() is",
    "yield from self.folio_add_lru": "1:1 self.folio_add_lru is run without being called",
    # an event that does not happen
    "add(folio._refcount, nr)\nyield load(folio.flags)": "1:1 the event add(folio._refcount, nr)",
    "yield load(folio.flags)\nif load(folio._refcount) > 3: pass": "2:4 the event load(folio._r",
    "x = load(folio._refcount)\nif x > 3: yield x": "2:4 x is an event and compared, not its",
    "yield from load(folio.flags)": "1:1 the event load(folio.flags) is yielded with `from`",
    "yield store(folio.flags, load(folio.index))": "1:26 the event load(folio.index) is made and",
    "memory.add(folio._refcount, nr)\nyield load(folio.flags)": "1:1 the event memory.add(foli",
    # an address that is no value
    "if folio._refcount > 3: yield load(folio.flags)": "1:4 folio._refcount is an address and is",
    "if folio._mapcount: yield load(folio.flags)": "1:4 folio._mapcount is an address and is te",
    "yield load(folio.flags)\nreturn folio._refcount + 1 == nr": "2:8 folio._refcount + 1 is an",
    "yield load(folio.flags)\nreturn folio.flags & PG_anon": "2:8 folio.flags is an address and",
    "yield load(folio.flags)\nreturn nr - folio._mapcount": "2:13 folio._mapcount is an address",
    "yield load(folio.flags)\nn = 0\nn += folio._mapcount": "3:6 folio._mapcount is an address",
    "yield load(folio.flags)\nreturn not folio.page(0)._mapcount": "2:12 folio.page(0)._mapcount",
    "word = folio._refcount\nif word > 3: yield load(word)": "2:4 word is an address and is comp",
    "yield load(folio.flags)\nreturn 3 if folio.index else 4": "2:13 folio.index is an address",
    "yield load(folio.flags)\nreturn [i for i in range(folio._refcount)]": "2:26 folio._refcou",
    "yield load(folio.flags)\nassert folio.private == 0": "2:8 folio.private is an address",
    "while folio._refcount != 1: yield load(folio.flags)": "1:7 folio._refcount is an address",
    "yield add(folio._refcount, folio._mapcount)": "1:28 folio._mapcount is an address and is giv",
    "yield load(folio.flags)\nreturn folio.index is None": "2:8 folio.index is an address",
    "yield load(Globals.step)\nif Globals.swap_on: pass": "2:4 Globals.swap_on is an address",
    "yield load(folio.flags)\nreturn bool(folio._refcount)": "2:13 folio._refcount is an address",
    "yield load(folio.flags)\nmatch folio._refcount:\n    case 1: pass": "2:7 folio._refcount is",
    "mm = Mm((yield load(folio.mapping)))\nif mm.rss_stat(1) > 3: pass": "2:4 mm.rss_stat(1) is",
    "page = folio.page(0)\nyield load(page.flags)\nif page._mapcount + 1 > 0: pass": "3:4 page._",
    "yield load(folio.flags)\nfolio._refcount = 3": "2:1 folio._refcount is assigned, and a handle",
    "yield load(folio.flags)\nfolio._refcount += 1": "2:1 folio._refcount is assigned",
    "yield load(folio)": "1:12 load() is given the handle folio, which is no word",
    # a yield of what is no event
    "yield 5": "1:1 5 is a value and is yielded, which is not an event",
    "yield None": "1:1 None is yielded, which is not an event",
    "yield": "1:1 `yield` alone yields None, which is not an event",
    "yield folio": "1:1 folio is a Folio and is yielded",
    "yield folio._refcount": "1:1 folio._refcount is an address and is yielded",
    "yield folio.nr_pages": "1:1 folio.nr_pages is a value and is yielded",
    "yield 'no event'": "1:1 'no event' is a value and is yielded",
    "yield ('load', folio.flags)": "1:1 ('load', folio.flags) is yielded",
    "yield [load(folio.flags)]": "1:1 [load(folio.flags)] is a container and is yielded",
    "n = nr > 1\nyield n": "2:1 n is a value and is yielded",
    "yield (yield load(folio.flags)) == 1": "1:1 (yield load(folio.flags)) == 1 is a value",
    "yield load": "1:1 load is a function and is yielded",
    "yield from 5": "1:1 5 is a value and is run with `yield from`",
    "yield from self.pte_batch_hint(1, 2)": "1:1 self.pte_batch_hint(1, 2) is no kernel function",
    # what is not there
    "yield from self.folio_ref_ad(folio, nr)": "1:12 self.folio_ref_ad: the kernel has no folio",
    "yield from super().folio_ref_ad(folio, nr)": "1:12 super().folio_ref_ad: the kernel has no",
    # state
    "self.n = nr\nyield load(folio.flags)": "1:1 self.n is changed: the kernel object keeps state",
    "self.n += nr\nyield load(folio.flags)": "1:1 self.n is changed",
    "self.id, n = 1, 2\nyield load(folio.flags)": "1:1 self.id is changed",
    "for self.n in range(3): yield load(folio.flags)": "1:5 self.n is changed",
    "setattr(self, 'n', nr)\nyield load(folio.flags)": "1:1 setattr(self, 'n', nr): the kernel ob",
    "object.__setattr__(self, 'n', nr)\nyield load(folio.flags)": "1:1 object.__setattr__(self",
    "vars(self)['n'] = nr\nyield load(folio.flags)": "1:1 vars(self)['n'] is changed",
    "self.rules_off['I-05'] = ''\nyield load(folio.flags)": "1:1 self.rules_off['I-05'] is chan",
    "self.rules_off.update(x=1)\nyield load(folio.flags)": "1:1 self.rules_off.update(x=1): the",
    "type(self).n = nr\nyield load(folio.flags)": "1:1 type(self).n is changed",
    "globals()['n'] = nr\nyield load(folio.flags)": "1:1 globals()['n'] is changed",
    "globals().update(n=nr)\nyield load(folio.flags)": "1:1 globals().update(n=nr)",
    "K.n = nr\nyield load(folio.flags)": "1:1 K.n is changed: the class K keeps state",
    "global n\nn = nr\nyield load(folio.flags)": "1:1 `global n` keeps state",
    "SEEN.append(nr)\nyield load(folio.flags)": "1:1 SEEN.append(nr): the list SEEN of the module",
    "SEEN[0] = nr\nyield load(folio.flags)": "1:1 SEEN[0] is changed: the list SEEN of the module",
    "memory.n = nr\nyield load(folio.flags)": "1:1 memory.n is changed: the module sandbox.memory",
    "next(NEXT)\nyield load(folio.flags)": "1:1 next(NEXT): the iterator NEXT of the module keeps",
    "BOX.n = nr\nyield load(folio.flags)": "1:1 BOX.n is changed",
}  # fmt: skip
STATE = "\nSEEN = [0]\nNEXT = iter(range(99))\nclass Box: pass\nBOX = Box()\n"


@pytest.mark.parametrize("body", BODIES)
def test_a_mistake_in_a_function_is_refused_at_its_place(tmp_path: Path, body: str) -> None:
    error = refused(tmp_path, method(body) + STATE)
    place, _, says = BODIES[body].partition(" ")
    line, column = map(int, place.split(":"))
    assert error.where is not None
    assert (error.where.line, error.where.column) == (LINE + 1 + line, 8 + column)
    start, _, rest = says.partition("... ")
    assert error.message.startswith(start)
    assert rest in error.message
    assert len(error.findings) == 1, error.findings


def test_of_several_mistakes_the_first_is_the_error_and_the_others_are_said(
    tmp_path: Path,
) -> None:
    body = "yield 5\nself.n = 1\nself.folio_put(folio)\nif folio._refcount > nr: yield\n"
    error = refused(tmp_path, method(body))
    assert error.message.startswith("5 is a value")
    numbers = [LINE + n for n in (3, 4, 5, 5)]
    assert f"(4 more: {', '.join(f'line {n}' for n in numbers)})" in error.message
    assert [finding.line for finding in error.findings] == [LINE + 2, *numbers]


NESTED = {
    "def step(self):\n    self.folio_put(3)\n    yield load(16)\nclass K(Linux72):\n"
    "    folio_add_lru_x = step\n    def folio_ref_add(self, folio, nr):\n"
    "        yield from self.folio_add_lru_x()\n": 2,
    "def pin(kernel, folio):\n    if folio._refcount > 3:\n        yield load(folio.flags)\n"
    + method("yield from pin(self, folio)"): 2,
    method("def inner():\n    self.n = 1\n    yield load(folio.flags)\nyield from inner()"): 4,
    method("get = lambda: folio._refcount > 3\nyield load(folio.flags)\nreturn get()"): 3,
    "class Base(Linux72):\n    def folio_ref_add(self, folio, nr):\n        yield 5\n"
    "class K(Base):\n    pass\n": 3,
    "class Part:\n    def folio_ref_add(self, folio, nr):\n        yield 5\n"
    "class K(Part, Linux72):\n    pass\n": 3,
    "def make():\n    class K(Linux72):\n        def folio_ref_add(self, folio, nr):\n"
    "            yield 5\n    return K\nK = make()\n": 4,
    "if True:\n    class K(Linux72):\n        def folio_ref_add(self, folio, nr):\n"
    "            yield 5\n": 4,
    "def count():\n    n = 0\n    def up(self, folio, nr):\n        nonlocal n\n        n += 1\n"
    "        yield load(folio.flags)\n    return up\n"
    "class K(Linux72):\n    folio_ref_add = count()\n": 4,
    method("yield load(folio.flags)\ns.append(nr)", "folio_ref_add(self, folio, nr, s=[])"): 4,
    "def again(f):\n    def w(*a, **k):\n        return f(*a, **k)\n    return w\n"
    "class K(Linux72):\n    @again\n    def folio_ref_add(self, folio, nr):\n"
    "        self.folio_put(folio)\n        yield load(folio.flags)\n": 8,
}  # fmt: skip


@pytest.mark.parametrize("number", range(len(NESTED)))
def test_a_mistake_is_found_wherever_a_function_stands(tmp_path: Path, number: int) -> None:
    text, line = list(NESTED.items())[number]
    error = refused(tmp_path, text)
    assert error.where is not None
    assert error.where.line == LINE - 1 + line, str(error)


# -- what is right -------------------------------------------------------------------------------

LEGAL = [
    method("return\nyield"),
    method("if False:\n    yield\nreturn"),
    method("raise NotImplementedError\nyield"),
    method("while True:\n    yield load(folio.flags)\nyield"),
    method("yield (memory.LOAD, folio.flags)"),
    method("yield from [load(folio.flags), load(folio._refcount)]"),
    method("word = folio._refcount\nyield add(word, nr)"),
    method("yield add(folio.page(0)._mapcount + 16 * nr, 1)"),
    method("event = load(folio.flags) if nr else load(folio._mapcount)\nyield event"),
    method("run = super().folio_ref_add(folio, nr)\nyield from run"),
    method("if folio == folio.page(0) or not folio: yield load(folio.flags)\nreturn 1\nyield"),
    method("a, b = folio._refcount, folio.page(0)._refcount\nif a != b: yield load(a)"),
    method("w = folio._refcount if nr else None\nif w: yield load(w)\nif w is None: return"),
    method("w = folio._refcount\nif w is not None: yield load(w)"),
    method("run = None\nif nr: run = self.folio_put(folio)\nif run: yield from run"),
    "class K(Linux72):\n    def change_present_ptes(self, mm, vma, addr, ptep, oldpte, end,"
    " newprot, flags):\n        yield load(mm.flags)\n        return flags & 1\n",
    method("words = {folio._refcount: 1, folio.flags: 2}\nfor w in words: yield load(w)"),
    method("if (yield load(folio._refcount)) + 1 > nr: yield load(folio.flags)"),
    method("if (n := (yield load(folio._mapcount))) >= 0: yield add(folio._mapcount, -n)"),
    method("add_to = self.folio_add_lru\nyield from add_to(folio)"),
    method("print('here', folio)\nyield load(folio.flags)"),
    method("seen = []\nseen.append(nr)\nyield load(folio.flags)"),
    method("n = 0\ndef up():\n    nonlocal n\n    n += 1\nup()\nyield load(folio.flags + 0 * n)"),
    method("yield from super().folio_ref_add(folio, nr)", "folio_ref_add(self, *args, **kw)")
    .replace("(folio, nr)\n", "(*args, **kw)\n"),
    method("yield add(folio._refcount, nr + more)", "folio_ref_add(self, folio, nr, more=0)"),
    # helpers of the person's own
    method("yield from self.twice(folio)\n\ndef twice(self, folio):\n").replace(
        "        def twice", "    def twice"
    ) + "        yield add(folio._refcount, 2)\n",
    "class K(Linux72):\n    MORE = 1\n    def folio_ref_add(self, folio, nr):\n"
    "        yield add(folio._refcount, nr + self.MORE)\n",
    "class K(Linux72):\n    _note = 'mine'\n",
    "class K(Linux72):\n    def run(self, name, x):\n        return getattr(self, name)(x)\n"
    "    def folio_ref_add(self, folio, nr):\n        yield from self.run('mine', folio)\n"
    "    def mine(self, folio):\n        yield load(folio.flags)\n",
    "class K(Linux72):\n    def folio_ref_add(self, folio, nr):\n"
    "        for page in self.pages(folio):\n            yield load(page.flags)\n"
    "    def pages(self, folio):\n        for i in range(folio.nr_pages):\n"
    "            yield folio.page(i)\n",
    "def pages(folio):\n    for i in range(folio.nr_pages):\n        yield folio.page(i)\n"
    + method("for page in pages(folio):\n    yield load(page.flags)"),
    "def both(folio):\n    return load(folio.flags)\n" + method("yield both(folio)"),
    "@dataclass\nclass Seen:\n    page: int\n    flags: int = 0\n    index: int = 0\n"
    + method("seen = Seen(nr)\nseen.flags += 1\nif seen.flags & 3 and seen.index == 0:\n"
             "    yield load(folio.flags)\nreturn 1\nyield"),
    "class Batch:\n    def __init__(self, nr):\n        self.nr = nr\n"
    + method("batch = Batch(nr)\nbatch.nr += 1\nyield add(folio._refcount, batch.nr)"),
    "class K(Linux72):\n    def mkold(self, vmf):\n        return vmf.flags & 1\n"
    "    def folio_ref_add(self, folio, nr):\n        if self.mkold(nr): yield load(folio.flags)\n"
    "        return 1\n        yield\n",
    "class Other(Linux72):\n    def folio_ref_add(self, folio, nr):\n        yield 5\n"
    "class K(Linux72):\n    pass\n",
    "class K(Linux72):\n    def __init__(self, cpu=0):\n        self.cpu = cpu\n",
    "class K(Linux72):\n    folio_ref_add = Linux72.folio_ref_add\n",
    "import functools\ndef same(f):\n    @functools.wraps(f)\n    def w(*a, **k):\n"
    "        return f(*a, **k)\n    return w\nclass K(Linux72):\n    @same\n"
    "    def folio_ref_add(self, folio, nr):\n        yield add(folio._refcount, nr)\n",
    "K = type('K', (Linux72,), {'id': 'k'})\n",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(LEGAL)))
def test_what_is_right_is_not_refused(tmp_path: Path, number: int) -> None:
    assert issubclass(load_text(tmp_path, LEGAL[number]), Kernel)


PATCH_A = """\
from sandbox.arch.arm64.pgtable import pte_mkwrite
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import Mm, load
from sandbox.mm.batch import BatchDupMixin
from sandbox.mm.flags import EAGAIN, MM_ANONPAGES, VM_SHARED, PG_anon, PG_anon_exclusive

class K(Linux72):
    id = "halves"

    def dup_anon_in_halves(self, folio, page, nr, dst_mm, src_vma):
        src_mm, i0 = Mm((yield load(src_vma.vm_mm))), folio.index_of(page)
        if (yield from self.folio_needs_cow_for_dma(src_mm, folio)):
            for i in range(nr):
                if (yield load(folio.page(i0 + i).flags)) & PG_anon_exclusive:
                    return False
        for part in range(nr // 2), range(nr // 2, nr):
            for i in part:
                yield from self.dup_anon_page(folio, folio.page(i0 + i))
            yield from self.folio_add_large_mapcount(folio, len(part), dst_mm)
            yield from self.folio_ref_add(folio, len(part))
        return True

    def copy_present_ptes(self, ctx, dst_pte, src_pte, pte, addr, end):
        page = yield from self.vm_normal_page(pte)
        folio = (yield from self.page_folio(page)) if page is not None else None
        if page is None or ctx.prealloc or not folio.large or end - addr == 1:
            return (yield from super(BatchDupMixin, self).copy_present_ptes(
                ctx, dst_pte, src_pte, pte, addr, end))
        shared = bool((yield load(ctx.src_vma.vm_flags)) & VM_SHARED)
        batch = yield from self.folio_pte_batch(
            folio, src_pte, pte, end - addr, dirty=not shared)
        nr = batch.nr
        if (yield load(folio.flags)) & PG_anon:
            if not (yield from self.dup_anon_in_halves(
                    folio, page, nr, ctx.dst_mm, ctx.src_vma)):
                return -EAGAIN
            member = MM_ANONPAGES
        else:
            yield from self.folio_ref_add(folio, nr)
            yield from self.folio_dup_file_rmap_ptes(folio, page, nr, ctx.dst_mm)
            member = yield from self.mm_counter_file(folio)
        ctx.rss[member] = ctx.rss.get(member, 0) + nr
        pte = pte_mkwrite(pte) if batch.any_writable else pte
        yield from self._copy_present_ptes(ctx, dst_pte, src_pte, pte, addr, nr)
        return nr
"""


def test_a_whole_patch_of_somebodys_is_taken(tmp_path: Path) -> None:
    assert load_text(tmp_path, PATCH_A.replace("from", "\nfrom", 1)).id == "halves"
    lost = PATCH_A.replace(
        "yield from self.folio_ref_add(folio, len", "self.folio_ref_add(folio, len"
    )
    assert "without `yield from`" in str(refused(tmp_path, lost))


def source_of(module: ModuleType, path: str | None = None) -> Source:
    file = str(module.__file__)
    return Source(path or file, ast.parse(Path(file).read_bytes()), vars(module))


def model_mistakes() -> Iterator[Finding]:
    """What is found in the models' own text, each file once, in a kernel that has it."""
    done: set[str] = set()
    for name in KERNEL_IDS:
        kernel = kernel_by_name(name)
        yield from find_mistakes(kernel, [source_of(sys.modules[kernel.__module__])])
        done.add(kernel.__module__)
        names = {cls.__module__ for cls in kernel.__mro__ if cls is not object} - done
        done |= names
        sources = [source_of(sys.modules[each]) for each in sorted(names)]
        for finding in find_mistakes(kernel, sources):
            if "replaces nothing" not in finding.message:  # of a part, which is what is replaced
                yield finding


def test_nothing_is_refused_in_the_text_of_the_models() -> None:
    assert list(model_mistakes()) == []


@pytest.mark.parametrize("name", ["ryan-v3", "rfc26", "lazyfree-batch", "pin-bias-16", "cow-5.9"])
def test_a_model_is_as_good_as_a_file_of_ones_own(tmp_path: Path, name: str) -> None:
    kernel = kernel_by_name(name)
    text = Path(str(sys.modules[kernel.__module__].__file__)).read_text(encoding="utf-8")
    file = tmp_path / "own.py"
    file.write_text(text, encoding="utf-8")
    own = name_kernel(f"{file}:{kernel.__name__}")
    assert own.id == name
    assert own is not kernel


def test_the_addresses_of_a_handle_are_those_that_move_with_it() -> None:
    fields, methods = address_members(Folio)
    assert {"flags", "_refcount", "_mapcount", "index", "_deferred_list"} <= fields
    assert not fields & {"order", "nr_pages", "large", "pfn"}
    assert methods == {"_at", "_mm_id", "_mm_id_mapcount"}
    assert address_members(Mm)[1] == {"rss_stat", "pud"}


def test_state_is_refused_by_the_object_as_well() -> None:
    class Mine(kernel_by_name("7.2")):  # type: ignore[misc]  # a class found by name
        id = "mine"

    for kernel in (Mine(1), kernel_by_name("7.2")(1), kernel_by_name("ryan-v2-hwaf")(1)):
        assert kernel.cpu == 1
        with pytest.raises(AttributeError, match="n is set on a kernel object, which keeps no"):
            kernel.n = 1
        assert vars(kernel) == {"cpu": 1}


def test_what_cannot_be_followed_is_refused_in_a_line(tmp_path: Path) -> None:
    text = method("return " + "+".join(["nr"] * 30_000) + "\nyield")
    with pytest.raises(UnknownKernelError) as caught:
        load_text(tmp_path, text)
    assert "\n" not in str(caught.value)
