"""Where the rig keeps what it has set up: kernels, the build system, images and what was built."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rig.errors import CannotError

__all__ = ["SOURCES", "Kernel", "Narrate", "Work", "work_directory"]

Narrate = Callable[[str], None]
"""Is told, a sentence at a time, what is done."""

SOURCES = Path(__file__).parent
"""The package, with the C sources of guest and plugins."""


class Kernel(NamedTuple):
    """A kernel that was set up: a folder with all that a boot needs."""

    name: str
    """What folders of recordings are called: `7.2`."""
    folder: Path

    @property
    def image(self) -> Path:
        """The kernel, as QEMU 7.2 boots it (`rig.image`)."""
        return self.folder / "image"

    @property
    def modules(self) -> Path:
        """Where to look for the modules that come with it."""
        return self.folder / "modules"

    @property
    def module(self) -> Path:
        """The rig's own module, built for it."""
        return self.folder / "mmoracle.ko"

    @property
    def release(self) -> str:
        """Its exact version, as `uname -r` says it."""
        return (self.folder / "release").read_text(encoding="utf-8").strip()

    @property
    def build_tree(self) -> str:
        """The tree that modules are built against; `chroot:PATH` is one in the chroot."""
        return (self.folder / "build").read_text(encoding="utf-8").strip()

    @property
    def is_set_up(self) -> bool:
        """Whether nothing of it is missing."""
        return all((self.folder / name).exists() for name in ("image", "release", "build"))


class Work(NamedTuple):
    """The work directory."""

    root: Path

    @property
    def chroot(self) -> Path:
        """A small Debian 13 with the compiler that its kernels are built with."""
        return self.root / "chroot"

    @property
    def init(self) -> Path:
        """The guest's only program."""
        return self.root / "init"

    @property
    def xfs(self) -> Path:
        """An empty XFS for the guest's /x; it is never written to."""
        return self.root / "xfs.img"

    def kernel(self, name: str) -> Kernel:
        """A kernel of the archive by its short name; it may not be set up."""
        return Kernel(name, self.root / "kernels" / name)

    def kernels(self) -> list[Kernel]:
        """The kernels of the archive that are set up."""
        folder = self.root / "kernels"
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        return [kernel for name in names if (kernel := self.kernel(name)).is_set_up]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from setting up or building in it meanwhile.

        Raises:
            CannotError: the directory cannot be made, or somebody else is at it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CannotError(f"{self.root}: {error.strerror}", expected="MMTUI_RIG") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise CannotError(f"another mmtui is setting up {self.root}") from error
        finally:
            os.close(lock)


def work_directory() -> Work:
    """The work directory: `$MMTUI_RIG`, else `mmtui/rig` in the user's cache."""
    named = os.environ.get("MMTUI_RIG")
    if named:
        return Work(Path(named).absolute())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Work(Path(cache) / "mmtui" / "rig")
