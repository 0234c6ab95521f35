"""Whether error bars hold: how much of the truth lies in its bands, over held-out cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sciml.errors import InputError, is_whole
from sciml.solver import Solver
from sciml.solvers._calibration import Scores, guarantee
from sciml.solvers._held_out import solutions, stacked, true_frames
from sciml.support import support_of
from sciml.training.samples import CaseTable, open_data, table

if TYPE_CHECKING:
    from jaxtyping import Float

_EDGE = 1 + 1e-5  # bands are stored in single precision


@dataclass(frozen=True, eq=False)
class Coverage:
    """How bands did on held-out cases.

    Args:
        nominal: what was promised, between 0 and 1.
        per: of what: "point" or "field"; `outside`: share of a field that may lie outside.
        fields: names.
        number: (C,) of the cases in the data.
        ratios: |u − middle of the band| over half of its width, as shares of each field by quadrature.
        width: (C, field) mean width by quadrature (and over time), in the field's unit.
        size: (C, field) root mean square of the truth.
    """

    nominal: float
    per: str
    outside: float
    fields: tuple[str, ...]
    number: np.ndarray
    ratios: Scores
    width: Float[np.ndarray, "case field"]
    size: Float[np.ndarray, "case field"]

    @property
    def shares(self) -> Float[np.ndarray, "case field"]:
        """Of each field by quadrature, what lies in its band."""
        return 1.0 - self.ratios.missed(_EDGE)

    @property
    def point(self) -> dict[str, float]:
        """The mean over cases of the share of a field that lies in its band."""
        return self._named(self.shares.mean(axis=0))

    @property
    def field(self) -> dict[str, float]:
        """The share of cases whose whole field lies in its band, but for a share `outside` of it."""
        return self._named((self.shares >= 1.0 - self.outside - 1e-9).mean(axis=0))

    def widened(self, factors: Sequence[float]) -> list[float]:
        """What is promised, had the bands of each field been so many times as wide."""
        limit = np.asarray(factors, np.float64) * _EDGE
        return guarantee(self.per, self.nominal, self.outside).covered(self.ratios, limit).mean(axis=0).tolist()

    @property
    def promised(self) -> dict[str, float]:
        """That of the two which `nominal` is about."""
        return self.field if self.per == "field" else self.point

    @property
    def widths(self) -> dict[str, float]:
        """The mean width of bands, in the field's unit."""
        return self._named(self.width.mean(axis=0))

    @property
    def relative_widths(self) -> dict[str, float]:
        """The mean width over the root mean square of the truth, both over all cases."""
        size = np.sqrt((self.size**2).mean(axis=0))
        return self._named(self.width.mean(axis=0) / np.where(size > 0, size, np.nan))

    def _named(self, values: np.ndarray) -> dict[str, float]:
        return dict(zip(self.fields, map(float, values), strict=True))

    def to_json(self) -> dict[str, Any]:
        return {
            "nominal": self.nominal, "per": self.per, "outside": self.outside, "cases": len(self.number),
            "per_point": self.point, "per_field": self.field, "mean_width": self.widths,
            "mean_width_over_rms": self.relative_widths,
        }  # fmt: skip


def coverage(solver: Any, data: Any, *, split: str | None = "test", nominal: float | None = None) -> Coverage:
    """Hold the bands of a solver's answers against the truth.

    In time, answers go on from the first true frame of a case, and a field is all that comes after it.

    Args:
        solver: one that gives intervals (`Conformal`) or `<field>_std` (`Ensemble`), or its solutions, one for each
            case of the split in the order of the data.
        data: path of a data set, a data set or solutions, with the truth.
        split: held-out cases; None for all.
        nominal: where answers give `<field>_std` alone, bands are û ± z σ with the normal quantile z of this coverage;
            by default 0.9.

    Raises:
        InputError: no case, or answers without bands.
    """
    fields = getattr(solver, "predicted", None)
    held = table(open_data(data)[0], split, fields)
    if not held.cases:
        raise InputError(f"split: no case of the data set is in split {split!r}")
    if nominal is not None:
        guarantee("point", nominal, 0.0)
    if isinstance(solver, Solver):
        if not (solver.gives_intervals or solver.gives_std):
            raise InputError(f"solver: {solver.title or solver.name} gives no error bars; wrap it in Conformal")
        found = solutions(solver, held)
    else:
        found = _given(solver, held)
    about, rows, ratios, widths, sizes = {}, [], [], [], []
    for i, solution in found:
        bands, about = _bands(solution, held.fields, nominal)
        own, support = support_of(held.cases[i], solution, 0), held.support(i)
        onto = own.map_onto(support)
        lower, upper = (onto(stacked(bands, [f"{n}_{end}" for n in held.fields], own)) for end in ("lower", "upper"))
        truth = true_frames(held, i, solution)
        w = support.weights() / support.weights().sum()
        half, middle = (upper - lower) / 2, (upper + lower) / 2
        error = np.abs(truth - middle)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(error == 0, 0.0, error / half)  # an answer that is no number is not inside
        axes = tuple(range(2, ratio.ndim))
        flat = np.moveaxis(ratio, 1, 0).reshape(ratio.shape[1], -1)
        ratios.append(Scores.of_case(flat, np.tile(w.ravel(), len(ratio))))
        widths.append((2 * half * w).sum(axis=axes).mean(axis=0))
        sizes.append(np.sqrt((truth**2 * w).sum(axis=axes).mean(axis=0)))
        rows.append(i)
    if not rows:
        raise InputError("data: no held-out case has two frames")
    return Coverage(
        float(about["coverage"]), str(about["coverage_per"]), float(about["coverage_outside"]), held.fields,
        held.number[rows], Scores.joined(ratios), np.stack(widths), np.stack(sizes),
    )  # fmt: skip


def _given(found: Any, held: CaseTable) -> Iterator[tuple[int, xr.Dataset]]:
    several = [found] if isinstance(found, xr.Dataset) else found
    if not isinstance(several, Sequence) or not all(isinstance(s, xr.Dataset) for s in several):
        raise InputError(f"solver: expected a solver with error bars, or solutions, got {type(found).__name__}")
    if len(several) != len(held.cases):
        raise InputError(f"solver: expected {len(held.cases)} solutions, one a held-out case, got {len(several)}")
    yield from enumerate(several)


def _bands(found: xr.Dataset, fields: Sequence[str], nominal: float | None) -> tuple[xr.Dataset, dict[str, Any]]:
    """The solution with lower and upper ends of all fields, and what is promised of them.

    Raises:
        InputError: it has neither these nor standard deviations.
    """
    plain = {"coverage_per": "point", "coverage_outside": 0.0}
    if all(f"{n}_{end}" in found for n in fields for end in ("lower", "upper")):
        note = found[f"{fields[0]}_lower"].attrs
        told = {k: note[k] for k in ("coverage", *plain) if k in note}
        if "coverage" not in told:
            raise InputError(f"solver: {fields[0]}_lower lacks the attribute 'coverage'")
        return found, plain | told
    share = 0.9 if nominal is None else nominal
    if not all(f"{n}_std" in found for n in fields):
        raise InputError(f"solver: its solutions have no error bars for {', '.join(fields)}")
    z = NormalDist().inv_cdf((1 + share) / 2)
    added = {
        f"{n}_{end}": found[n] + sign * z * found[f"{n}_std"]
        for n in fields
        for end, sign in (("lower", -1.0), ("upper", 1.0))
    }
    return found.assign(added), plain | {"coverage": share}


def resplits(
    scores: Scores, coverage: float = 0.9, per: str = "point", *, outside: float = 0.0, count: int = 100,
    share: float = 0.5, seed: int = 0,
) -> Float[np.ndarray, "split field"]:  # fmt: skip
    """Coverage of many calibrations, from stored scores, without solving again: in each of `count` random splits λ is
    taken from a share of the cases, and tried on the others.

    The mean over splits is what `coverage` is to be compared with; single ones scatter as few cases do.

    Args:
        scores: of held-out cases that the scale did not learn from: `Conformal.score(data, split)[0]`.
        coverage, per, outside: the promise; see `Conformal`.
        count: of splits.
        share: of the cases that calibrate.
        seed: of the splits.

    Raises:
        InputError: numbers out of range, or fewer cases than the promise needs.
    """
    promise = guarantee(per, coverage, outside)
    if not is_whole(count) or count < 1:
        raise InputError(f"count: expected a whole number >= 1, got {count!r}")
    if not 0 < share < 1:
        raise InputError(f"share: expected a number between 0 and 1, got {share!r}")
    rng, n = np.random.default_rng(seed), len(scores)
    calibrating = round(share * n)
    if not 0 < calibrating < n:
        raise InputError(f"scores: {n} cases cannot be split in shares of {share:g}")
    found = []
    for _ in range(int(count)):
        order = rng.permutation(n)
        first, rest = scores[order[:calibrating]], scores[order[calibrating:]]
        found.append(promise.covered(rest, promise.quantile(first)).mean(axis=0))
    return np.stack(found)
