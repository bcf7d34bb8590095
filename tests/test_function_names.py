"""Functions of the modelled kernels: which names are the kernel's, and which are marked as ours."""

from __future__ import annotations

import inspect
from collections import defaultdict

import pytest

from sandbox.kernels import REGISTRY, kernel_by_name
from sandbox.kernels.base import Kernel
from sandbox.machine.part import KernelPart
from sandbox.truth.names.functions import _names, is_kernels, is_ours, kernel_name

KERNELS, OURS = _names("kernel_functions.txt"), _names("own_functions.txt")
TWICE: frozenset[str] = frozenset()
"""Functions that two parts of the stock kernel may define: what one has, the other calls."""


def parts() -> list[type]:
    """Every class of kernel text that a registered kernel is made of."""
    classes = (cls for entry in REGISTRY for cls in kernel_by_name(entry.id).__mro__)
    return [cls for cls in dict.fromkeys(classes) if issubclass(cls, KernelPart)]


def functions(cls: type) -> list[str]:
    """The functions that a class defines."""
    return [name for name, value in vars(cls).items() if inspect.isfunction(value)]


DEFINED = {name for cls in parts() if cls is not KernelPart for name in functions(cls)}


def test_every_function_is_the_kernels_or_marked_as_ours() -> None:
    found = {name for name in DEFINED if not name.endswith("__")}
    assert not found - KERNELS - OURS, "the kernel's: kernel_functions.txt; ours: own_functions.txt"
    assert not (KERNELS | OURS) - found, "nothing defines these any more"
    assert not KERNELS & OURS


def test_no_more_functions_are_defined_twice_in_one_kernel() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    for cls in Kernel.__mro__:
        if issubclass(cls, KernelPart):
            for name in functions(cls):
                where[name].append(cls.__name__)
    twice = {name: parts for name, parts in where.items() if len(parts) > 1}
    assert set(twice) == TWICE, twice


@pytest.mark.parametrize("names", [KERNELS, OURS])
def test_the_lists_are_in_order(names: frozenset[str]) -> None:
    assert len(names) > 100
    assert all(name.isidentifier() for name in names)


@pytest.mark.parametrize(
    ("function", "spelled"),
    [
        ("copy_present_ptes", "copy_present_ptes"),
        ("_copy_present_ptes", "__copy_present_ptes"),
        ("shrink_folio_list", "shrink_folio_list"),
        ("copy_one_entry", None),
        ("sys_uring", None),
        ("no_such_function", None),
    ],
)
def test_a_name_is_told_as_the_source_spells_it(function: str, spelled: str | None) -> None:
    assert kernel_name(function) == spelled
    assert is_kernels(function) is (spelled is not None)
    assert is_ours(function) is (spelled is None and function != "no_such_function")
