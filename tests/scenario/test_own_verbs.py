"""Verbs that only some kernels have, and what they were called before."""

from __future__ import annotations

import pickle

import pytest

from sandbox.errors import UsageError
from sandbox.kernels import KERNEL_IDS, kernel_by_name
from sandbox.machine.calls import OWN_FUNCTIONS
from sandbox.run.own_verbs import OWN_HANDLERS
from sandbox.run.session import Session
from sandbox.scenario.complete import complete
from sandbox.scenario.language import format_action, parse_action, parse_lines
from tests.engine.support import run

BLOCK = "mthp 64K madvise\nmmap A R 64K\ntouch A R 0 16 w\n"
LAZYFREE = {"lazyfree-batch", "lazyfree-restore", "stale-nr-pages", "past-page-table"}
SMMU = {"6.15-smmu", "7.2-smmu"}
HAVE = {
    "reclaim A R 0 2": LAZYFREE,
    "exclusive A R 0 2": LAZYFREE,
    "device A R 0 2 w": SMMU,
    "device A R 0 2 r": SMMU,
}
"""Which kernels a line can be meant on."""
ONCE = {
    "pageout A R 0 2": ("reclaim A R 0 2", LAZYFREE),
    "uring A R 0 2": ("exclusive A R 0 2", LAZYFREE),
    "cpu1: write A R 0 2": ("device A R 0 2 w", SMMU),
    "cpu1: touch A R 0 2 w": ("device A R 0 2 w", SMMU),
    "cpu1: touch A R 0 2 r": ("device A R 0 2 r", SMMU),
    "cpu1: read A R 0 2": ("device A R 0 2 r", SMMU),
}
"""What a line was another word for, and on which kernels."""


def refused(session: Session, line: str) -> UsageError | None:
    """Why a line is refused, if it is; it changes nothing then."""
    before = session.position
    try:
        for step in parse_lines(line, "<test>"):
            session.do(step)
    except UsageError as error:
        assert session.position == before
        return error
    return None


@pytest.mark.parametrize("kernel", KERNEL_IDS)
def test_a_verb_is_refused_where_it_cannot_be_meant_and_nowhere_else(kernel: str) -> None:
    session = run(kernel, BLOCK)
    for line, kernels in HAVE.items():
        error = refused(session, line)
        assert (error is None) is (kernel in kernels)
        assert error is None or f"kernel {kernel} has no" in str(error)
    for line, (now, kernels) in ONCE.items():
        error = refused(session, line)
        assert (error is not None) is (kernel in kernels)
        assert error is None or error.expected == now
        assert error is None or refused(session, now) is None


def test_the_device_works_from_any_cpu_and_cpus_are_cpus() -> None:
    for cpu in ("", "cpu0: ", "cpu1: "):
        session = run("6.15-smmu", BLOCK + f"free A R 0 16\nwrite A R 3 4\n{cpu}device A R 7 8 w\n")
        assert session.steps[-1].number == 6
        result = session.result_of(6)
        assert result is not None
        assert result.ret == -14
        assert refused(session, "write A R 7 8") is None


def test_the_device_reads_what_it_wrote() -> None:
    session = run("7.2-smmu", BLOCK + "device A R 0 16 w\ndevice A R 0 16 r\nread A R 0 16\n")
    for number in (5, 6):
        result = session.result_of(number)
        assert result is not None
        assert result.out == "4x16"


def test_the_verbs_are_those_that_a_patch_may_have() -> None:
    handlers = {f"sys_{verb}" for verb in OWN_HANDLERS}
    assert handlers == OWN_FUNCTIONS
    stock = kernel_by_name("7.2")
    assert not any(hasattr(stock, function) for function in OWN_FUNCTIONS)


@pytest.mark.parametrize("line", HAVE)
def test_the_language_knows_the_verb(line: str) -> None:
    action = parse_action(line)
    assert format_action(action) == line
    assert action.verb in complete(line[:3], [], [])
    assert pickle.loads(pickle.dumps(action)) == action
