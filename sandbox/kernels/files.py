"""The modules of one person's file: of itself, and of those beside it that it imports.

Nothing is put on `sys.path`.  What these files import is looked for beside the person's file
first; the modules are registered under names that no other folder has, so that two folders may
each have a `helper.py`.  Each time the file is named all of them are read again.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib.util
import linecache
import os
import sys
from collections.abc import Mapping, Sequence
from types import CodeType, ModuleType
from typing import Any

from sandbox.errors import SandboxError, UnknownKernelError
from sandbox.kernels.guard import Source
from sandbox.reading import read_bytes

__all__ = ["OwnFiles"]

_NEVER_BESIDE = frozenset(("sandbox", "mmtui", *sys.stdlib_module_names))
"""What an import means elsewhere, whatever is beside the file."""


class OwnFiles:
    """A file of a person's own and its helpers, loaded once and together."""

    def __init__(self, path: str) -> None:
        self.path, self.file = path, os.path.abspath(path)
        self.folder = os.path.dirname(self.file)
        self._stem = os.path.splitext(os.path.basename(self.file))[0]
        self.package = "mmtui_own_" + hashlib.sha256(os.fsencode(self.file)).hexdigest()[:12]
        self.codes: dict[str, CodeType] = {}
        """What was compiled, by file."""
        self._reading = self.file
        self._trees: dict[str, ast.Module] = {}
        self._modules: dict[str, ModuleType] = {}
        self._lines: dict[str, Any] = {}
        """What the line cache had before."""
        self._before = {
            name: module
            for name, module in sys.modules.items()
            if name == self.package or name.startswith(self.package + ".")
        }

    def load(self) -> ModuleType:
        """Read, compile and run the file.

        Raises:
            UnknownKernelError: it cannot be read.
            BaseException: whatever it raises.
        """
        for name in self._before:
            del sys.modules[name]
        package = ModuleType(self.package)
        package.__path__ = []
        sys.modules[self.package] = package
        return self._module(self._stem, self.file, ())

    def put_back(self) -> None:
        """Undo what loading registered: what was there before is in use."""
        for name in [*self._modules, ""]:
            sys.modules.pop(f"{self.package}.{name}" if name else self.package, None)
        sys.modules.update(self._before)
        for file, entry in self._lines.items():
            if entry is None:
                linecache.cache.pop(file, None)
            else:
                linecache.cache[file] = entry

    def shown(self, file: str) -> str:
        """A file's name as the person would type it: beside the one they named."""
        if file == self.file:
            return self.path
        return os.path.join(os.path.dirname(self.path), os.path.relpath(file, self.folder))

    def has(self, file: str) -> bool:
        """Whether something was compiled, or was to be, of that file."""
        return file in self.codes or file == self._reading

    def sources(self) -> list[Source]:
        """The texts and what they made, the file itself first."""
        return [
            Source(self.shown(file), self._trees[file], vars(module))
            for module in self._modules.values()
            if (file := str(module.__file__)) in self._trees
        ]

    # -- modules ---------------------------------------------------------------------------

    def _module(self, dotted: str, file: str, path: Sequence[str]) -> ModuleType:
        """Run a file as a module; one that fails is none."""
        name = f"{self.package}.{dotted}"
        module = ModuleType(name)
        module.__file__ = file
        module.__package__ = name if path else name.rpartition(".")[0]
        if path:
            module.__path__ = list(path)
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": self._import}
        code = self._compiled(file)
        self._modules[dotted] = sys.modules[name] = module
        try:
            exec(code, vars(module))  # the person named it
        except BaseException:
            del self._modules[dotted]
            sys.modules.pop(name, None)
            raise
        return module

    def _compiled(self, file: str) -> CodeType:
        try:
            data = read_bytes(self.shown(file))
        except SandboxError as error:
            expected = "FILE.py:CLASS, a Python file"
            raise UnknownKernelError(error.message, expected=expected) from error
        self._reading = file
        tree = ast.parse(data, file)
        code = self.codes[file] = compile(data, file, "exec", dont_inherit=True)
        self._trees[file] = tree
        text = importlib.util.decode_source(data)
        self._lines.setdefault(file, linecache.cache.get(file))
        # No time: what is shown is what is run, also when the file is edited meanwhile.
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        return code

    def _beside(self, dotted: str) -> tuple[str, tuple[str, ...]] | None:
        """The file of a module beside the person's, and the folder of a package."""
        place = os.path.join(self.folder, *dotted.split("."))
        if os.path.isfile(os.path.join(place, "__init__.py")):
            return os.path.join(place, "__init__.py"), (place,)
        return (place + ".py", ()) if os.path.isfile(place + ".py") else None

    def _here(self, dotted: str) -> ModuleType:
        """A module beside the file, loaded when it is first imported.

        Raises:
            ModuleNotFoundError: there is no such file.
        """
        if dotted in self._modules:
            return self._modules[dotted]
        parent, _, last = dotted.rpartition(".")
        above = self._here(parent) if parent else sys.modules[self.package]
        found = self._beside(dotted)
        if found is None:
            raise ModuleNotFoundError(f"No module named {dotted!r}", name=dotted)
        module = self._module(dotted, *found)
        setattr(above, last, module)
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What `import` does in these files."""
        head = name.partition(".")[0]
        if not level and (head in _NEVER_BESIDE or not self._is_here(head)):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        dotted = self._absolute(name, str((globals or {}).get("__package__")), level)
        module = self._here(dotted) if dotted else sys.modules[self.package]
        if not fromlist:
            return self._here(head)
        for each in fromlist:
            inner = f"{dotted}.{each}".lstrip(".")
            if not hasattr(module, each) and each != "*" and self._beside(inner):
                setattr(module, each, self._here(inner))
        return module

    def _is_here(self, name: str) -> bool:
        return name in self._modules or self._beside(name) is not None

    def _absolute(self, name: str, package: str, level: int) -> str:
        """A module's name from the folder on; a relative one is from its importer's package."""
        if not level:
            return name
        parts = package.removeprefix(self.package).strip(".").split(".")
        parts = [part for part in parts if part]
        if level - 1 > len(parts):
            raise ImportError("attempted relative import beyond the person's folder")
        return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])
