"""The reference pages are what the tables say: `python docs/reference.py` writes them anew."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from mmtui.commands.registry import COMMANDS
from sandbox.explain import TERMS
from sandbox.kernels import KERNEL_IDS
from sandbox.rules import RULES

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["keys.md", "words.md", "rules.md", "kernels.md"])
def test_a_reference_is_what_the_tables_say(reference: ModuleType, name: str) -> None:
    made = "".join(reference.PAGES[name]())
    message = f"{name} is stale: python docs/reference.py"
    assert (DOCS / name).read_text(encoding="utf-8") == made, message


def test_everything_in_the_tables_has_its_place(reference: ModuleType) -> None:
    pages = {name: "".join(make()) for name, make in reference.PAGES.items()}
    for name, wanted in (
        ("keys.md", [f"`{command.syntax}`".replace("|", "\\|") for command in COMMANDS.values()]),
        ("words.md", [f"### {term}\n" for term in TERMS]),
        ("rules.md", [f"### {rule}\n" for rule in RULES]),
        ("kernels.md", [f"## {kernel}\n" for kernel in KERNEL_IDS]),
    ):
        assert [text for text in wanted if text not in pages[name]] == []


def test_the_guide_names_only_keys_and_commands_that_there_are() -> None:
    text = (DOCS / "guide.md").read_text(encoding="utf-8")
    lines = re.findall(r"`:([a-z!-]+)", text)
    assert lines
    assert [word for word in lines if word not in COMMANDS] == []
    keys = {key for command in COMMANDS.values() for key in command.keys}
    named = set(re.findall(r"`(\S)`", text))
    assert len(named) > 15
    assert named - keys == set("*!~")
