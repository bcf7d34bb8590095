"""The structures that kernel text allocates: the door to `sandbox.machine.fields`."""

from sandbox.machine.fields import (
    DEFERRED_LIST,
    FIELDS,
    FREE_FRAME,
    PAGE_LAYOUT,
    STRUCTS,
    Field,
    Struct,
)

__all__ = ["DEFERRED_LIST", "FIELDS", "FREE_FRAME", "PAGE_LAYOUT", "STRUCTS", "Field", "Struct"]
