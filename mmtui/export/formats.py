"""The formats there are, each declared once: the command's option and its help follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mmtui.export.exhibit import Exhibit

__all__ = ["FORMATS", "Format"]


class Format(NamedTuple):
    """A format of export."""

    name: str
    summary: str
    write: Callable[[Exhibit], Iterator[str]]
    """Its lines, without their ends."""


def _mail(exhibit: Exhibit) -> Iterator[str]:
    from mmtui.export.mail import mail

    return mail(exhibit)


def _markdown(exhibit: Exhibit) -> Iterator[str]:
    from mmtui.export.markdown import markdown

    return markdown(exhibit)


def _json(exhibit: Exhibit) -> Iterator[str]:
    from mmtui.export.objects import as_json

    return as_json(exhibit)


FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        Format("mail", "72 columns of ASCII, for a mail", _mail),
        Format("md", "Markdown, for a report", _markdown),
        Format("json", "one JSON object", _json),
    )
}
"""By name; each is imported when it is asked for."""
