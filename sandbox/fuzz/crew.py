"""Questions spread over processes: each asks and judges a part, and dies with the one it serves."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import NamedTuple, Self

from sandbox.fuzz.asking import Answer, Asked, Question, ask_and_judge
from sandbox.fuzz.judge import Verdict
from sandbox.kernels import name_kernel, named_kernels

__all__ = ["Crew", "Part"]

_PR_SET_PDEATHSIG = 1


class Part(NamedTuple):
    """What came of a part of the questions."""

    questions: Sequence[Question]
    verdicts: Sequence[tuple[Verdict, Answer | None]]
    complaints: Sequence[str]


class Crew:
    """So many processes that ask and judge; one does it here."""

    def __init__(self, asked: Asked, kernel: str, jobs: int) -> None:
        self._asked, self._kernel, self.jobs = asked, kernel, jobs
        self._pool: ProcessPoolExecutor | None = None
        if jobs > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                jobs, context, initializer=_serve, initargs=(os.getpid(), named_kernels())
            )

    def ask(self, parts: Sequence[Sequence[Question]]) -> Iterator[Part]:
        """Ask in parts; what came of each, in the order in which they end."""
        if self._pool is None:
            for part in parts:
                yield Part(part, *ask_and_judge(self._asked, self._kernel, part))
            return
        waiting: dict[Future[tuple[list[tuple[Verdict, Answer | None]], Sequence[str]]],
                      Sequence[Question]] = {
            self._pool.submit(ask_and_judge, self._asked, self._kernel, part): part
            for part in parts
        }  # fmt: skip
        for ended in as_completed(waiting):
            yield Part(waiting[ended], *ended.result())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        """End the processes; behind an error or Ctrl-C whatever they are doing."""
        if self._pool is None:
            return
        if kind is not None:
            for child in multiprocessing.active_children():
                child.kill()
        self._pool.shutdown(wait=kind is None, cancel_futures=True)


def _serve(master: int, kernels: Sequence[str]) -> None:
    """Let this process end with the one that started it, however that one ends (Linux).

    `kernels` are those that the person has named.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != master:
        os._exit(1)
    for kernel in kernels:
        name_kernel(kernel, again=False)
