"""mm/memory.c: faults, copy on write, fork's page-table copy, zap."""

from sandbox.mm.memory.fault import FaultMixin
from sandbox.mm.memory.file_fault import FileFaultMixin
from sandbox.mm.memory.fork import CopyMixin
from sandbox.mm.memory.swapin import SwapinMixin
from sandbox.mm.memory.wp import WpMixin
from sandbox.mm.memory.zap import ZapMixin


class MemoryMixin(SwapinMixin, FaultMixin, FileFaultMixin, WpMixin, CopyMixin, ZapMixin):
    """Everything of mm/memory.c."""
