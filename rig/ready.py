"""Making a kernel ready to be asked: chosen, built for and learnt, or a sentence that says why."""

from __future__ import annotations

from rig.compile import build_init, build_module, build_plugins
from rig.emulator import check_version
from rig.errors import CannotError, RigError
from rig.own import own_kernel
from rig.symbols import learn
from rig.work import Kernel, Narrate, Work

__all__ = ["make_ready"]


def make_ready(
    work: Work,
    name: str,
    narrate: Narrate,
    *,
    image: str | None = None,
    build: str | None = None,
    plugins: bool = False,
) -> Kernel:
    """Choose a kernel by name, or a person's own by its image and build tree, and build for it.

    Raises:
        CannotError: the kernel is not set up, QEMU is missing or too new, or no compiler is there.
        RigError: the kernel does not come up, or only one of image and build tree is given.
    """
    if (image is None) != (build is None):
        raise RigError("a kernel of your own is given by --image IMAGE and --build DIR, both")
    check_version(plugins)
    if not work.xfs.exists():
        raise CannotError(f"nothing is set up in {work.root}", expected="`mmtui rig setup` first")
    with work.locked():
        if image is not None and build is not None:
            kernel = own_kernel(work, name, image, build)
        else:
            kernel = work.kernel(name)
        if not kernel.is_set_up:
            there = ", ".join(known.name for known in work.kernels()) or "none"
            message = f"kernel {name} is not set up (there is {there})"
            raise CannotError(message, expected=f"`mmtui rig setup {name}` first")
        build_init(work, narrate)
        build_plugins(work, narrate)
        build_module(work, kernel, narrate)
        learn(work, kernel, narrate)
    return kernel
