"""Every verb that is drawn, and what draws it: a line that fits what is mapped, or nothing."""

from __future__ import annotations

from sandbox.fuzz.draw import Draw, Drawer
from sandbox.fuzz.memory_verbs import MEMORY_DRAWERS
from sandbox.fuzz.process_verbs import PROCESS_DRAWERS

__all__ = ["DRAWERS", "Draw"]

DRAWERS: dict[str, Drawer] = MEMORY_DRAWERS | PROCESS_DRAWERS
"""By verb.  Their order is part of what a seed draws."""
