"""The generator: always scenarios that the language has, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rig.guest import translate
from sandbox.errors import UsageError
from sandbox.fuzz.drawing import DRAWERS
from sandbox.fuzz.families import FAMILIES, Family, family_of
from sandbox.fuzz.generate import family_at, name_of, scenario_text
from sandbox.fuzz.world import Page, Span, World
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import Action, Scenario, parse_scenarios

ANY_FAMILY = st.sampled_from(list(FAMILIES.values()))


def drawn(seed: int, number: int, family: Family) -> Scenario:
    (scenario,) = parse_scenarios(scenario_text(seed, number, family), "drawn")
    return scenario


@given(st.integers(0, 10**9), st.integers(0, 10**6), ANY_FAMILY)
@settings(max_examples=25, deadline=None)
def test_what_is_drawn_is_a_scenario_that_the_rig_can_play(
    seed: int, number: int, family: Family
) -> None:
    scenario = drawn(seed, number, family)
    assert scenario.name == name_of(seed, number, family)
    assert len(translate(scenario).lines) == len(scenario.steps) >= 4
    assert scenario_text(seed, number, family) == scenario_text(seed, number, family)


@given(st.integers(0, 10**9))
@settings(max_examples=12, deadline=None)
def test_what_has_no_odd_ranges_is_played_to_the_end(seed: int) -> None:
    """A plain access never ends a process by accident, no name is unknown, nothing is over."""
    weights = {verb: weight for verb, weight in FAMILIES["wide"].weights.items()
               if verb not in ("pageout", "repeat", "uffdmove")}  # fmt: skip
    family = Family("even", weights, (10, 30), 64, odd=0.0)
    scenario = drawn(seed, 0, family)
    run = ScenarioRun("7.2", rig=True)
    for step in scenario.steps:
        assert isinstance(step, Action)
        if step.verb == "mmap" and mapped_over(run, step):
            return
        state = run.do(step)
        if step.verb in ("write", "read", "touch"):
            assert state["ret"] == 0, step.text


def mapped_over(run: ScenarioRun, step: Action) -> bool:
    """Whether a mapping is over another, which is drawn on purpose now and then."""
    args = step.args
    tables = run.session.state()["procs"].get(args["proc"], {"vmas": []})
    first, last = args["at"], args["at"] + args["size"]
    return any(v[0] == args["region"] and v[1] < last and first < v[2] for v in tables["vmas"])


def test_other_seeds_numbers_and_families_are_other_scenarios() -> None:
    texts = {
        scenario_text(seed, number, family).split("\n", 1)[1]
        for seed in (1, 2) for number in (0, 1) for family in FAMILIES.values()
    }  # fmt: skip
    assert len(texts) == 4 * len(FAMILIES)


def test_the_text_of_a_seed_does_not_change_by_itself() -> None:
    """Resuming needs it; a change of the generator changes this on purpose."""
    assert scenario_text(7, 0, family_of("write=1")).split("\n")[0] == "scenario own-7-0000"
    assert scenario_text(7, 0, FAMILIES["core"]) == scenario_text(7, 0, family_at(0, None))


def test_every_verb_is_drawn_by_the_wide_family() -> None:
    found = {
        step.verb
        for number in range(100)
        for step in drawn(5, number, FAMILIES["wide"]).steps
        if isinstance(step, Action)
    }
    assert found == set(DRAWERS)


def test_families_of_ones_own(tmp_path: Path) -> None:
    own = family_of("write=3,fork=1, munmap=2")
    assert own.weights == {"write": 3, "fork": 1, "munmap": 2}
    verbs = {step.verb for step in drawn(1, 1, own).steps if isinstance(step, Action)}
    assert verbs <= {"write", "fork", "munmap", "mmap", "mthp"}
    file = tmp_path / "mine.toml"
    file.write_text("length = [3, 4]\nodd = 0.5\n[weights]\nwrite = 1\n")
    read = family_of(str(file))
    assert (read.length, read.odd, read.weights) == ((3, 4), 0.5, {"write": 1})


@pytest.mark.parametrize(
    "text",
    ["nothing", "write=x", "write=0", "fold=3", "write=1,,fork=2", "="],
)
def test_what_is_no_family_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        family_of(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "'x' is no key"),
        ("weights = 3", "no table"),
        ("length = [5, 2]\n[weights]\nwrite=1", "length"),
        ("pages = 0\n[weights]\nwrite=1", "pages"),
        ("odd = 'a'\n[weights]\nwrite=1", "odd"),
        ("[weights]\nwrite=1.5", "weight of 'write'"),
        ("[weights\n", "expected a family"),
    ],
)
def test_a_file_that_is_no_family_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        family_of(str(file))


def test_the_world_knows_what_is_cut_apart() -> None:
    world = World()
    world.map(Span("A", "R", 0, 8), Page(world.number()))
    assert world.one_vma(Span("A", "R", 0, 8))
    world.change_to_hole(Span("A", "R", 2, 4), prot="r")
    assert not world.one_vma(Span("A", "R", 0, 8))
    assert world.one_vma(Span("A", "R", 4, 8))
    world.unmap(Span("A", "R", 6, 7))
    assert world.runs(lambda page: page.allows(True)) == [
        Span("A", "R", 0, 2), Span("A", "R", 4, 6), Span("A", "R", 7, 8),
    ]  # fmt: skip
    world.change_to_hole(Span("A", "R", 5, 8), prot="-")
    assert not world.all_of(Span("A", "R", 5, 6), lambda page: page.allows(False))
    assert world.all_of(Span("A", "R", 7, 8), lambda page: page.allows(True))
    world.doubt(Span("A", "R", 0, 1))
    (page,) = world.pages(Span("A", "R", 0, 1))
    assert page is not None
    assert not page.allows(False)
    assert not page.kills(True)


def test_a_ring_is_given_back_before_its_process_ends() -> None:
    ends = 0
    family = family_of("write=3,uring=5,unuring=1,exit=4,kill=2,fork=3,mmap=2")
    for number in range(40):
        lines = [step.text for step in drawn(3, number, family).steps]
        for at, line in enumerate(lines):
            verb, _, proc = line.partition(" ")
            if verb in ("exit", "kill"):
                done = [earlier.split()[0] for earlier in lines[:at]
                        if earlier.split()[:2] in (["uring", proc], ["unuring", proc])]  # fmt: skip
                assert done.count("uring") == done.count("unuring")
                ends += "uring" in done
    assert ends
