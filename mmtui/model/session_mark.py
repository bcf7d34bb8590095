"""How a file says that it is a session, for whoever reads its first line."""

from __future__ import annotations

__all__ = ["MARK", "is_any_session", "is_session"]

_ANY = "# mmtui session "
"""What a session of any version begins with; to whoever runs it, it is a scenario file."""

MARK = f"{_ANY}2"
"""What the first line of a session begins with that can be gone on with."""


def is_any_session(text: str) -> bool:
    """Whether a text is a session of any version."""
    return text.startswith(_ANY)


def is_session(text: str) -> bool:
    """Whether a text is a session that can be gone on with."""
    return text.startswith((f"{MARK}\n", f"{MARK} "))
