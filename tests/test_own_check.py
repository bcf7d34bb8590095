"""A person's own kernel beside the model it is made of: what is new, by cause, at their line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmtui.cli import dispatch
from mmtui.exit_codes import ExitCode
from sandbox.kernels import kernel_by_name, model_of, name_kernel
from sandbox.kernels.new_kernel import kernel_text
from sandbox.kernels.overrides import noted, overrides
from sandbox.run.session import Session
from sandbox.run.stacks import own_first, stack_at
from sandbox.scenario.library import list_presets
from tests.engine.support import FORK_64K, act

Fd = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(here: Path, stem: str, base: str, *functions: str, old: str = "", new: str = "") -> str:
    """A kernel's file, with something put for something else; its name."""
    text = kernel_text(kernel_by_name(base), functions, stem)
    assert not old or text.count(old) == 1
    (here / f"{stem}.py").write_text(text.replace(old, new) if old else text)
    return f"{stem}.py:{stem.capitalize()}"


REF = "yield from self.folio_ref_add(folio, batch.nr)"


@pytest.mark.parametrize("base", ["7.2", "6.9", "ryan-v2", "7.2-nopm"])
def test_an_empty_class_is_told_and_held_to_what_its_base_is(here: Path, base: str) -> None:
    name = write(here, "empty", base)
    name_kernel(name)
    assert model_of(name) == base
    for preset in list_presets():
        assert preset.story(name) == preset.story(base)
        assert preset.scenario(name) == preset.scenario(base)


def test_what_does_not_differ_is_no_failure(here: Path, capfd: Fd) -> None:
    name = write(here, "same", "7.2", "copy_present_ptes")
    assert dispatch(["check", "3", "--kernel", name]) == ExitCode.OK
    out = capfd.readouterr().out
    assert "0 new, 0 gone, 0 same" in out
    assert "copy_present_ptes: reached by 1 preset: seed-pin-middle" in out


def test_presets_that_are_not_meant_for_the_base_are_left_out(here: Path, capfd: Fd) -> None:
    name = write(here, "same", "7.2")
    preset = next(p for p in list_presets() if "7.2" not in p.kernels)
    assert dispatch(["check", preset.slug, "--kernel", name]) == ExitCode.OK
    assert f"ok {preset.slug}" not in capfd.readouterr().out


def test_a_new_failure_is_told_by_its_cause_at_the_persons_line(here: Path, capfd: Fd) -> None:
    name = write(here, "bad", "7.2", "copy_present_ptes", old=REF, new="pass")
    line = next(n for n, t in enumerate((here / "bad.py").read_text().split("\n"), 1)
                if "folio_try_dup_anon_rmap_ptes(" in t)  # fmt: skip
    assert dispatch(["check", "1", "3", "--kernel", name]) == ExitCode.FAILED
    out = " ".join(capfd.readouterr().out.split())
    assert "1 new, 0 gone, 0 same" in out
    assert f"new: I-05 at copy_present_ptes (bad.py:{line}), folio_try_dup_anon_rmap_ptes" in out
    assert "[seed-v2-order, seed-pin-middle]" in out
    assert dispatch(["check", "3", "--kernel", name, "--json"]) == ExitCode.FAILED
    *_, last = map(json.loads, capfd.readouterr().out.splitlines())
    assert last["base"] == "7.2"
    assert list(last["causes"]) == ["new"]
    assert last["reached"] == {"copy_present_ptes": ["seed-pin-middle"]}


def test_run_names_words_and_every_frame_the_persons_first(here: Path, capfd: Fd) -> None:
    name = write(here, "bad", "7.2", "copy_present_ptes", old=REF, new="pass")
    assert dispatch(["run", "3", "--kernel", name]) == ExitCode.OK
    lines = capfd.readouterr().out.splitlines()
    at = next(n for n, text in enumerate(lines) if text.startswith("first: I-05 at event"))
    assert "F1._refcount" in lines[at + 1] + lines[at + 2]
    frames = [text.split()[0] for text in lines[at:] if text.startswith("  ") and ".py:" in text]
    assert frames[0] == "copy_present_ptes"
    assert frames[1:3] == ["folio_try_dup_anon_rmap_ptes", "dup_anon_page"]
    assert "copy_page_range" in frames


def test_what_fails_on_the_base_alone_is_gone_and_on_both_the_same(here: Path, capfd: Fd) -> None:
    name = write(here, "bad", "7.2", "copy_present_ptes", old=REF, new="pass")
    (here / "p.md").write_text(
        '+++\ntitle = "t"\nkernels = ["7.2"]\ntags = []\nsummary = "s"\n+++\n'
        "```mm\nmthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\nfork A B\n```\n"
        "```expect\nrefcount = 16\nA.rss.anon = 15\n```\n"
    )
    assert dispatch(["check", "p.md", "--kernel", name]) == ExitCode.OK
    out = capfd.readouterr().out
    assert "0 new, 1 gone, 1 same" in out
    assert "gone: refcount = 16: got 32 [p]" in out
    assert "same: A.rss.anon = 15: got 16 [p]" in out


def test_overrides_are_noted_and_put_back(here: Path) -> None:
    name = write(here, "same", "7.2", "copy_present_ptes", "folio_ref_add")
    kernel = name_kernel(name)
    assert set(overrides(kernel)) == {"copy_present_ptes", "folio_ref_add"}
    before = dict(vars(kernel))
    with noted(overrides(kernel)) as called:
        session = Session(kernel)
        act(session, FORK_64K)
    assert called == {"copy_present_ptes", "folio_ref_add"}
    assert dict(vars(kernel)) == before
    assert overrides(kernel_by_name("7.2")) == {}


def test_the_stack_at_an_event_is_that_of_stepping(here: Path) -> None:
    session = Session(name_kernel(write(here, "same", "7.2", "copy_present_ptes")))
    act(session, FORK_64K)
    end = session.position
    for n in range(end - 400, end, 37):
        told = stack_at(session, n)
        session.goto(n)
        there = [(f.function, f.filename, f.line) for f in session.stack()][::-1]
        session.goto(end)
        assert [tuple(level) for level in told] == there
    assert stack_at(session, end) == []
    levels = stack_at(session, end - 200)
    assert sorted(own_first(levels)) == sorted(levels)
