"""Recordings and logs that are none: refused at the door with their JSON path, never a defect."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmtui.__main__ import main
from mmtui.exit_codes import ExitCode
from sandbox.conform.logs import logged
from sandbox.conform.recordings import MAX_CELLS, read_log, read_recording
from sandbox.conform.stores import compare_stores
from sandbox.errors import SandboxError
from sandbox.truth.compare import compare, count_cells
from tests.conftest import read, recorded

Keys = tuple[str | int, ...]
JSON = Any

GOOD = read(recorded("7.2", "seed-fork-64k"))
LOG = read(recorded("7.2-micro", "dontneed-middle"))
LOG["steps"][0]["events"] = [
    next(e for e in LOG["steps"][0]["events"] if e["what"] == what)
    for what in sorted({e["what"] for e in LOG["steps"][0]["events"]})
]
ODD = (
    None,
    -1,
    1.5,
    True,
    10**30,
    10**400,
    "x",
    "",
    "\x1b[31m",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"a": {}},
)


def places(value: object, path: Keys = ()) -> Iterator[Keys]:
    """Every place in a value, but of long lists and objects only the first ones."""
    yield path
    members = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for number, (key, item) in enumerate(members):
        if number < 9:
            yield from places(item, (*path, key))


def changed(value: object, path: Keys, put: object) -> JSON:
    """A copy with another value in one place."""
    if not path:
        return put
    whole: Any = copy.deepcopy(value)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = put
    return whole


def without(value: object, path: Keys) -> JSON:
    """A copy that lacks one key."""
    whole: Any = copy.deepcopy(value)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return whole


def is_log(value: object) -> bool:
    """A log's steps have events in place of states."""
    return isinstance(value, dict) and "source" not in value and "about" in value


@pytest.fixture
def read(tmp_path: Path) -> Callable[[object], str | None]:
    """Return a function that reads a recording or log; what is wrong with it, None if nothing."""
    file = tmp_path / "x.json"

    def tell(value: object) -> str | None:
        file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        try:
            found = (read_log if is_log(value) else read_recording)(str(file))
        except SandboxError as error:
            return str(error).replace(str(file), "FILE")
        # What was let in, nothing behind the door stumbles over.
        for step in found["steps"]:
            if "events" in step:
                stores = logged(step["events"])
                compare_stores("x", "x", stores, stores[::-1])
            else:
                # More where nothing maps a folio: it is then one that is missing and one too many.
                assert len(list(compare(step, step))) >= count_cells(step)
        return None

    return tell


def test_what_is_recorded_is_let_in(read: Callable[[object], str | None]) -> None:
    assert read(GOOD) is None
    assert read(LOG) is None
    assert read(GOOD | {"more": [{}, 1.5, None]}) is None


def test_nothing_odd_in_any_place_is_a_defect(read: Callable[[object], str | None]) -> None:
    """Whatever is let in can be compared; whatever is not is named by its place."""
    refused = 0
    short = GOOD | {"source": GOOD["source"][:1], "steps": GOOD["steps"][3:]}
    for whole in (short, LOG):
        for number, path in enumerate(places(whole)):
            for odd in ODD[number % 5 :: 5]:
                fault = read(changed(whole, path, odd))
                refused += fault is not None and fault.startswith("FILE")
            if path and isinstance(path[-1], str):
                read(without(whole, path))
    assert refused > 200


@pytest.mark.parametrize(
    ("path", "odd", "words"),
    [
        (("steps",), 1, "FILE: steps is 1; expected an array"),
        (("steps", 3, "procs"), [], "FILE: steps[3].procs is an array of 0; expected an object"),
        (("steps", 3, "step"), None, "FILE: steps[3].step is null; expected a whole number"),
        (("steps", 3, "ret"), True, "FILE: steps[3].ret is true; expected a whole number"),
        (("steps", 3, "ret"), 1 << 70, "FILE: steps[3].ret is a number of very many digits"),
        (("steps", 3, "procs", "A", "ptes", 0, 2), 0, "steps[3].procs.A.ptes[0][2] is 0"),
        (("steps", 3, "procs", "A", "ptes", 0, 2), 10**9, "ptes[0][2] is 1000000000"),
        (("steps", 3, "procs", "A", "ptes", 0), [], "ptes[0] is an array of 0; expected an array"),
        (("steps", 3, "procs", "A", "rss"), "x", 'steps[3].procs.A.rss is "x"'),
        (("steps", 3, "folios", "F1", "mapcount"), [[0, -1]], "folios.F1.mapcount[0][1] is -1"),
        (("steps", 3, "folios", "F1", "refcount"), {}, "folios.F1.refcount is an object of 0"),
        (("source", 1), 7, "FILE: source[1] is 7; expected a text"),
        (("scenario",), ["x"], "FILE: scenario is an array of 1; expected a text"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(
    read: Callable[[object], str | None], path: Keys, odd: object, words: str
) -> None:
    assert words in (read(changed(GOOD, path, odd)) or "")


def test_a_key_that_is_missing_is_named(read: Callable[[object], str | None]) -> None:
    assert read(without(GOOD, ("steps", 2, "procs"))) == (
        "FILE: steps[2].procs is missing; expected procs in it"
    )
    assert "steps[0].events[0].at is missing" in (
        read(without(LOG, ("steps", 0, "events", 0, "at"))) or ""
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "FILE:1:1: not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[" * 50_000 + "]" * 50_000, "nested too deeply"),
        ('{"scenario": "x", "source": [], "steps": [NaN]}', "steps[0] is no number of JSON"),
        ('{"scenario": "x", "source": [], "steps": [], "more": [{"a": Infinity}]}', "more[0].a is"),
        ('{"scenario": "x", "scenario": "y"}', "scenario is there twice; expected each key once"),
        ('{"a": {"b": 1, "b": 2}}', "a.b is there twice"),
        ('{"a": ' + "9" * 10_000 + "}", "a is no number of JSON"),
        ("\ufeff{}", "not JSON"),
        ("{}", "not a recording"),
        ('{"scenario": "x", "source": [], "steps": [{}]}', "1 states but 0 actions"),
    ],
)
def test_what_is_no_json_or_no_recording_is_refused(
    read: Callable[[object], str | None], text: str, words: str
) -> None:
    assert words in (read(text) or "")


def test_runs_of_many_pages_in_all_are_refused(read: Callable[[object], str | None]) -> None:
    runs = [["R", 0, MAX_CELLS // 2, "present", "F1", 0, ""]] * 3
    many = changed(
        GOOD, ("steps", 0, "procs"), {"A": {"vmas": [], "ptes": runs, "rss": {}, "has_pinned": 0}}
    )
    assert "steps[0] is too large" in (read(many) or "")


def run_conform(folder: Path, value: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    (folder / "7.2").mkdir(exist_ok=True)
    (folder / "7.2" / "x.json").write_text(json.dumps(value), encoding="utf-8")
    status = main(["conform", str(folder / "7.2")])
    return status, capsys.readouterr().err


def test_a_malformed_recording_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, err = run_conform(tmp_path, changed(GOOD, ("steps", 3, "folios"), [[]]), capsys)
    assert (status, err.count("\n")) == (ExitCode.USAGE, 1)
    assert f"{tmp_path}/7.2/x.json: steps[3].folios is an array of 1" in err


@pytest.mark.parametrize("line", ["nonsense \x1b[31m", "", "mmap A R 64K\nfork A B", "exit"])
def test_a_line_of_the_source_that_is_no_action_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    status, err = run_conform(tmp_path, changed(GOOD, ("source", 0), line), capsys)
    assert (status, err.count("\n")) == (ExitCode.USAGE, 1)
    assert "x.json: source[0]: " in err


def test_a_recording_without_states_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, err = run_conform(tmp_path, changed(GOOD, ("steps",), []), capsys)
    assert (status, "nothing was compared" in err) == (ExitCode.FAILED, True)


def test_an_action_that_the_engine_refuses_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, err = run_conform(tmp_path, changed(GOOD, ("source", 0), "exit Q"), capsys)
    assert (status, "mmtui:" in err) == (ExitCode.FAILED, False)


def test_overlapping_runs_do_not_take_the_square_of_their_number() -> None:
    """Thirty thousand entries in one place: their cells are counted, each once."""
    runs = [["R", 0, 1, "present", "F1", 0, "wc"]] * 30_000
    state = changed(
        GOOD["steps"][0], ("procs",), {"A": {"vmas": [], "ptes": runs, "rss": {}, "has_pinned": 0}}
    )
    assert count_cells(state) == 30_000 + 3 + 1


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_random_json_in_random_places_is_let_in_or_refused(
    read: Callable[[object], str | None], data: st.DataObject
) -> None:
    whole = data.draw(st.sampled_from([GOOD, LOG]))
    path = data.draw(st.sampled_from(list(places(whole))))
    json_value = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=9), inner),
        max_leaves=9,
    )
    read(changed(whole, path, data.draw(json_value)))
