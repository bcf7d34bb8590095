"""The library: the presets that come with the program, by number or name."""

from __future__ import annotations

import os
from typing import NamedTuple

from sandbox.errors import PresetError
from sandbox.scenario.front_matter import FrontMatter, read_front_matter
from sandbox.scenario.lines import near
from sandbox.scenario.presets import Preset, lines_of, load_preset, read_document, slug_of, stem_of

__all__ = ["Card", "find_preset", "list_cards", "list_presets", "recorded_presets"]


class Card(NamedTuple):
    """A preset of the library as a list shows it: only its front matter was read."""

    slug: str
    front: FrontMatter
    path: str


def _library() -> list[str]:
    """Return the documents of the library by their numbered names; none of them is read."""
    # Imported here: only its place is asked for.  (importlib.resources, which could also look
    # into an archive, takes longer to import than a preset takes to run.)
    import presets

    folder = next(iter(presets.__path__))
    return sorted(os.path.join(folder, name) for name in os.listdir(folder) if _is_document(name))


def _is_document(name: str) -> bool:
    return name.endswith(".md") and not name.startswith(".")


def list_cards() -> list[Card]:
    """Return what a list of the library shows, by number and then by slug."""
    cards = []
    for path in _library():
        front, _ = read_front_matter(lines_of(read_document(path)), path)
        cards.append(Card(slug_of(stem_of(path)), front, path))
    return sorted(cards, key=lambda card: (card.front.number or 1 << 30, card.slug))


def recorded_presets() -> dict[str, tuple[str, ...]]:
    """Return the kernels on which all actions of a preset were recorded and match, by its slug.

    The tests hold this table against the recordings, which are not part of the package.
    """
    import presets

    path = os.path.join(next(iter(presets.__path__)), "recorded.txt")
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in file]
    return {row[0]: tuple(row[1:]) for row in rows if row}


def list_presets() -> list[Preset]:
    """Return the presets of the library, by number and then by slug."""
    return [load_preset(card.path) for card in list_cards()]


def find_preset(name: str, *, strict: bool = True) -> Preset:
    """Return a preset of the library by slug, number, or both (`3`, `03-seed-pin-middle`).

    Its file's name decides, so that no other file is read; `strict` is that of `parse_preset`.

    Raises `PresetError` naming the nearest slug.
    """
    library = _library()
    for path in library:
        stem = stem_of(path)
        number, _, slug = stem.partition("-")
        wanted = (stem, slug_of(stem))
        if name in wanted or (slug and name.isdecimal() and name.lstrip("0") == number.lstrip("0")):
            return load_preset(path, strict=strict)
    slugs = [slug_of(stem_of(path)) for path in library]
    message = f"there is no preset and no file {name[:60]!r}{near(name, slugs)}"
    expected = f"a number up to {len(slugs)}, a name of the library (`mmtui presets`), or a file"
    raise PresetError(message, expected=expected)
