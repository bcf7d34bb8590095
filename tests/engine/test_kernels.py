"""The registry of kernels, a person's own kernel from a file, and the shape of the modules."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import sandbox.kernels
from sandbox.errors import KernelBug, UnknownKernelError
from sandbox.kernels import KERNEL_IDS, REGISTRY, kernel_by_name, name_kernel
from sandbox.kernels.base import Kernel
from sandbox.machine.calls import OWN_FUNCTIONS
from sandbox.run.session import Session
from sandbox.scenario.language import parse_action
from tests.engine.support import FORK_64K, act, back_action, broken, run, snapshot

MINE = '''\
"""My idea."""
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import add


class MyIdea(Linux72):
    """Takes one reference more."""

    id = "mine"

    def folio_ref_add(self, folio, nr):
        yield add(folio._refcount, nr + 1)
'''


@pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.id)
def test_every_kernel_boots_under_its_id(entry: sandbox.kernels.KernelEntry) -> None:
    kernel = kernel_by_name(entry.id)
    assert kernel.id == entry.id
    assert kernel.__name__ == entry.cls
    assert issubclass(kernel, Kernel)
    for text in (kernel.title, kernel.summary, entry.title, inspect.getdoc(kernel)):
        assert text
    session = Session(kernel)
    session.do(parse_action("mmap A R 16K"))
    session.do(parse_action("touch A R 0 4 w"))
    session.do(parse_action("fork A B"))
    assert session.result_of(3) is not None
    assert not broken(session) or entry.id.startswith("ryan-v2")


def test_the_ids_are_those_of_the_issue() -> None:
    assert set(KERNEL_IDS) >= {
        "6.6", "6.9", "6.12", "6.15", "7.2", "7.2-nopm", "7.3",
        "ryan-v2", "ryan-v3", "david-batch", "barry-entire",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "6.7", "7.2 ", "linux", "nowhere.py", "nowhere.py:Mine", ":"])
def test_an_unknown_name_says_what_there_is(name: str) -> None:
    with pytest.raises(UnknownKernelError) as caught:
        kernel_by_name(name)
    assert caught.value.expected
    if ".py:" not in name and name != ":":
        assert all(known in str(caught.value) for known in KERNEL_IDS)


def write(directory: Path, text: str) -> str:
    """A file with a kernel in it."""
    path = directory / "idea.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_kernel_of_ones_own(tmp_path: Path) -> None:
    kernel = name_kernel(write(tmp_path, MINE) + ":MyIdea")
    assert kernel.id == "mine"
    session = run(kernel, FORK_64K)
    assert "I-07" in broken(session)


def test_two_files_of_one_name_are_two_kernels(tmp_path: Path) -> None:
    kernels = []
    for n in (1, 2):
        (tmp_path / str(n)).mkdir()
        text = MINE.replace('"mine"', f'"mine-{n}"')
        kernels.append(name_kernel(write(tmp_path / str(n), text) + ":MyIdea"))
    assert [kernel.id for kernel in kernels] == ["mine-1", "mine-2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class MyIdea(:\n", "SyntaxError"),
        ("import nothing_of_that_name\n", "ModuleNotFoundError"),
        ("nowhere\n", "NameError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("class Other:\n    pass\n", "no kernel class 'MyIdea'"),
        ("class MyIdea:\n    pass\n", "no kernel class 'MyIdea'"),
        ("MyIdea = 3\n", "no kernel class 'MyIdea'"),
        ("", "no kernel class 'MyIdea'"),
        (MINE.replace("MyIdea(", "YourIdea("), "expected one of .*YourIdea"),
        ("\0", "null bytes"),
    ],
    ids=lambda text: text[:24].strip() or "empty",
)
def test_a_file_without_such_a_kernel_is_refused(tmp_path: Path, text: str, says: str) -> None:
    name = write(tmp_path, text) + ":MyIdea"
    with pytest.raises(UnknownKernelError, match=says) as caught:
        name_kernel(name)
    assert "idea.py" in str(caught.value)


def test_a_directory_and_a_binary_are_no_kernels(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_bytes(b"\xff\xfe\x00\x80")
    for name in (f"{tmp_path}:MyIdea", f"{tmp_path}/x.py:MyIdea", f"{tmp_path}/x.txt:MyIdea"):
        with pytest.raises(UnknownKernelError):
            name_kernel(name)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("        raise RuntimeError('oops')\n        yield\n", "oops"),
        ("        yield (99, 0)\n", r"yielded \(99, 0\): no operation"),
        ("        yield add(1 << 60, 1)\n", "add at 0x1000000000000000: words have the addresses"),
    ],
)
def test_a_kernel_that_goes_wrong_is_a_kernel_bug_and_can_be_left(
    tmp_path: Path, body: str, says: str
) -> None:
    text = MINE.replace("        yield add(folio._refcount, nr + 1)\n", body)
    kernel = name_kernel(write(tmp_path, text) + ":MyIdea")
    session = Session(kernel)
    before = snapshot(session)
    with pytest.raises(KernelBug, match=says):
        act(session, FORK_64K)
    assert session.position
    session.goto(0)
    assert snapshot(session) == before


def test_a_kernel_that_never_ends_can_be_stepped(tmp_path: Path) -> None:
    text = MINE.replace("        yield add", "        while True:\n            yield add")
    kernel = name_kernel(write(tmp_path, text) + ":MyIdea")
    session = Session(kernel)
    for line in FORK_64K.splitlines()[:2]:
        session.do(parse_action(line))
    session.begin(parse_action("touch A R 0 16 w"))
    for _ in range(2000):
        session.step_event()
    assert session.running
    back_action(session)
    assert not session.running


def test_a_constructor_that_fails_is_told_of(tmp_path: Path) -> None:
    text = MINE + "\n    def __init__(self, cpu=0):\n        raise ValueError('no')\n"
    with pytest.raises(UnknownKernelError, match=r"idea\.py:15:9: ValueError: no"):
        name_kernel(write(tmp_path, text) + ":MyIdea")


# -- the shape of the modules --------------------------------------------------------------

MODULES = sorted({entry.module for entry in REGISTRY})


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_a_kernel_is_short(name: str) -> None:
    module = importlib.import_module(f"sandbox.kernels.{name}")
    assert module.__doc__
    assert len(inspect.getsource(module).splitlines()) <= 400


@pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.id)
def test_a_kernel_lists_only_what_it_changes(entry: sandbox.kernels.KernelEntry) -> None:
    kernel = kernel_by_name(entry.id)
    own = {n: v for n, v in vars(kernel).items() if inspect.isfunction(v)}
    inherited = {n for base in kernel.__mro__[1:] for n in vars(base)}
    module = importlib.import_module(f"sandbox.kernels.{entry.module}")
    tree = ast.parse(inspect.getsource(module))
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for name, function in own.items():
        # a function of its own is an override, or a helper of one (or overridden further down)
        below = any(name in vars(sub) for sub in kernel.__subclasses__())
        assert name in inherited | called | OWN_FUNCTIONS or below, f"{name} is never reached"
        same = [b for b in kernel.__mro__[1:] if name in vars(b)]
        if same:
            before = vars(same[0])[name]
            if inspect.isfunction(before):
                assert function.__code__.co_code != before.__code__.co_code or (
                    function.__code__.co_consts != before.__code__.co_consts
                    or function.__code__.co_names != before.__code__.co_names
                ), f"{name} is what {same[0].__name__} has already"
