"""Nothing that a terminal would act upon leaves a command, from whatever field it comes."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.printable import LINE_LIMIT, one_line, printable, short
from tests.hostile.corpus import OWNED

Outcome = tuple[int, str, str]


def acts(char: str) -> bool:
    """Whether a terminal acts upon a character, or it hides or orders others: by its category."""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def test_every_character_that_is_acted_upon_is_spelled() -> None:
    for code in (*range(0x20000), *range(0xE0000, 0xE0200)):
        char = chr(code)
        spelled = printable(char)
        if acts(char) and char not in "\n\t":
            assert spelled.isascii()
            assert json.loads(f'"{spelled}"') == char
        elif unicodedata.category(char) != "Cn":  # other versions of Unicode know more
            assert spelled == char


@given(st.text(), st.integers(10, 600))
def test_a_line_is_one_and_short(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert not any(map(acts, line))
    assert line == one_line(line, limit)


def test_a_long_text_keeps_both_its_ends() -> None:
    assert short("x" * 100, 100) == "x" * 100
    assert short("begin" + "x" * 1000 + "end", 20) == "beginxxxxxx...xxxend"
    assert one_line("a" * 10_000_000).startswith("aaa")
    assert len(one_line("a b " * 1_000_000)) == LINE_LIMIT


PRESET = (
    '+++\ntitle = "T{spelled}"\nkernels = ["7.2"]\ntags = []\nsummary = "S"\n+++\n'
    "```mm\nmmap A R 64K\n```\n```expect\nret = 0\n```\n"
)
BODY = "scenario x\nabout {0}\nmmap A R 64K\nfile F 64K /{0}\nsysfs /{0} {0}\n{1}end\n"


@pytest.mark.parametrize("form", [[], ["--json"], ["--events"], ["--events", "--json"]], ids=str)
def test_no_field_of_a_scenario_reaches_stdout_raw(
    mmtui: Callable[..., Outcome], tmp_path: Path, form: list[str]
) -> None:
    file = tmp_path / f"{OWNED}.scn"
    file.write_text(BODY.format(OWNED, ""), encoding="utf-8")
    status, out, err = mmtui("run", str(file), *form)
    assert status == 0, err
    assert r"\u001b]0;OWNED\u0007" in out
    assert not any(acts(c) for c in (out + err).replace("\n", ""))
    if "--json" in form:
        (line,) = out.splitlines()
        assert json.loads(line)["about"] == OWNED


def test_no_field_of_a_preset_reaches_stdout_raw(
    mmtui: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / f"{OWNED}.md"
    spelled = re.sub(r"[^ -~]|\x7f", lambda m: f"\\u{ord(m[0]):04x}", OWNED)
    file.write_text(PRESET.format(spelled=spelled), encoding="utf-8")
    for arguments in (["run"], ["run", "--json"], ["check"], ["check", "--json"], ["proc"]):
        what = ["smaps"] if arguments == ["proc"] else []
        status, out, err = mmtui(*arguments, str(file), *what)
        assert status == 0, err
        assert not any(acts(c) for c in (out + err).replace("\n", "")), arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", OWNED],
        ["run", "1", "-k", OWNED],
        ["run", "1", "-k", f"{OWNED}.py:{OWNED}"],
        ["run", "1", "--scenario", OWNED],
        ["proc", "1", OWNED],
        ["proc", "1", "smaps", "--process", OWNED],
        ["proc", "1", "smaps", "--step", OWNED],
        ["check", OWNED],
        ["check", "1", "--scenario", OWNED],
        ["conform", OWNED],
        ["rules", OWNED],
        [f"--{OWNED}"],
        [OWNED],
    ],
    ids=lambda arguments: " ".join(arguments).replace(OWNED, "X"),
)
def test_no_argument_reaches_stderr_raw(
    mmtui: Callable[..., Outcome], arguments: list[str]
) -> None:
    for name in (OWNED, f"a{OWNED}\nb", OWNED * 1000):
        status, out, err = mmtui(*(word.replace(OWNED, name) for word in arguments))
        assert (status, out) == (2, "")
        assert err.startswith("mmtui: ")
        assert err.count("\n") == 1
        assert len(err) <= LINE_LIMIT + 10
        assert not any(map(acts, err[:-1]))
