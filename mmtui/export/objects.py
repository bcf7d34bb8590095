"""A state as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mmtui.export.exhibit import Exhibit
from sandbox.compare.runs import as_object

__all__ = ["as_json"]


def as_json(exhibit: Exhibit) -> Iterator[str]:
    """Yield one line: the step object, what differs, what broke, the walk, and the command."""
    out: dict[str, Any] = {
        "scenario": exhibit.name,
        "about": exhibit.about,
        "kernel": exhibit.kernel,
        "state": exhibit.state,
        "violations": [
            {
                "rule": v.rule,
                "subject": v.subject,
                "text": v.text,
                "event": v.event,
                "step": v.action + 1,
                "function": v.function,
            }
            for v in exhibit.violations
        ],
        "replay": exhibit.replay(),
    }
    if exhibit.since is not None:
        out["since"] = exhibit.since
        out["differs"] = [as_object(cell) for cell in exhibit.cells]
    if exhibit.walk:
        out["walk"] = list(exhibit.events())
    yield json.dumps(out)
