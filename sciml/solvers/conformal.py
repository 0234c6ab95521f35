"""Calibrated error bars around any trained solver, wherever its values live."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from sciml import registry
from sciml.arrays import clock
from sciml.data import schema
from sciml.errors import InputError, is_number, is_whole
from sciml.problem import Case, Problem
from sciml.solver import Restartable, Solver, Start, TrainableSolver
from sciml.solvers import _saved
from sciml.solvers._calibration import Guarantee, Scores, guarantee
from sciml.solvers._held_out import answers, stacked
from sciml.solvers._scales import SCALES, Answer, Constant, Local, Scale, Spread
from sciml.solvers.surrogate import load
from sciml.support import Points, support_of
from sciml.training.samples import CaseTable, open_data, table


@dataclass(frozen=True, eq=False)
class Calibration:
    """What held-out cases have told.

    Args:
        fields: names, as in `scores`.
        scale: how large an error is to be expected where, as learned from `learned` cases.
        scores: residuals over that scale, of the other cases.
        record: what they were, as JSON values.
    """

    fields: tuple[str, ...]
    scale: Scale
    scores: Scores
    record: dict[str, Any]


@registry.solvers.register("conformal")
class Conformal(TrainableSolver, Restartable):
    """A trained solver with error bars that hold, on grids, points and meshes that differ from case to case.

        û(x) − λ s(x)  ≤  u(x)  ≤  û(x) + λ s(x)

    s says how large an error is to be expected where (a `Scale`), λ is the corrected quantile of |u − û| / s over
    held-out cases (split conformal prediction). What is exchangeable are whole cases, not the points of a field, and
    the promise is one over new cases of the same kind as those calibrated on, for each field by itself:

    - per="point": on average over new cases, a share `coverage` of the field, by quadrature, lies in its band.
    - per="field": in a share `coverage` of new cases the whole field lies in its band at once, but for a share
      `outside` of it (0: everywhere).

    Neither says anything of a single place, nor of cases unlike those calibrated on. In time a field is a whole rollout
    from the first frame of a case, pooled over its times: bands grow with the time since the start as errors did, and
    beyond the longest calibration case there is no promise. At `points` s is interpolated linearly.

    Answers carry `<field>_lower` and `<field>_upper` with the attributes `coverage`, `coverage_per` and
    `coverage_outside`.

    Args:
        solver: any trained solver, or an untrained one, which `fit` trains.
        coverage: between 0 and 1.
        per: "point" or "field".
        outside: share of a field that may lie outside, with per="field".
        scale: `Constant()`, `Local(boxes)` or `Spread(floor)`; by default `Spread` where the solver gives `<field>_std`
            and else `Local`.

    Sources: V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World (2005); J. Lei, M. G'Sell, A.
    Rinaldo, R. Tibshirani, L. Wasserman, Distribution-Free Predictive Inference for Regression (2018), section 5.2; A.
    Angelopoulos, S. Bates, A. Fisch, L. Lei, T. Schuster, Conformal Risk Control (2024).
    """

    name = "conformal"

    def __init__(
        self, solver: TrainableSolver, coverage: float = 0.9, per: str = "point", *, outside: float = 0.0,
        scale: Scale | None = None,
    ):  # fmt: skip
        if not isinstance(solver, TrainableSolver):
            raise InputError(f"solver: expected a trained solver, got {type(solver).__name__}")
        if scale is not None and not isinstance(scale, Scale):
            raise InputError(f"scale: expected Constant(), Local() or Spread(), got {scale!r:.60}")
        self.solver, self.scale = solver, scale
        self.guarantee: Guarantee = guarantee(per, coverage, outside)
        self.per, self.outside = per, float(outside)
        self.calibration: Calibration | None = None
        self.limit = np.zeros(0)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"{self.solver.title or self.solver.name}, with bars"

    @property
    def gives_intervals(self) -> bool:
        return self.calibration is not None

    @property
    def gives_std(self) -> bool:
        return self.solver.gives_std

    @property
    def fitted(self) -> bool:
        return self.solver.fitted and self.calibration is not None

    @property
    def problem(self) -> Problem | None:
        return self.solver.problem

    @property
    def predicted(self) -> tuple[str, ...] | None:
        return self.solver.predicted

    @property
    def training(self) -> dict[str, Any]:
        known = {} if self.calibration is None else {"calibration": self.calibration.record}
        return {**self.solver.training, **known}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.solver.metrics

    @property
    def weights(self) -> int:
        return self.solver.weights

    @property
    def history(self) -> int:  # type: ignore[override]
        return self.solver.history if isinstance(self.solver, Restartable) else 1

    @property
    def every(self) -> int:  # type: ignore[override]
        return self.solver.every if isinstance(self.solver, Restartable) else 1

    @property
    def coverage(self) -> float:
        return self.guarantee.coverage

    @property
    def settings(self) -> dict[str, Any]:
        return self.solver.settings | {"conformal": self._described()}

    @property
    def identity(self) -> dict[str, Any]:
        return self.solver.identity | {"conformal": self._described()}

    def _described(self) -> dict[str, Any]:
        scale = self.scale if self.calibration is None else self.calibration.scale
        found: dict[str, Any] = {"coverage": self.coverage, "per": self.per, "outside": self.outside}
        if scale is not None:
            found["scale"] = {"kind": _kind(scale), **scale.options()}
        if self.calibration is not None:
            found |= {k: self.calibration.record[k] for k in ("cases", "split")}
            found["limit"] = dict(zip(self.calibration.fields, map(float, self.limit), strict=True))
        return found

    def supports(self, problem: Problem) -> bool:
        return self.solver.supports(problem)

    def _ready(self) -> Calibration:
        if self.calibration is None:
            raise InputError(f"{self.title}: has not been calibrated; call calibrate with held-out cases first")
        return self.calibration

    # -- learning -----------------------------------------------------------------------------------------------

    def fit(
        self, data: Any, recipe: Any = None, *, split: str | None = "train", validation: str | None = "validation",
        running: Any = None,
    ) -> Self:  # fmt: skip
        """Train the solver inside; what was calibrated is forgotten, and `calibrate` comes next, on cases that had no
        part in training. Validation cases, by which weights may have been chosen, are slightly too easy for that."""
        self.calibration = None
        self.solver.fit(data, recipe, split=split, validation=validation, running=running)
        return self

    def calibrate(self, data: Any, split: str | None = "validation", *, share: float = 0.3, seed: int = 0) -> Self:
        """Take λ from held-out cases.

        Args:
            data: path of a data set, a data set, or solutions.
            split: name of a split whose cases had no part in training; None for all cases of the data.
            share: of the cases that the scale learns from, chosen at random; the others give λ. None are spent where
                the scale learns nothing.
            seed: of that choice.

        Raises:
            InputError: cases that were trained on, as far as the record of training tells; too few cases for the
                promise.
        """
        if not self.solver.fitted:
            raise InputError(f"calibrate: {self.solver.title or self.solver.name} has not been trained")
        if not is_number(share) or not 0 < share < 1:
            raise InputError(f"share: expected a number between 0 and 1, got {share!r}")
        if not is_whole(seed) or seed < 0:
            raise InputError(f"seed: expected a whole number >= 0, got {seed!r}")
        held = self._table(data, split)
        scale = self.scale or (Spread() if self.solver.gives_std else Local())
        if scale.takes_std and not self.solver.gives_std:
            raise InputError(f"scale: Spread needs <field>_std, which {self.solver.title} does not give")
        order = np.random.default_rng(int(seed)).permutation(len(held.cases))
        learn = max(1, round(share * len(order))) if scale.learns else 0
        if len(order) - learn < self.guarantee.fewest:
            spent = f", {learn} of which the scale learns from" if learn else ""
            raise InputError(
                f"calibrate: a coverage of {self.coverage:g} needs at least {self.guarantee.fewest} calibration cases, "
                f"got {len(order)}{spent}"
            )
        if learn:
            first = held.keep(np.sort(order[:learn]))
            scale = scale.fit([(a, np.abs(truth - a.mean)) for _, a, truth in answers(self.solver, first)])
        scores, _ = _scored(self.solver, held.keep(np.sort(order[learn:])), scale)
        record = {"cases": len(scores), "learned": learn, "split": split, "seed": int(seed)}
        limit = self.guarantee.quantile(scores)
        self.calibration, self.limit = Calibration(held.fields, scale, scores, record), limit
        return self

    def score(self, data: Any, split: str | None = "test") -> tuple[Scores, list[int]]:
        """Residuals over the scale of this calibration, for other cases; and the numbers of these in the data.

        Any calibration can be made and tried on such scores without solving again: see `sciml.evaluation.resplits`.
        """
        return _scored(self.solver, self._table(data, split), self._ready().scale)

    def at(self, coverage: float, per: str | None = None, *, outside: float = 0.0) -> Conformal:
        """The same solver and calibration cases with another promise."""
        found = Conformal(self.solver, coverage, per or self.per, outside=outside, scale=self.scale)
        found.calibration = known = self._ready()
        found.limit = found.guarantee.quantile(known.scores)
        return found

    def relative_widths(self, coverage: float) -> dict[str, float] | None:
        known = self._ready()
        promise = guarantee(self.per, coverage, self.outside)
        if len(known.scores) < promise.fewest:
            return None
        return dict(zip(known.fields, map(float, promise.quantile(known.scores) / self.limit), strict=True))

    def _table(self, data: Any, split: str | None) -> CaseTable:
        """The cases of a split, if they may be held out."""
        dataset, path = open_data(data)
        held = table(dataset, split, self.solver.predicted, None)
        if not held.cases:
            raise InputError(f"split: no case of the data set is in split {split!r}")
        record = self.solver.training
        if "split" in record and record.get("data") == (None if path is None else path.name):
            seen = record["split"]
            which, _, part = (seen or "").rpartition("/")
            variable = f"split_{which}" if which else "split"
            if seen is None:
                trained = path is not None
            elif variable in dataset.variables:
                trained = bool((schema.flag_names(dataset[variable])[held.number] == part).any())
            else:
                trained = split == seen
            if trained:
                raise InputError(
                    f"split: {split!r} holds cases that {self.solver.title or self.solver.name} was trained on; "
                    "expected held-out ones"
                )
        return held

    # -- answers ------------------------------------------------------------------------------------------------

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        return self.solver.portions(cases, times)

    @property
    def threads(self) -> int:
        return self.solver.threads

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xr.Dataset]:
        self._ready()
        found = self.solver._together(cases, times)
        return [self._barred(case, one, 0.0) for case, one in zip(cases, found, strict=True)]

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xr.Dataset:
        self._ready()
        whole = self.solver._together([case], [times])[0]
        own, half = self._half(case, whole, 0.0)
        found = self.solver._at(case, times, points)
        return self._with(found, Points(points), own.sample(half, points))

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        return self._restartable().rollout(starts, times)

    def resume(self, case: Case, frame: Any, times: Any) -> xr.Dataset:
        """The solution at `times` from a given state on, whose time is where bands begin to grow."""
        self._ready()
        found = self._restartable().resume(case, frame, times)
        begin = np.atleast_1d(clock("frame: time", frame["time"].values, case.problem.time_unit))[-1]
        return self._barred(case, found, float(begin))

    def _restartable(self) -> Restartable:
        if not isinstance(self.solver, Restartable):
            raise InputError(f"{self.solver.title or self.solver.name}: cannot go on from a frame; use solve")
        return self.solver

    def _half(self, case: Case, found: xr.Dataset, begin: float) -> tuple[Any, np.ndarray]:
        """(support, half widths (T, field, *shape)) of the bands of a solution."""
        known = self._ready()
        support = support_of(case, found, 0)
        names = known.fields
        leads = np.zeros(1)
        if "time" in found.dims:
            leads = (np.asarray(found["time"].values, np.float64) - begin) / case.scales.time
        spread = [f"{n}_std" for n in names]
        std = stacked(found, spread, support) if all(n in found for n in spread) else None
        unit = np.array([case.scales.fields.get(n, 1.0) for n in names])
        answer = Answer(case, support, leads, stacked(found, names, support), std, unit)
        s = np.broadcast_to(known.scale(answer), answer.mean.shape)
        half = answer.spatial(self.limit) * s
        return support, half if support.inside is None else np.where(support.inside, half, 0.0)

    def _barred(self, case: Case, found: xr.Dataset, begin: float) -> xr.Dataset:
        support, half = self._half(case, found, begin)
        return self._with(found, support, half)

    def _with(self, found: xr.Dataset, support: Any, half: np.ndarray) -> xr.Dataset:
        """The solution with its bands."""
        known, added = self._ready(), {}
        steady = "time" not in found.dims
        dims = support.dims if steady else ("time", *support.dims)
        for f, name in enumerate(known.fields):
            field = found[name].transpose(*dims)
            width = half[0, f] if steady else half[:, f]
            note = {"coverage": self.coverage, "coverage_per": self.per, "coverage_outside": self.outside}
            for end, sign in (("lower", -1.0), ("upper", 1.0)):
                about = dict(field.attrs)
                about["long_name"] = f"{about.get('long_name', name)}, {end} end of the interval"
                values = (field.values.astype(np.float64) + sign * width).astype(field.dtype)
                added[f"{name}_{end}"] = (dims, values, about | note)
        settings = json.dumps(self.settings, sort_keys=True)
        return found.assign(added).assign_attrs(solver=f"conformal {found.attrs.get('solver', '')}", settings=settings)

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write the solver inside into `directory`/solver, and the calibration beside it."""
        known = self._ready()
        folder = _saved.folder_of(directory)
        self.solver.save(folder / "solver")
        content = {
            "coverage": self.coverage, "per": self.per, "outside": self.outside, "fields": list(known.fields),
            "scale": {"kind": _kind(known.scale), "options": known.scale.options()}, "calibration": known.record,
        }  # fmt: skip
        arrays = {"values": known.scores.values, "beyond": known.scores.beyond}
        arrays |= {f"scale_{k}": v for k, v in known.scale.arrays().items()}
        _saved.write_parts(folder, self.name, content, {"calibration": arrays})

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises:
            InputError, FileFormatError: see `Surrogate.load`.
        """
        folder = _saved.folder_of(directory)
        with _saved.reading(folder, cls.name, ("calibration",)) as (content, arrays):
            told = content["scale"]
            stored = arrays["calibration"]
            scale = SCALES[told["kind"]](**told["options"])
            learned = {k.removeprefix("scale_"): v for k, v in stored.items() if k.startswith("scale_")}
            scale = scale.restored(learned) if scale.learns else scale
            scores = Scores(stored["values"], stored["beyond"])
            inner = load(folder / "solver", device)
            found = cls(inner, content["coverage"], content["per"], outside=content["outside"], scale=scale)
            found.calibration = Calibration(tuple(content["fields"]), scale, scores, content["calibration"])
            found.limit = found.guarantee.quantile(scores)
        return found


def promise_in_words(per: str, coverage: float, outside: float = 0.0) -> str:
    """What bands of this kind promise, as a sentence."""
    return guarantee(per, coverage, outside).words


def _kind(scale: Scale) -> str:
    for name, kind in SCALES.items():
        if type(scale) is kind:
            return name
    raise InputError(f"scale: {type(scale).__name__} cannot be named in a file, expected Constant, Local or Spread")


def _scored(solver: Solver, held: CaseTable, scale: Scale) -> tuple[Scores, list[int]]:
    """Scores of the cases of a table, pooled over time, and their numbers in the data set."""
    parts: dict[int, Scores] = {}
    for i, answer, truth in answers(solver, held):
        s = scale(answer)
        with np.errstate(invalid="ignore"):
            residual = np.abs(truth - answer.mean) / np.broadcast_to(s, answer.mean.shape)
        weights = np.tile(answer.weights.ravel(), len(residual))
        parts[i] = Scores.of_case(np.moveaxis(residual, 1, 0).reshape(residual.shape[1], -1), weights)
    if not parts:
        raise InputError("data: no held-out case has two frames, so there is nothing to calibrate on")
    rows = sorted(parts)
    return Scores.joined([parts[i] for i in rows]), held.number[rows].tolist()


__all__ = ["Conformal", "Constant", "Guarantee", "Local", "Scale", "Scores", "Spread"]
