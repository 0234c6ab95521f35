"""A learned solver's answers, refined by the residual of the equations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from sciml import registry
from sciml.errors import InputError, is_number, is_whole
from sciml.problem import Case, PDEProblem, Problem
from sciml.solver import Restartable, Start, TrainableSolver, check_times
from sciml.solvers import _saved
from sciml.solvers._frames import labelled, start_of, warn_of
from sciml.solvers._trajectory import Least, Trajectories, spline
from sciml.solvers.pseudospectral import PseudoSpectral
from sciml.solvers.surrogate import Surrogate, load
from sciml.support import Grid
from sciml.training.recipe import Recipe, Running


@dataclass(frozen=True)
class Refined:
    """A trajectory after a start.

    Args:
        times: (frame,).
        frames: (frame, field, *shape), float64.
        before, after: ‖R‖ of the frames that the surrogate gave, window after window, and of these (with those in
            between where there are `substeps`).
    """

    times: np.ndarray
    frames: np.ndarray
    before: float
    after: float


def constants(ratios: Sequence[float]) -> tuple[float, float]:
    """c₁ and c₂ from E/‖R‖ of some trajectories: e^(m ± 3σ) with mean m and deviation σ of the logarithms.

    Raises:
        InputError: fewer than three, or one that is no number > 0.
    """
    if len(ratios) < 3 or not all(r > 0 and math.isfinite(r) for r in ratios):
        raise InputError(f"trajectories: expected at least 3 with finite answers that err, got E/‖R‖ of {list(ratios)}")
    logarithms = np.log(ratios)
    middle, deviation = float(logarithms.mean()), float(logarithms.std(ddof=1))
    return math.exp(middle - 3 * deviation), math.exp(middle + 3 * deviation)


def _bounds(given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    pair = list(given) if isinstance(given, Sequence | np.ndarray) else []
    if len(pair) != 2 or not all(map(is_number, pair)) or not 0 < pair[0] <= pair[1] < math.inf:
        raise InputError(f"bounds: expected two numbers 0 < c₁ ≤ c₂, or None, got {given!r:.80}")
    return float(pair[0]), float(pair[1])


@registry.solvers.register("spectral_refiner")
class SpectralRefiner(TrainableSolver, Restartable):
    """A surrogate whose frames are corrected in Fourier space until the equations hold better:

        min_δ ‖∂t q − N(q)‖²,   q = q̂ + δ,   ‖R‖² = ∫ Σ_k |k|^{2s} |R̂_k(t)|² dt

    q̂ are frames that the surrogate gives and δ is free in every mode of each: what a last layer of spectral
    convolutions with a bias for each mode can add to one trajectory, so that it does not matter which layers came
    before, and any surrogate will do. The time derivative is that of the trajectory itself, of splines through the
    frames, and not what the equations make of a single frame: frames that have nothing to do with one another have a
    large residual. Frames that were known before are never changed.

    `window` frames are corrected at a time, and the surrogate goes on from them: an error is gone before it grows.

    For problems in a periodic box with balances that `PseudoSpectral` takes, on equal cells. Answers have the
    attributes "residual" and "residual_before", ‖R‖ of the answer and of what the surrogate gave; with constants from
    `calibrated` also "energy_error_lower" and "energy_error_upper". A divergence and waves beyond a third of the
    cells, which no state of that solver has, are taken out of the answers.

    Args:
        model: a trained `Surrogate` that predicts all fields that change in time; an untrained one is trained by `fit`.
        window: frames that are corrected together; of `substeps` a multiple, rounded up. The shorter, the closer the
            same work comes to the least residual.
        substeps: frames of these for each of the surrogate's; more where its steps are too long for a derivative.
        order: s. 0 on a velocity without divergence is the norm of L²(0, T; H⁻¹) of the residual of its vorticity, −1
            that of the velocity's own.
        newton, conjugate: steps of Gauss and Newton, and of conjugate gradients in each.
        quadrature: Gauss points between two frames.
        degree: of the splines, where there are enough frames.
        bounds: c₁ and c₂, see `calibrated`.

    Raises:
        InputError: a model or a number that is not as said.

    Source: S. Cao, F. Brarda, R. Li, Y. Xi, "Spectral-Refiner: accurate fine-tuning of spatiotemporal Fourier neural
    operator for turbulent flows", ICLR 2025. There the derivative comes from a short step of the same equations.
    """

    name = "spectral_refiner"

    def __init__(
        self, model: Surrogate, *, window: int = 10, substeps: int = 1, order: float = 0.0, newton: int = 2,
        conjugate: int = 20, quadrature: int = 1, degree: int = 5, bounds: tuple[float, float] | None = None,
    ):  # fmt: skip
        if not isinstance(model, Surrogate):
            raise InputError(f"model: expected a Surrogate, got {type(model).__name__}")
        least = {"window": 1, "substeps": 1, "newton": 0, "conjugate": 1, "quadrature": 1, "degree": 1}
        given = dict(zip(least, (window, substeps, newton, conjugate, quadrature, degree), strict=True))
        for name, value in given.items():
            if not is_whole(value) or value < least[name]:
                raise InputError(f"{name}: expected a whole number from {least[name]} on, got {value!r}")
        if not is_number(order) or abs(order) > 4:
            raise InputError(f"order: expected a number from -4 to 4, got {order!r}")
        self.model, self.window, self.substeps = model, int(window), int(substeps)
        self.how = Least(float(order), int(newton), int(conjugate), int(quadrature), int(degree))
        self.bounds = _bounds(bounds)
        if model.fitted:
            self._check()

    def _check(self) -> None:
        """Refuse a trained model that this cannot refine."""
        e = self.model.encoding
        problem = e.problem
        if not isinstance(problem, PDEProblem) or not PseudoSpectral(8).supports(problem):
            raise InputError(f"model: {problem.name} is no problem in a periodic box that PseudoSpectral solves")
        from sciml.solvers._fourier_stepper import system

        wanted = system(problem).fields
        if set(e.fields) != set(wanted):
            raise InputError(f"model: expected one that predicts {', '.join(wanted)}, got {', '.join(e.fields)}")
        if e.stepping.queries:
            raise InputError("model: expected one that goes from frame to frame, got one that is asked for times")

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"{self.model.title}, refined"

    @property
    def fitted(self) -> bool:
        return self.model.fitted

    @property
    def problem(self) -> Problem | None:
        return self.model.problem

    @property
    def predicted(self) -> tuple[str, ...] | None:
        return self.model.predicted

    @property
    def training(self) -> dict[str, Any]:
        return self.model.training

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.model.metrics

    @property
    def weights(self) -> int:
        return self.model.weights

    @property
    def history(self) -> int:  # type: ignore[override]
        return self.model.history

    @property
    def every(self) -> int:  # type: ignore[override]
        return self.model.every

    @property
    def _options(self) -> dict[str, Any]:
        how = self.how
        found: dict[str, Any] = {
            "window": self.window,
            "substeps": self.substeps,
            "order": how.order,
            "newton": how.newton,
        }
        found |= {"conjugate": how.conjugate, "quadrature": how.quadrature, "degree": how.degree}
        return found | {"bounds": None if self.bounds is None else list(self.bounds)}

    @property
    def settings(self) -> dict[str, Any]:
        return self.model.settings | {"refined": self._options}

    @property
    def identity(self) -> dict[str, Any]:
        return self.model.identity | {"refined": self._options}

    def supports(self, problem: Problem) -> bool:
        return self.model.supports(problem)

    # -- training -----------------------------------------------------------------------------------------------

    def fit(
        self, data: Any, recipe: Recipe | None = None, *, split: str | None = "train",
        validation: str | None = "validation", running: Running | None = None,
    ) -> Self:  # fmt: skip
        """Train the surrogate; the refinement itself has nothing to learn."""
        running = running or Running()
        own = running if running.folder is None else running.replace(out=running.folder / "model")
        self.model.fit(data, recipe, split=split, validation=validation, running=own)
        self._check()
        if running.folder is not None:
            self.save(running.folder)
        return self

    def calibrated(self, starts: Sequence[Start], truths: Sequence[np.ndarray]) -> Self:
        """The same with constants of c₁ ‖R‖ ≤ E ≤ c₂ ‖R‖ between residual and energy error of refined answers, see
        `constants`. They hold for about as many frames as these trajectories have.

        Args:
            starts: where training trajectories begin, at least three.
            truths: (frame, field, *shape) of each, the frames after its start, one of the surrogate's steps apart.

        Raises:
            InputError: too few trajectories, or an answer that is not finite.
        """
        ratios = []
        for start, truth in zip(starts, truths, strict=True):
            found = self.refined(start, len(truth))
            ratios.append(self.energy_error(start, found.frames, truth) / found.after)
        given: dict[str, Any] = {**self._options, "bounds": constants(ratios)}
        return type(self)(self.model, **given)

    # -- trajectories -------------------------------------------------------------------------------------------

    def plain(self, start: Start, count: int) -> np.ndarray:
        """(frame, field, *shape) what the surrogate alone answers, without a divergence and the waves of no state."""
        return self._trajectories(start).projected(self._ahead(start, count))

    def refined(self, start: Start, count: int) -> Refined:
        """`count` frames after a start, one of the surrogate's steps apart. Whole windows are corrected, so that a
        frame does not depend on how many are asked for."""
        r, past = self.substeps, max(self.history, 4)
        t, dt = self._trajectories(start), self._step(start.case)
        known, asked = len(start.frames), -(-self.window // r)
        times, frames = start.time + dt * np.arange(1 - known, 1), t.projected(start.frames)
        whole = list(range(known))  # the frames that are one of the surrogate's steps apart
        end, square = known + count * r, 0.0
        while len(frames) < end:
            now = replace(start, frames=frames[whole[-self.history :]], time=float(times[-1]))
            clock = times[-1] + dt / r * np.arange(1, asked * r + 1)
            ahead = t.projected(self._ahead(now, asked))
            if r > 1:  # frames between those of the surrogate
                seen = np.append(times[-past:], times[-1] + dt * np.arange(1, asked + 1))
                ahead = np.tensordot(
                    spline(seen, self.how.degree)(clock), np.concatenate([frames[-past:], ahead]), axes=1
                )
            there = len(frames[-past:])
            span, found = np.append(times[-past:], clock), np.concatenate([frames[-past:], ahead])
            if np.isfinite(found).all():
                square += t.residual_norm(span, found, there - 1)[: end - len(frames)].sum()
                found = t.refined(span, found, there)[0]
            whole += range(len(frames) - 1 + r, len(frames) + asked * r, r)
            frames, times = np.concatenate([frames, found[there:]]), np.append(times, clock)
        after = t.residual_norm(times[:end], frames[:end], known - 1).sum()
        rows = whole[known : known + count]
        return Refined(times[rows], frames[rows], math.sqrt(square), math.sqrt(after))

    def residual(self, start: Start, frames: np.ndarray) -> float:
        """‖R‖ of frames (frame, field, *shape) after a start, one of the surrogate's steps apart."""
        times, whole = self._joined(start, frames)
        return math.sqrt(self._trajectories(start).residual_norm(times, whole, len(start.frames) - 1).sum())

    def energy_error(self, start: Start, frames: np.ndarray, truth: np.ndarray) -> float:
        """E = (max_t ‖e‖² + 2 ∫ Σ_k λ(k) |ê_k|² dt)^½ of the error e of frames after a start, λ the decay of the
        balances' linear part, νk² and the drag of a flow; ‖·‖ is the root mean square."""
        times, error = self._joined(start, np.asarray(frames) - truth)
        error[: len(start.frames)] = 0.0
        last = len(start.frames) - 1
        return self._trajectories(start).energy_error(times[last:], error[last:])

    def _joined(self, start: Start, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        known = len(start.frames)
        times = start.time + self._step(start.case) * np.arange(1 - known, len(frames) + 1)
        return times, np.concatenate([start.frames, frames]).astype(np.float64)

    def _step(self, case: Case) -> float:
        step = self.model.encoding.step
        assert step is not None
        return step.of(case)

    def _ahead(self, start: Start, count: int) -> np.ndarray:
        """(frame, field, *shape) of the surrogate."""
        times = start.time + self._step(start.case) * np.arange(1, count + 1)
        return np.stack([frames[0] for frames in self.model.rollout([start], times[None])])

    def _trajectories(self, start: Start) -> Trajectories:
        grid = start.support
        if not isinstance(grid, Grid) or not grid.uniform_cells or grid.mask is not None:
            raise InputError(f"{self.name}: expected equal cells without a mask, got {grid!r}")
        return Trajectories(start.case, grid, self.how, self.model.encoding.fields)

    # -- answers ------------------------------------------------------------------------------------------------

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        times = np.asarray(times, np.float64).reshape(len(starts), -1)
        yield from map(list, zip(*(self._at_times(s, t)[0] for s, t in zip(starts, times, strict=True)), strict=True))

    def resume(self, case: Case, frame: Any, times: Any) -> xr.Dataset:
        self.require(case)
        asked = check_times(case.problem, times)
        if asked is None:
            raise InputError(f"resume: {case.problem.name} is steady; use solve")
        e = self.model.encoding
        start = self.model._history(start_of(case, frame, e.fields), frame)
        warn_of(self.name, case, e.doubts(case, np.append(start.time, asked)))
        return self._whole(self._answer(start, asked))

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xr.Dataset]:
        found = []
        for case, asked in zip(cases, times, strict=True):
            assert asked is not None
            found.append(self._answer(self.model._placed(case, asked), asked))
        return found

    def _at_times(self, start: Start, times: np.ndarray) -> tuple[np.ndarray, Refined | None]:
        """Frames at any times from the start on, those between two frames by splines."""
        dt, dtype = self._step(start.case), self.model.encoding.dtype
        count = math.ceil((float(times.max()) - start.time) / dt - 1e-6)
        if float(times.min()) < start.time - 1e-9 * abs(start.time):
            raise InputError("times: expected times from that of the frame on")
        if count < 1:
            return np.repeat(start.frames[-1:], len(times), 0).astype(dtype), None
        found = self.refined(start, count)
        clock = np.append(start.time, found.times)
        whole = np.concatenate([start.frames[-1:], found.frames])
        place = (times - start.time) / dt
        near = np.clip(np.rint(place).astype(int), 0, count)
        frames = whole[near]
        between = np.abs(place - near) > 1e-4
        if between.any():
            frames[between] = np.tensordot(spline(clock, self.how.degree)(times[between]), whole, 1)
        return frames.astype(dtype), found

    def _answer(self, start: Start, times: np.ndarray) -> xr.Dataset:
        e = self.model.encoding
        frames, found = self._at_times(start, times)
        answer = labelled(
            start.case, times, frames, e.fields, start.support, settings=self.settings,
            solver=f"{self.name} {self.model.operator_name}", problem=e.problem,
        )  # fmt: skip
        if found is None:
            return answer
        told = {"residual": found.after, "residual_before": found.before}
        if self.bounds is not None:
            told |= {f"energy_error_{n}": c * found.after for n, c in zip(("lower", "upper"), self.bounds, strict=True)}
        return answer.assign_attrs(told)

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write the surrogate into `directory`/model, and how it is refined beside it."""
        folder = _saved.folder_of(directory)
        self.model.save(folder / "model")
        _saved.write_parts(folder, self.name, {"refined": self._options}, {})

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises:
            InputError, FileFormatError: see `Surrogate.load`.
        """
        folder = _saved.folder_of(directory)
        with _saved.reading(folder, cls.name) as (config, _):
            return cls(load(folder / "model", device), **config["refined"])
