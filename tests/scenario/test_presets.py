"""Preset documents: how they are read, and that those of the library are complete."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.conform.packed import recordings_in
from sandbox.errors import ExpectationError, PresetError, SandboxError, ScenarioError
from sandbox.scenario.expect import evaluate
from sandbox.scenario.expect_run import Peak, RuleCount, RulesHold, Tally
from sandbox.scenario.language import Action
from sandbox.scenario.library import find_preset, list_presets
from sandbox.scenario.presets import Commands, Expect, Preset, Prose, load_preset, parse_preset
from tests.conftest import RECORDINGS, read

LIBRARY = list_presets()

FRONT = """\
+++
title = "A title"
number = 3
kernels = ["one", "two"]
tags = ["fork"]
summary = "A summary."
[[mails]]
author = "Somebody"
date = 2023-11-16
id = "x@y"
+++
"""
BODY = """\
First words.

```c
```mm is not ours in here
int x;
```

```mm
fork A B
exit A
```

Words about it.

```expect one
refcount = 1
```

Words for two.

```mm !one
exit B
```

```expect
freed F1
```

Last words.
"""


def parsed(body: str = BODY, front: str = FRONT) -> Preset:
    return parse_preset(front + body, "07-some-name.md")


def test_the_parts_of_a_document() -> None:
    preset = parsed()
    assert (preset.slug, preset.number, preset.title) == ("some-name", 3, "A title")
    assert preset.mails[0].date == "2023-11-16"
    kinds = [type(part) for part in preset.parts]
    assert kinds == [Prose, Commands, Prose, Expect, Prose, Commands, Expect, Prose]
    first = preset.parts[1]
    assert isinstance(first, Commands)
    assert (first.where.line, first.steps[0].where.line) == (19, 20)
    prose = preset.parts[0]
    assert isinstance(prose, Prose)
    assert "int x;" in prose.text


def test_the_story_on_each_kernel() -> None:
    one, two = parsed().story("one"), parsed().story("two")
    assert [step.commands is not None for step in one] == [True, False]
    assert [step.commands is not None for step in two] == [True, True, False]
    assert [len(step.expects) for step in two] == [0, 1, 0]
    assert [type(part) for part in one[0].after] == [Prose, Expect, Expect]
    assert two[1].prose == "Words for two."
    assert "Words for two." in one[1].prose
    assert [step.text for step in parsed().scenario("two").steps if isinstance(step, Action)] == [
        "fork A B",
        "exit A",
        "exit B",
    ]


@pytest.mark.parametrize(
    ("front", "line", "part"),
    [
        ("", 1, "no front matter"),
        ("+++\ntitle = 1\n", 1, "never closed"),
        ("+++\ntitle = \n+++\n", 2, "TOML"),
        ("+++\ntitle = 'a'\ntitle = 'b'\n+++\n", 3, "TOML"),
        (FRONT.replace("number = 3", "number = true"), 3, "number is 'True'"),
        (FRONT.replace("title =", "tile ="), 2, "did you mean 'title'"),
        (FRONT.replace('title = "A title"\n', ""), 1, "title is missing"),
        (FRONT.replace('"one", "two"', '"one", "one"'), 4, "names one twice"),
        (FRONT.replace('["one", "two"]', "[]"), 4, "empty"),
        (FRONT.replace('["fork"]', "[1]"), 5, 'tags = ["...'),
        (FRONT.replace('id = "x@y"\n', ""), 7, "id of a mail is missing"),
        (FRONT.replace("[[mails]]", "mails = 3\n[[tags]]"), 8, "TOML"),
    ],
)
def test_wrong_front_matter_says_where_and_what(front: str, line: int, part: str) -> None:
    with pytest.raises(PresetError) as raised:
        parsed("text\n", front)
    assert raised.value.where is not None
    assert (raised.value.where.line, part in str(raised.value)) == (line, True), raised.value


@pytest.mark.parametrize(
    ("body", "error", "line", "column"),
    [
        ("```mm\nfork A B\n", PresetError, 12, 1),
        ("```mm three\n```\n", PresetError, 12, 7),
        ("```expect one !two\n```\n", PresetError, 12, 15),
        ("```expect\nrefcount = 1\n```\n", PresetError, 12, 1),
        ("x\n```mm\nfrok A B\n```\n", ScenarioError, 14, 1),
        ("```mm\n```\n```expect\nrefcount =\n```\n", ExpectationError, 15, 11),
    ],
)
def test_a_wrong_body_says_where(
    body: str, error: type[SandboxError], line: int, column: int
) -> None:
    with pytest.raises(error) as raised:
        parsed(body)
    assert raised.value.where is not None
    assert (raised.value.where.line, raised.value.where.column) == (line, column), raised.value


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="cannot read"):
        load_preset(tmp_path / "absent.md")
    (tmp_path / "latin.md").write_bytes(b"\xff\xfe")
    with pytest.raises(PresetError, match="UTF-8"):
        load_preset(tmp_path / "latin.md")


def test_presets_are_found_by_number_and_name() -> None:
    for name in ("3", "03", "seed-pin-middle", "03-seed-pin-middle"):
        assert find_preset(name).number == 3
    with pytest.raises(PresetError, match="did you mean 'seed-pin-middle'"):
        find_preset("seed-pin-midle")


def test_the_library_has_the_catalogue_in_order() -> None:
    assert [preset.number for preset in LIBRARY] == list(range(1, len(LIBRARY) + 1))
    assert len({preset.slug for preset in LIBRARY}) == len(LIBRARY)


@pytest.mark.parametrize("preset", LIBRARY, ids=lambda preset: preset.slug)
def test_a_preset_of_the_library_is_complete(preset: Preset) -> None:
    assert Path(preset.path).name == f"{preset.number:02}-{preset.slug}.md"
    assert preset.mails
    assert preset.tags
    assert preset.summary.endswith((".", "?"))
    for mail in preset.mails:
        assert re.fullmatch(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]", mail.date)
        assert re.fullmatch(r"[^<>\s]+@[^<>\s]+", mail.id)
    for kernel in preset.kernels:
        story = preset.story(kernel)
        assert any(step.expects for step in story), kernel
        assert story[0].prose.startswith("# ")


RECORDED = [
    (preset, kernel)
    for preset in LIBRARY
    for kernel in preset.kernels
    if (RECORDINGS / kernel).is_dir()
]


def recorded_states(preset: Preset, kernel: str) -> list[dict[str, Any]]:
    """Return the states of the recording that begins most like the preset."""
    actions = [step.text for step in preset.scenario(kernel).steps]
    best: list[dict[str, Any]] = []
    for path in recordings_in(RECORDINGS / kernel):
        steps = read(path)["steps"]
        pairs = zip(steps, actions, strict=False)
        common = list(itertools.takewhile(lambda pair: pair[0]["action"] == pair[1], pairs))
        best = max(best, [step for step, _ in common], key=len)
    return best


@pytest.mark.parametrize(
    ("preset", "kernel"), RECORDED, ids=[f"{p.slug}-{kernel}" for p, kernel in RECORDED]
)
def test_what_presets_expect_is_what_kernels_did(preset: Preset, kernel: str) -> None:
    """Hold the expectations about states against real kernels, as far as recordings go."""
    states = recorded_states(preset, kernel)
    at = 0
    for step in preset.story(kernel):
        at += len(step.commands.steps) if step.commands else 0
        if at > len(states):
            break
        for expectation in (e for block in step.expects for e in block.expectations):
            if not isinstance(expectation.check, Peak | RuleCount | RulesHold | Tally):
                found = evaluate(expectation, states[at - 1])
                assert found.ok, str(found)


@pytest.mark.parametrize("preset", LIBRARY, ids=lambda preset: preset.slug)
def test_the_prose_fits_a_mail(preset: Preset) -> None:
    for part in preset.parts:
        too_long = [line for line in part.text.split("\n") if len(line) > 72 and line[0] != "|"]
        assert not too_long
        assert part.text.isascii()


@given(st.text(alphabet=st.sampled_from(list("`~+m expct=[]\"\n#AB01!x\\'")), max_size=80))
def test_arbitrary_documents_raise_nothing_but_our_errors(text: str) -> None:
    for document in (text, FRONT + text, f"+++\n{text}\n+++\n{BODY}"):
        assert _is_read_or_refused(document)


def _is_read_or_refused(document: str) -> bool:
    try:
        return bool(parse_preset(document, "name.md").title)
    except SandboxError as error:
        return error.where is not None
