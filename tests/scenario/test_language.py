"""The scenario language: what is read, what is refused and where, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ScenarioError
from sandbox.scenario.complete import complete
from sandbox.scenario.language import (
    VERBS,
    Action,
    CpuBlock,
    format_action,
    format_scenario,
    parse_action,
    parse_lines,
    parse_scenarios,
)
from sandbox.scenario.schedule import Turn
from sandbox.scenario.verbs import Style
from tests.conftest import STATES, read

TESTS = Path(__file__).parent.parent
SCENARIO_FILES = sorted((TESTS / "scenarios").glob("*.scn"))


@pytest.mark.parametrize("path", SCENARIO_FILES, ids=lambda path: path.stem)
def test_scenario_files_are_read_and_written_back(path: Path) -> None:
    scenarios = parse_scenarios(path.read_text(encoding="utf-8"), path.name)
    assert scenarios
    written = "\n".join(format_scenario(scenario) for scenario in scenarios)
    assert parse_scenarios(written, "again") == scenarios


def test_source_lines_are_those_of_the_recordings() -> None:
    scenarios = {
        scenario.name: scenario
        for path in SCENARIO_FILES
        for scenario in parse_scenarios(path.read_text(encoding="utf-8"), path.name)
    }
    assert STATES
    for path in STATES:
        recording = read(path)
        scenario = scenarios[recording["scenario"]]
        assert scenario.source == recording["source"]
        assert scenario.about == recording["about"]
        texts = [step.text for step in scenario.steps]
        assert texts[: len(recording["steps"])] == [s["action"] for s in recording["steps"]]


def test_an_action_has_every_parameter_by_name() -> None:
    action = parse_action("  mmap A  R 128K at=8 shared\tfd=F nomadv # a comment")
    assert action.args == {
        "proc": "A",
        "region": "R",
        "size": 32,
        "at": 8,
        "ro": False,
        "shared": True,
        "fd": "F",
        "pgoff": 0,
        "nohuge": False,
        "nomadv": True,
    }
    assert action.text == "mmap A R 128K at=8 shared fd=F nomadv"
    assert (action.where.line, action.where.column) == (1, 3)


@pytest.mark.parametrize(
    ("size", "pages"), [("64K", 16), ("4K", 1), ("2M", 512), ("1G", 262144), ("4p", 4)]
)
def test_sizes_are_pages(size: str, pages: int) -> None:
    assert parse_action(f"mmap A R {size}").args["size"] == pages


@pytest.mark.parametrize(
    ("line", "flags"),
    [("pin A R 0 1 1 lw", "wl"), ("pin A R 0 1 1 -", ""), ("get A R 0 1 x f", "f")],
)
def test_pin_flags_are_letters_in_one_order(line: str, flags: str) -> None:
    assert parse_action(line).args["flags"] == flags


def test_traced_and_cpu_are_told_apart_from_the_text() -> None:
    action = parse_action("cpu1: traced  fork A B")
    assert (action.text, action.traced, action.cpu) == ("fork A B", True, 1)
    assert action.source == "cpu1: traced fork A B"
    assert format_action(action) == action.source


def test_cpu_lines_and_their_schedule_are_one_block() -> None:
    text = "fork A B\ncpu0: exit A\n\ncpu1: exit B\nschedule 0 1x3 0\nfork C D\ncpu0: exit C\n"
    first, block, second, last = parse_lines(text, "f", first_line=10)
    assert isinstance(first, Action)
    assert isinstance(second, Action)
    assert isinstance(block, CpuBlock)
    assert block.schedule == (Turn(0, 1), Turn(1, 3), Turn(0, 1))
    assert [action.where.line for action in block.actions] == [11, 13]
    lines = ["cpu0: exit A", "cpu1: exit B", "schedule cpu0 1, cpu1 3, cpu0 1"]
    assert block.source.split("\n") == lines
    assert isinstance(last, CpuBlock)
    assert last.schedule == ()


def test_a_schedule_ends_a_block_even_if_it_is_empty() -> None:
    steps = parse_lines("cpu0: exit A\nschedule\ncpu0: exit B\n", "f")
    assert len(steps) == 2


@pytest.mark.parametrize(
    ("line", "column", "part"),
    [
        ("frok A B", 1, "did you mean 'fork'"),
        ("unmap A R 0 1", 1, "did you mean 'munmap'"),
        ("zap A R 0 1", 1, "unknown verb 'zap'"),
        ("fork A", 7, "expected a name for the child"),
        ("  fork A b", 10, "an upper-case word"),
        ("fork A B C", 10, "'C' is too much"),
        ("mmap A R 6K", 10, "not a whole number of 4K pages"),
        ("mmap A R 0p", 10, "empty"),
        ("mmap A R 999999999G", 10, "larger than the address space"),
        ("mmap A R 64K at=x", 17, "a page number"),
        ("mmap A R 64K ro ro", 17, "ro is given twice"),
        ("mmap A R 64K shard", 14, "did you mean 'shared'"),
        ("mmap A R 64K ro=1", 14, "is too much"),
        ("mmap A R 64K at", 14, "is too much"),
        ("write A R 5 5", 13, "[5, 5) is empty"),
        ("write A R 5 ²", 13, "not a number"),
        ("pin A R 0 1 1 ww", 15, "flags: w (FOLL_WRITE)"),
        ("mprotect A R 0 1 x", 18, "r or rw or -"),
        ("cpu4: exit A", 1, "0 to 3"),
        ("cpu0:", 6, "the action is missing"),
        ("traced", 7, "the action is missing"),
        ("schedule 0 1", 1, "cpuN: lines before it"),
        ("scenario x", 1, "is not an action"),
        ("", 1, "there is nothing here"),
        ("# only a comment", 1, "there is nothing here"),
    ],
)
def test_a_wrong_line_says_where_and_what(line: str, column: int, part: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse_action(line, "file", 7)
    assert str(raised.value).startswith(f"file:7:{column}: ")
    assert part in str(raised.value)


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("", 1, "no scenario"),
        ("fork A B\n", 1, "outside a scenario"),
        ("scenario\nend\n", 1, "one name"),
        ("scenario Upper\nend\n", 1, "no name of a scenario"),
        ("scenario a\nfork A B\n", 1, "has no end"),
        ("scenario a\nscenario b\n", 2, "inside a scenario"),
        ("scenario a\nend\nscenario a\nend\n", 3, "a second scenario"),
        ("scenario a\nfork A B\nabout x\nend\n", 3, "about in a wrong place"),
        ("scenario a\nend now\n", 2, "something after end"),
        ("scenario a\ncpu0: exit A\nschedule 2\nend\n", 3, "no CPU of this block"),
        ("scenario a\ncpu0: exit A\nschedule 0x99999999\nend\n", 3, "too long"),
    ],
)
def test_a_wrong_file_says_where_and_what(text: str, line: int, part: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse_scenarios(text, "file")
    assert raised.value.where is not None
    assert raised.value.where.line == line
    assert part in str(raised.value)


def test_carriage_returns_and_a_byte_order_mark_do_no_harm() -> None:
    (scenario,) = parse_scenarios("\ufeffscenario a\r\nabout x # y\r\nfork A B\r\nend\r\n", "f")
    assert scenario.about == "x"
    assert scenario.source == ["fork A B"]


def test_every_verb_has_a_usage_that_is_taken() -> None:
    """Replace the words of each usage line by examples: nothing is declared in vain."""
    examples = {
        "SIZE": "64K", "CHUNK": "64K", "a": "3", "b": "5", "N": "1", "ORDER": "2", "MS": "10",
        "ID": "1", "FLAGS": "wl", "PAGE": "7", "on|off": "on", "r|rw|-": "rw", "w|r": "w",
        "madvise|never|always|inherit": "madvise", "always|never": "always",
        "async|sigbus|off": "async", "PATH": "/x/f", "VALUE": "1",
    }  # fmt: skip
    for verb in VERBS.values():
        assert verb.meaning
        words = [examples.get(word.strip("[]"), word.strip("[]")) for word in verb.usage.split()]
        words = [word.replace("=PAGE", "=7").replace("=F", "=F") for word in words]
        action = parse_action(" ".join(words))
        assert action.verb == verb.name
        assert list(action.args) == [param.name for param in verb.params]
        assert parse_action(format_action(action)) == action


@st.composite
def actions(draw: st.DrawFn) -> Action:
    verb = draw(st.sampled_from(list(VERBS.values())))
    first = draw(st.integers(0, 600))
    values: dict[str, object] = {}
    for param in verb.params:
        chosen: object
        if param.kind.choices and param.kind.label != "FLAGS":
            chosen = draw(st.sampled_from(param.kind.choices))
        elif param.name in ("start", "end"):
            chosen = first if param.name == "start" else first + draw(st.integers(1, 20))
        elif param.style is Style.FLAG:
            chosen = draw(st.booleans())
        else:
            chosen = draw(_BY_LABEL[param.kind.label])
        if param.style in (Style.KEYWORD, Style.OPTIONAL) and draw(st.booleans()):
            chosen = param.default
        values[param.name] = chosen
    cpu = draw(st.none() | st.integers(0, 3))
    return Action(verb.name, values, "", draw(st.booleans()), cpu)


_UPPER = st.from_regex(r"[A-Z][A-Z0-9_]{0,5}", fullmatch=True)
_WORD = st.from_regex(r"[a-z/][a-z0-9/=_.]{0,9}", fullmatch=True)
_BY_LABEL: dict[str, st.SearchStrategy[object]] = {
    **dict.fromkeys("PCRQFO", _UPPER),
    **dict.fromkeys(("SIZE", "CHUNK"), st.integers(1, 1 << 36)),
    **dict.fromkeys(("PATH", "VALUE"), _WORD),
    **dict.fromkeys(("PAGE", "N", "MS"), st.integers(0, 1 << 31)),
    "ORDER": st.integers(0, 20),
    "ID": st.from_regex(r"[a-zA-Z0-9_]{1,8}", fullmatch=True),
    "FLAGS": st.sampled_from(["", "w", "l", "f", "wl", "wf", "lf", "wlf"]),
}


@given(actions())
def test_what_is_written_is_read_back(action: Action) -> None:
    assert parse_action(format_action(action)) == action


LINES = st.lists(
    st.text()
    | st.sampled_from(["scenario a", "end", "about x", "fork A B", "cpu0: exit A", "schedule 0 1"])
    | st.builds(" ".join, st.lists(st.sampled_from([*VERBS, "A", "R", "0", "16", "64K", "at=1"])))
).map("\n".join)


@given(LINES)
def test_arbitrary_text_raises_nothing_but_scenario_errors(text: str) -> None:
    for parse in (parse_scenarios, parse_lines, parse_action):
        error = _error_of(parse, text)
        if error is not None:
            assert error.where is not None
            assert error.where.line >= 1
            assert error.where.column >= 1


def _error_of(parse: Callable[[str, str], object], text: str) -> ScenarioError | None:
    try:
        parse(text, "text")
    except ScenarioError as error:
        return error
    return None


@given(st.text())
def test_completion_takes_any_line(text: str) -> None:
    last = text.replace("\t", " ").split(" ")[-1]
    assert all(word.startswith(last) for word in complete(text, ["A"], ["R"]))


def test_completion_follows_the_parameters() -> None:
    def offered(line: str) -> list[str]:
        return complete(line, ["A", "B"], ["R"])

    assert offered("mun") == ["munmap", "munlock"]
    assert offered("traced fo") == ["fork", "fold"]
    assert offered("fork ") == ["A", "B"]
    assert offered("fork A ") == ["C"]
    assert offered("write A ") == ["R"]
    assert offered("mmap A ") == ["S"]
    assert offered("mmap A S 64K sh") == ["shared"]
    assert "shared" not in offered("mmap A S 64K shared ")
    assert offered("mprotect A R 0 1 ") == ["r", "rw", "-"]
    assert offered("nonsense ") == []
    assert "fork" in offered("")
