"""Deep ensembles: several solvers that differ in their seeds, and how far they disagree."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from sciml import registry
from sciml.errors import InputError, is_whole
from sciml.problem import Case, Problem
from sciml.solver import Restartable, Start, TrainableSolver
from sciml.solvers import _saved
from sciml.solvers.surrogate import load
from sciml.training.recipe import Recipe, Running

MOST = 1000


@registry.solvers.register("ensemble")
class Ensemble(TrainableSolver, Restartable):
    """The mean of several trained solvers, with their standard deviation as `<field>_std`.

        û = Σ_m û_m / M,    σ² = Σ_m (û_m − û)² / (M − 1)

    σ says how far the members disagree, which is large where training left them free. It is no error bar: what all
    members get wrong it does not see; `Conformal` makes one of it. Members answer on their own from the first frame to
    the last; a `rollout` is the mean of theirs.

    Args:
        members: solvers of one kind, trained on one problem, or untrained, which `fit` trains with different seeds.

    Source: B. Lakshminarayanan, A. Pritzel, C. Blundell, Simple and Scalable Predictive Uncertainty Estimation using
    Deep Ensembles (2017).
    """

    name = "ensemble"

    def __init__(self, members: Sequence[TrainableSolver]):
        if isinstance(members, str) or not isinstance(members, Sequence):
            raise InputError(f"members: expected a sequence of solvers, got {type(members).__name__}")
        self.members = tuple(members)
        if not 2 <= len(self.members) <= MOST:
            raise InputError(f"members: expected at least 2 solvers, got {len(self.members)}")
        first = self.members[0]
        for member in self.members:
            if not isinstance(member, TrainableSolver):
                raise InputError(f"members: expected solvers that can be trained, got {type(member).__name__}")
            if type(member) is not type(first):
                raise InputError(f"members: expected solvers of one kind, got {first.name} and {member.name}")
            if member.fitted != first.fitted:
                raise InputError("members: expected all of them trained, or none")
            mine, its = first.problem, member.problem
            if mine is not None and its is not None and not mine.same(its):
                raise InputError(f"members: expected solvers of one problem, got {mine.name} and {its.name}")
            if member.predicted != first.predicted:
                raise InputError(f"members: expected one set of fields, got {first.predicted} and {member.predicted}")

    @classmethod
    def of(cls, solver: TrainableSolver, count: int) -> Self:
        """An untrained ensemble of `count` solvers like `solver`."""
        if not is_whole(count) or not 2 <= count <= MOST:
            raise InputError(f"count: expected a whole number from 2 to {MOST}, got {count!r}")
        return cls([copy.deepcopy(solver) for _ in range(int(count))])

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def title(self) -> str:  # type: ignore[override]
        first = self.members[0]
        return f"{first.title or first.name}, ensemble of {len(self.members)}"

    @property
    def gives_std(self) -> bool:
        return True

    @property
    def fitted(self) -> bool:
        return self.members[0].fitted

    @property
    def problem(self) -> Problem | None:
        return self.members[0].problem

    @property
    def predicted(self) -> tuple[str, ...] | None:
        return self.members[0].predicted

    @property
    def training(self) -> dict[str, Any]:
        """That of the first member, with the seconds of all."""
        records = [m.training for m in self.members]
        seconds = sum(float(r.get("seconds", 0.0)) for r in records)
        return records[0] | ({"seconds": seconds} if seconds else {})

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.members[0].metrics

    @property
    def weights(self) -> int:
        return sum(m.weights for m in self.members)

    @property
    def history(self) -> int:  # type: ignore[override]
        return max(m.history for m in self._restartable())

    @property
    def every(self) -> int:  # type: ignore[override]
        return self._restartable()[0].every

    @property
    def settings(self) -> dict[str, Any]:
        return {"members": [m.settings for m in self.members], **self.members[0].settings}

    @property
    def identity(self) -> dict[str, Any]:
        return self.members[0].identity | {"members": len(self.members)}

    def supports(self, problem: Problem) -> bool:
        return all(m.supports(problem) for m in self.members)

    def _restartable(self) -> list[Restartable]:
        for m in self.members:
            if not isinstance(m, Restartable):
                raise InputError(f"{m.title or m.name}: cannot go on from a frame; use solve")
        return list(self.members)  # type: ignore[arg-type]

    # -- training -----------------------------------------------------------------------------------------------

    def fit(
        self, data: Any, recipe: Recipe | None = None, *, split: str | None = "train",
        validation: str | None = "validation", running: Running | None = None,
    ) -> Self:  # fmt: skip
        """Train every member, the k-th with the recipe's seed plus k; into folders member_<k> of a run's folder."""
        recipe, running = recipe or Recipe(), running or Running()
        for k, member in enumerate(self.members):
            own = running if running.folder is None else running.replace(out=running.folder / f"member_{k}")
            seeded = replace(recipe, seed=recipe.seed + k)
            member.fit(data, seeded, split=split, validation=validation, running=own)
        if running.folder is not None:
            self.save(running.folder)
        return self

    # -- answers ------------------------------------------------------------------------------------------------

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        return self.members[0].portions(cases, times)

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xr.Dataset]:
        every = [m._together(cases, times) for m in self.members]
        return [self._joined([found[i] for found in every]) for i in range(len(cases))]

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xr.Dataset:
        return self._joined([m._at(case, times, points) for m in self.members])

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        streams = [m.rollout(starts, times) for m in self._restartable()]
        for frames in zip(*streams, strict=True):
            yield [np.mean([np.asarray(f, np.float64) for f in each], axis=0) for each in zip(*frames, strict=True)]

    def resume(self, case: Case, frame: Any, times: Any) -> xr.Dataset:
        return self._joined([m.resume(case, frame, times) for m in self._restartable()])

    def _joined(self, answers: Sequence[xr.Dataset]) -> xr.Dataset:
        """Mean and standard deviation; the status is the first that is not ok."""
        first = answers[0]
        problem = self.problem
        names = self.predicted or tuple(f.name for f in problem.fields if f.name in first) if problem else ()
        added = {}
        for name in names:
            values = np.stack([np.asarray(a[name].transpose(*first[name].dims).values, np.float64) for a in answers])
            with np.errstate(invalid="ignore", over="ignore"):
                mean, std = values.mean(axis=0), values.std(axis=0, ddof=1)
            dims, about, dtype = first[name].dims, dict(first[name].attrs), first[name].dtype
            spread = {**about, "long_name": f"{about.get('long_name', name)}, standard deviation"}
            added[name] = (dims, mean.astype(dtype), about)
            added[f"{name}_std"] = (dims, std.astype(dtype), spread)
        status = next((a.attrs["status"] for a in answers if a.attrs["status"] != "ok"), "ok")
        settings = json.dumps(self.settings, sort_keys=True, default=str)
        name = f"ensemble of {len(answers)} {first.attrs.get('solver', '')}"
        return first.assign(added).assign_attrs(solver=name, settings=settings, status=status)

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write every member into a folder `directory`/member_<k> of its own."""
        folder = _saved.folder_of(directory)
        for k, member in enumerate(self.members):
            member.save(folder / f"member_{k}")
        _saved.write_parts(folder, "ensemble", {"members": len(self.members)}, {})

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises:
            InputError, FileFormatError: see `Surrogate.load`.
        """
        folder = _saved.folder_of(directory)
        with _saved.reading(folder, "ensemble") as (config, _):
            count = int(config["members"])
            if not 2 <= count <= MOST:
                raise ValueError("members")
            return cls([load(folder / f"member_{k}", device) for k in range(count)])
