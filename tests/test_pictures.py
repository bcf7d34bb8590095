"""The pictures of the README show what the application shows: `python docs/screenshot.py`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parent.parent / "docs"
README = (DOCS.parent / "README.md").read_text(encoding="utf-8")
NAMES = ("mmtui", "course", "card", "violation", "cpus")


@pytest.fixture(scope="module")
def screenshot() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshot", DOCS / "screenshot.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
async def test_a_picture_is_of_the_application_as_it_is(
    screenshot: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held by its text: what is drawn differs from machine to machine in nothing that is seen."""
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    drawn = (DOCS / f"{name}.svg").read_text(encoding="utf-8")
    made = await screenshot.picture(name)
    assert screenshot.text_of(drawn) == screenshot.text_of(made), "python docs/screenshot.py"


def test_every_picture_is_shown(screenshot: ModuleType) -> None:
    assert set(screenshot.PICTURES) == set(NAMES)
    assert [name for name in NAMES if f"(docs/{name}.svg)" not in README] == []
