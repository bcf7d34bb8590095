"""Kernels of installed distributions: listed from their metadata, imported when named.

A distribution says ``[project.entry-points."mmtui.kernels"] NAME = "module:CLASS"``.  Nothing of
it is imported to list it, nor because a document has its name.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib import metadata
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sandbox.errors import SandboxError
from sandbox.kernels.guard import Source
from sandbox.printable import printable

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel

__all__ = ["KERNELS", "Installed", "InstalledFiles", "from_entry", "installed", "load_installed"]

T = TypeVar("T")

KERNELS = "mmtui.kernels"
"""The group of entry points that are kernels."""


class Installed(NamedTuple):
    """An entry point of a distribution, of which nothing is imported yet."""

    name: str
    value: str
    """Where it is: ``module:CLASS``."""
    distribution: str
    """Name and version of what it is installed with."""


def installed(group: str = KERNELS) -> tuple[Installed, ...]:
    """The entry points of a group, by name; those whose name could not be typed are left out."""
    found = set()
    for entry in metadata.entry_points(group=group):
        dist = entry.dist
        of = "unknown" if dist is None else f"{dist.name} {dist.version}"
        if entry.name and not set(entry.name) & set(": \t\n") and printable(entry.name + of):
            found.add(Installed(entry.name, entry.value, of))
    return tuple(sorted(found))


class InstalledFiles:
    """The files of a distribution's package, which errors may be in."""

    def __init__(self, entry: Installed) -> None:
        self._module = entry.value.partition(":")[0].strip()
        self.codes: dict[str, CodeType] = {}
        top = self._module.partition(".")[0]
        spec = importlib.util.find_spec(top) if top and top not in sys.modules else None
        module = sys.modules.get(top)
        origin = spec.origin if spec is not None else getattr(module, "__file__", None)
        self.path = origin or entry.value
        named = os.path.basename(self.path) == "__init__.py"
        self._folder = os.path.dirname(self.path) + os.sep if named else self.path

    def has(self, file: str) -> bool:
        """Whether a file is of the package."""
        return file.startswith(self._folder)

    def shown(self, file: str) -> str:
        """What errors call a file: as it is."""
        return file

    def sources(self) -> list[Source]:
        """The texts of the package's modules that are loaded; of some there is none."""
        found = []
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.endswith(".py") and self.has(file):
                try:
                    with open(file, "rb") as text:
                        found.append(Source(file, ast.parse(text.read(), file), vars(module)))
                except (OSError, SyntaxError, ValueError):  # what was imported is not what is there
                    continue
        return found


def load_installed(entry: Installed) -> type[Kernel]:
    """Import the module of an entry point and return its kernel class.

    Raises:
        UnknownKernelError: it cannot be imported, or is no kernel.
        PatchError: the class has a mistake that its text shows (`guard`).
    """
    from sandbox.kernels.own import class_of, taken

    return from_entry(
        entry, lambda files, module, cls: taken(files, class_of(files.path, module, cls))
    )


def from_entry(entry: Installed, take: Callable[[InstalledFiles, ModuleType, str], T]) -> T:
    """Import the module of an entry point and take what is wanted of it: its files, it, the name.

    Raises:
        UnknownKernelError: it cannot be imported.
        SandboxError: what *take* refuses; each names the entry point and its distribution.
    """
    from sandbox.kernels.own import contained

    files = InstalledFiles(entry)
    module_name, _, cls = entry.value.partition(":")
    try:
        module = contained(files, lambda: importlib.import_module(module_name.strip()))
        return take(files, module, cls.partition("[")[0].strip())
    except SandboxError as error:
        error.message = f"{entry.name} of {entry.distribution}: {error.message}"
        raise
