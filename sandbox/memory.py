"""What kernel text is written with, the models' and a person's own: words, handles, events.

The door to `sandbox.machine.memory`; kernel text imports nothing else of the machine but
`sandbox.fields`.
"""

from sandbox.machine import memory
from sandbox.machine.memory import *  # noqa: F403  # every name of it, and no other

__all__ = memory.__all__  # a list of strings
