"""Cases without solutions, which the balances alone teach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from sciml.errors import InputError
from sciml.problem import Case, beginning
from sciml.solver import Start
from sciml.training.batches import Batch
from sciml.training.encoding import Encoding
from sciml.training.physics.equations import Equations
from sciml.training.processes import ALONE, Processes
from sciml.training.samples import CaseTable


class Unlabelled:
    """Batches of cases that nobody has solved.

    Of steady problems the balances of the answer count; in time those of the last of so many steps from the start of a
    case, a number drawn for each batch up to the longest of the training split, all of them the model's own.

    Args:
        cases: of the training data's problem.
        table: the training split, which says how long cases last.
        size: cases in a batch, at most.
        seed: of which cases, and how many steps, are drawn for a batch.
        processes: each takes its share of every batch.
    """

    def __init__(
        self, cases: Sequence[Case], table: CaseTable, encoding: Encoding, equations: Equations, *, seed: int = 0,
        size: int = 8, processes: Processes = ALONE,
    ):  # fmt: skip
        for case in cases:
            if not isinstance(case, Case) or not case.problem.same(encoding.problem):
                raise InputError(f"cases: expected cases of {encoding.problem.name}, got {case!r:.80}")
            equations.require(case)
        self.cases, self.e, self.equations, self.seed = tuple(cases), encoding, equations, seed
        self.size, self.processes = size, processes
        self.supports = [encoding.support(c) for c in cases]
        s = encoding.stepping
        longest = (int(table.length.max()) - 1) // (s.every * s.ahead) if s.past else 1
        self.longest, self.states = max(longest, 1), None
        if s.past:
            frames = [np.stack(list(beginning(c, p, encoding.fields).values()))[None]
                      for c, p in zip(cases, self.supports, strict=True)]  # fmt: skip
            starts = [Start(c, p, f, 0.0) for c, p, f in zip(cases, self.supports, frames, strict=True)]
            self.states = torch.from_numpy(encoding.starts(starts))
        self.given = encoding.given(self.cases, self.supports)

    def batch(self, epoch: int, i: int) -> Batch:
        """Number i of an epoch."""
        chance = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, 2, epoch, i])))
        rows = self.processes.share(np.sort(chance.permutation(len(self.cases))[: self.size]))
        cases, e, index = tuple(self.cases[r] for r in rows), self.e, torch.from_numpy(rows)
        times, clocks = None, [np.zeros(1)] * len(rows)
        if self.states is not None:
            assert e.step is not None
            steps, ahead = int(chance.integers(1, self.longest + 1)), e.stepping.ahead
            each = [e.step.of(c) for c in cases]
            clocks = [dt * ahead * np.arange(steps) for dt in each]
            times = np.stack([t[-1] + dt * np.arange(ahead + 1) for t, dt in zip(clocks, each, strict=True)])
        params = np.stack([e.params(c, t) for c, t in zip(cases, clocks, strict=True)])
        return Batch(
            torch.zeros(len(rows), 0), torch.from_numpy(params), self.given.rows(index),
            None if self.states is None else self.states[index], cases=cases, times=times,
            equations=self.equations.supplied(cases, times),
        )  # fmt: skip


class WithEquations:
    """Batches, each with what its balances need, and with cases beside it that nobody has solved."""

    def __init__(self, batches: Any, equations: Equations, others: Unlabelled | None = None):
        self.batches, self.equations, self.others = batches, equations, others

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for i, batch in enumerate(self.batches.epoch(epoch, start=start), start=start):
            others = None if self.others is None else self.others.batch(epoch, i)
            yield batch.held_to(self.equations.supplied(batch.cases, batch.times), others)
