"""A solver that learns: any operator, trained on solutions, on whatever its values live."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr

from sciml import registry
from sciml.contracts import Operator
from sciml.errors import InputError
from sciml.problem import Case, beginning
from sciml.solver import Start, TrainableSolver
from sciml.solvers import _saved
from sciml.solvers._back import Back
from sciml.solvers._by_numbers import ByNumbers
from sciml.solvers._frames import history_of, labelled, start_of, warn_of
from sciml.support import Points, Support
from sciml.training.devices import device as find_device
from sciml.training.encoding import Encoding, Given
from sciml.training.fitting import Fitted, fit_operator, operator_options
from sciml.training.laws import Constraint
from sciml.training.model import Model
from sciml.training.objectives import WithPhysics
from sciml.training.physics.adapting import adapted, check
from sciml.training.recipe import Recipe, Running
from sciml.training.stepping import Stepping

CHUNK = 32  # cases that a rollout carries at once
AT_ONCE = 16384  # points beside its own support that a case is asked at in one application


@registry.solvers.register("surrogate")
class Surrogate(ByNumbers):
    """A learned solver: an operator, how its tensors are made from physical fields, and how it treats time.

    Fields go over the problem's scales for the case and over scales of the training split; the operator is also given
    the problem's dimensionless numbers, standardised over the training split.

    Args:
        operator: a class of `sciml.operators`, or its registered name; built at `fit`, when the data are known.
        stepping: `Steady`, `Autoregressive`, `Window` or `Query` of `sciml.training`; by default `Steady()` for steady
            problems and else what the operator is made for, most often `Autoregressive()`.
        fields: which fields to predict; by default the state fields (steady problems: all its fields).
        constraints: laws of `sciml.training` that every answer obeys, in training too: `DivergenceFree()`, ...
        device: where it answers: "auto" (a GPU where there is one), "cpu", "cuda:1".
        options: further arguments of the operator.
    """

    name = "surrogate"
    #: settings beside the stepping that plans of training may give
    planned = ("fields", "constraints")

    def __init__(
        self,
        operator: type[Operator] | str,
        stepping: Stepping | None = None,
        *,
        fields: Sequence[str] | None = None,
        constraints: Constraint | Sequence[Constraint] = (),
        device: str = "auto",
        **options: Any,
    ):
        if not isinstance(operator, str) and not (isinstance(operator, type) and issubclass(operator, Operator)):
            raise InputError(f"operator: expected a class of sciml.operators or its name, got {operator!r:.80}")
        self.operator_class: type[Operator] = (
            registry.operators.get(operator) if isinstance(operator, str) else operator
        )
        if stepping is not None and not isinstance(stepping, Stepping):
            raise InputError(f"stepping: expected Steady, Autoregressive, Window or Query, got {stepping!r:.80}")
        if fields is not None and (isinstance(fields, str) or not isinstance(fields, Sequence)):
            raise InputError(f"fields: expected names, got {fields!r}")
        self.options = operator_options(self.operator_class, options)
        self.stepping, self.fields = stepping, None if fields is None else tuple(fields)
        self.constraints = _constraints(constraints)
        self.device = find_device(device)
        self.fitted_as: Fitted | None = None

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def history(self) -> int:  # type: ignore[override]
        return max(self.encoding.stepping.past, 1)

    @property
    def every(self) -> int:  # type: ignore[override]
        return self.encoding.stepping.every

    @property
    def _known(self) -> dict[str, Any]:
        e = self.encoding
        found: dict[str, Any] = {"stepping": e.stepping.to_json(), "fields": list(e.fields)}
        return found | ({"constraints": [c.to_json() for c in e.constraints]} if e.constraints else {})

    def settled(self) -> dict[str, Any]:
        """What another surrogate is to be made with to go on from the weights of this one."""
        e = self.encoding
        return {"stepping": e.stepping, "fields": e.fields, "constraints": e.constraints}

    # -- training -----------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        recipe: Recipe | None = None,
        *,
        split: str | None = "train",
        validation: str | None = "validation",
        subset: Sequence[str] | str | None = None,
        running: Running | None = None,
        fresh: bool = False,
        cases: Sequence[Case] = (),
    ) -> Self:
        """Train on a data set; a surrogate that has weights already goes on from them.

        Args:
            data: path of a data set, a data set, or solutions.
            recipe: what determines the result: length, objective, optimiser, augmentations, seed.
            split, validation: names of splits; `validation` may be None or empty.
            subset: train on these subsets only.
            running: how it is done: run directory, resuming, device; changes no result.
            fresh: begin with new weights and scales even where there are some.
            cases: further ones that nobody has solved, which the objective `WithPhysics` teaches by the balances alone;
                with each batch go as many of them as the recipe's `batch` says.

        Returns:
            itself, trained.

        Raises:
            InputError: arguments or data that cannot be used.
            TrainingError: a loss that is not finite.
        """
        running = Running() if running is None else running
        former = None if fresh else self.fitted_as
        with torch.inference_mode(False):
            self.fitted_as = fit_operator(
                self.operator_class, self.options, self.stepping, self.fields, data, recipe or self.default_recipe(),
                running, split=split, validation=validation, subset=subset, former=former,
                cases=tuple(cases), constraints=self.constraints,
            )  # fmt: skip
        return self._settle(running)

    def fine_tuned(
        self,
        case: Case,
        times: Any = None,
        *,
        steps: int = 200,
        lr: float = 1e-3,
        anchor: float = 0.0,
        objective: WithPhysics | None = None,
    ) -> Self:
        """A copy, adapted to one case by the residual of the problem's balances alone: no solution of it is needed.

        Args:
            times: the times up to which the case is wanted; None for steady problems.
            steps, lr: of Adam; the learning rate falls to zero as half a cosine.
            anchor: weight of the mean square distance from what the operator said before, in normalised units.
            objective: which balances count, and how; its own objective and weight have no effect.

        Returns:
            another surrogate; this one stays what it is.

        Raises:
            InputError: a problem without equations, or an operator that does not answer all that they need.
            TrainingError: a residual that is not finite.

        Source: Z. Li et al., Physics-informed neural operator for learning partial differential equations (2021).
        """
        from sciml.solver import check_times

        check(steps, lr, anchor)
        self.require(case)
        f, asked = self._ready(), check_times(case.problem, times)
        objective = WithPhysics() if objective is None else objective
        if not isinstance(objective, WithPhysics):
            raise InputError(f"objective: expected WithPhysics, got {objective!r:.80}")
        with torch.inference_mode(False), torch.enable_grad():
            operator, told = adapted(
                f.operator, f.encoding, self._placed(case, asked), asked, objective, steps=steps, lr=lr, anchor=anchor
            )
        return self._another(f.encoding, operator, fine_tuned=told | {"objective": objective.to_json()})

    def constrained(self, *constraints: Constraint) -> Self:
        """A copy whose answers obey these laws and no others; it was not trained with them.

        Raises:
            InputError: constraints that do not fit the operator or the problem.
        """
        f, held = self._ready(), _constraints(constraints)
        operator = copy.deepcopy(_saved.unwrapped(f.operator))
        return self._another(f.encoding.held_to(held), operator, constrained=[c.to_json() for c in held])

    def _another(self, encoding: Encoding, operator: torch.nn.Module, **noted: Any) -> Self:
        """Another surrogate of the same training, with what was done to it since."""
        f = self._ready()
        found = type(self)(
            self.operator_class, encoding.stepping, fields=encoding.fields, constraints=encoding.constraints,
            device=str(self.device), **self.options,
        )  # fmt: skip
        found.fitted_as = Fitted(encoding, operator, f.recipe, f.record | noted, list(f.metrics))
        return found.to(found.device)

    @staticmethod
    def default_recipe() -> Recipe:
        """What is trained with where nobody says."""
        return Recipe()

    # -- many steps ---------------------------------------------------------------------------------------------

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        e = self.encoding
        times = np.asarray(times, dtype=np.float64).reshape(len(starts), -1)
        if e.step is None:
            raise InputError(f"rollout: {e.problem.name} is steady; use solve")
        parts = [self._rollout(starts[a : a + CHUNK], times[a : a + CHUNK]) for a in range(0, len(starts), CHUNK)]
        for several in zip(*parts, strict=True):
            yield [frame for part in several for frame in part]

    def _rollout(
        self, starts: Sequence[Start], times: np.ndarray, points: np.ndarray | None = None
    ) -> Iterator[list[np.ndarray]]:
        """Frames of several starts; of one alone, at points, where they are given."""
        f = self._ready()
        e, cases, supports = f.encoding, [s.case for s in starts], [s.support for s in starts]
        present = [start.frames[-1] for start in starts]
        model = Model(f.operator, e)
        with torch.no_grad():
            frames = torch.from_numpy(e.starts(starts)).to(self.device)
            given = e.given(cases, supports).to(self.device)
            if points is not None:
                given, frames = self._asked_at(given, frames, starts[0], points)
                present, supports = [supports[0].sample(present[0], points)], [Points(points)]
        back = Back(e, cases, supports, self.device, asked=None if points is None else given)
        if e.stepping.queries:
            begins = [s.beginning[1] for s in starts]
            params = np.stack([e.params(c, np.array([t]))[0] for c, t in zip(cases, begins, strict=True)])
            shares = np.stack([e.share(c, t, b) for c, t, b in zip(cases, times, begins, strict=True)])
            fixed = torch.from_numpy(params).to(self.device)
            for j in range(times.shape[1]):
                with torch.no_grad():
                    share = torch.from_numpy(shares[:, j].copy()).to(self.device)
                    found = model.answer(frames, given, fixed, share)
                yield back(found)
            return
        index = np.stack([e.step.index(c, t, s.time) for c, t, s in zip(cases, times, starts, strict=True)])  # type: ignore[union-attr]
        if index.min(initial=0) < 0:
            raise InputError("times: expected times from that of the frame on")
        s, dts = e.stepping, [e.step.of(c) for c in cases]  # type: ignore[union-attr]
        applications = -(-int(index.max(initial=0)) // s.ahead)
        clocks = [
            start.time + dt * s.ahead * np.arange(applications) for start, dt in zip(starts, dts, strict=True)
        ]  # fmt: skip
        table = [e.params(c, t) for c, t in zip(cases, clocks, strict=True)]
        params = torch.from_numpy(np.stack(table)).to(self.device) if applications else None
        stream = model.rollout(frames, given, lambda k: params[:, k], applications)  # type: ignore[index]
        j, number = 0, 0
        current = [
            np.where(True if s.inside is None else s.inside, frame, 0.0).astype(e.dtype)
            for frame, s in zip(present, supports, strict=True)
        ]
        kept: list[dict[int, np.ndarray]] = [{} for _ in starts]  # frames that some case has before others have theirs
        while j < times.shape[1]:
            for i, known in enumerate(kept):
                if number in index[i, j:]:
                    known[number] = current[i]
            while j < times.shape[1] and all(index[:, j] <= number):
                yield [known[k] for known, k in zip(kept, index[:, j].tolist(), strict=True)]
                j += 1
                if j < times.shape[1]:
                    kept = [{k: v for k, v in known.items() if k >= index[i, j]} for i, known in enumerate(kept)]
            if j < times.shape[1]:
                with torch.no_grad():
                    frame = next(stream)
                number += 1
                current = back(frame)

    # -- the solver interface -----------------------------------------------------------------------------------

    def resume(self, case: Case, frame: Any, times: Any) -> xr.Dataset:
        """The solution at `times` from a given state on; see `Restartable.resume`."""
        from sciml.solver import check_times

        self.require(case)
        e = self.encoding
        checked = check_times(case.problem, times)
        if checked is None:
            raise InputError(f"resume: {case.problem.name} is steady; use solve")
        start = self._history(start_of(case, frame, e.fields), frame)
        warn_of("surrogate", case, e.doubts(case, np.concatenate([[start.time], checked])))
        return self._answer(start, checked, None)

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        return [tuple(range(len(cases)))]

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xr.Dataset]:
        starts = [self._placed(case, t) for case, t in zip(cases, times, strict=True)]
        frames = self._frames(starts, times)
        return [self._labelled(s, t, f) for s, t, f in zip(starts, times, frames, strict=True)]

    def _outside(self, case: Case, points: np.ndarray) -> np.ndarray:
        return super()._outside(case.on(self.encoding.support(case)), points)

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xr.Dataset:
        return self._answer(self._placed(case, times), times, points)

    def _frames(self, starts: Sequence[Start], times: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """The frames of every start, those on supports of one shape in batches."""
        found: dict[int, np.ndarray] = {}
        shapes = [s.support.shape for s in starts]
        for shape in dict.fromkeys(shapes):
            rows = [i for i, s in enumerate(shapes) if s == shape]
            asked = [t for i in rows if (t := times[i]) is not None]
            if not asked:
                found |= {i: self._steady(starts[i]) for i in rows}
                continue
            longest = max(map(len, asked))
            clock = np.stack([np.append(t, np.full(longest - len(t), t[-1])) for t in asked])
            stream = list(self.rollout([starts[i] for i in rows], clock))
            for k, (i, t) in enumerate(zip(rows, asked, strict=True)):
                found[i] = np.stack([frames[k] for frames in stream[: len(t)]])
        return [found[i] for i in range(len(starts))]

    def _placed(self, case: Case, times: np.ndarray | None, begun: float | None = None) -> Start:
        """`_started`; warns of what training never saw."""
        begin = self._started(case, times, begun)
        clock = np.array([begin.time]) if times is None else np.append(begin.time, times)
        warn_of("surrogate", begin.case, self.encoding.doubts(begin.case, clock))
        return begin

    def _started(self, case: Case, times: np.ndarray | None, begun: float | None = None) -> Start:
        """Where a case begins, on the support of its answer; with no frame yet, but at a time, where `begun` is it."""
        e = self.encoding
        support = e.support(case)
        if case.problem.needs_extents and case.extents is None:
            case = replace(case, extents=support.extents, parameters=dict(case.parameters), inputs=dict(case.inputs))
        if begun is not None:
            return Start(case, support, np.zeros((1, len(e.fields), *support.shape)), begun)
        return self._begin(case, support, times)

    def _begin(self, case: Case, support: Support, times: np.ndarray | None) -> Start:
        e = self.encoding
        none = np.zeros((1, len(e.fields), *support.shape))
        if times is None or (e.stepping.queries and not e.sees_start):
            return Start(case, support, none, e.begin(case) if times is not None else 0.0)
        frame = np.stack(list(beginning(case, support, e.fields).values()))
        return Start(case, support, frame[None], 0.0)

    def _history(self, start: Start, frame: xr.Dataset) -> Start:
        """The start with the frames that are whole steps before its last one. Fewer than the model sees where
        the solution does not go back as far."""
        e = self.encoding
        if e.stepping.queries or e.step is None:
            return replace(start, frames=start.frames[-1:])
        return history_of(start, frame, e.step.of(start.case), e.stepping.past)

    def _answer(self, start: Start, times: np.ndarray | None, points: np.ndarray | None) -> xr.Dataset:
        f = self._ready()
        e, support = f.encoding, start.support
        if points is not None and e.anywhere:
            places = range(0, max(len(points), 1), AT_ONCE)
            parts = [self._asked(start, times, points[a : a + AT_ONCE]) for a in places]
            frames, support, points = np.concatenate(parts, axis=-1), Points(points), None
        elif times is None:
            frames = self._steady(start)
        else:
            frames = self._asked(start, times, None)
        if points is not None:
            frames, support = support.sample(frames, points), Points(points)
        return self._labelled(replace(start, support=support), times, frames)

    def _labelled(self, start: Start, times: np.ndarray | None, frames: np.ndarray) -> xr.Dataset:
        e = self.encoding
        return labelled(
            start.case, times, frames.astype(e.dtype), e.fields, start.support, settings=self.settings,
            solver=f"surrogate {self.operator_name}", problem=e.problem,
        )  # fmt: skip

    @torch.no_grad()
    def _steady(self, start: Start, points: np.ndarray | None = None) -> np.ndarray:
        f = self._ready()
        e, support, state = f.encoding, start.support, None
        given = e.given([start.case], [support]).to(self.device)
        if points is not None:
            given, state = self._asked_at(given, None, start, points)
            support = Points(points)
        params = torch.from_numpy(e.params(start.case, np.zeros(1))).to(self.device)
        out = Model(f.operator, e).answer(state, given, params, None)
        return Back(e, [start.case], [support], self.device, asked=None if points is None else given)(out)[0]

    def _asked_at(
        self, given: Given, frames: torch.Tensor | None, start: Start, points: np.ndarray
    ) -> tuple[Given, torch.Tensor | None]:
        """What the operator is given to answer at points, where laws of whole fields have no meaning."""
        e = self.encoding
        if given.laws is not None and not given.laws.pointwise:
            names = ", ".join(type(c).__name__ for c in e.constraints if not c.pointwise)
            raise InputError(f"points: {names} hold whole fields to a law; ask for the case's own support")
        own = given.factor
        given, frames = e.at(given, frames, start.support, points)
        if own is None:
            return given, frames
        found = {n: v.to(own) for n, v in e.ansatz_at(start.case, points).items()}
        if given.coords is not None and given.coords.shape[-1] > len(points):  # answered beside its own points
            found = {n: torch.cat([getattr(given, n), v], -1) for n, v in found.items()}
        return replace(given, **found), frames

    def _asked(self, start: Start, times: np.ndarray | None, points: np.ndarray | None) -> np.ndarray:
        """([time,] field, point): the operator itself asked at the points, all else seen on the case's own support."""
        if times is None:
            return self._steady(start, points)
        return np.stack([frame[0] for frame in self._rollout([start], times[None], points)])

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write weights, supports, settings and metrics into `directory` (made if missing)."""
        _saved.save(self._ready(), self.operator_class, self.options, self.name, directory)

    def export(self, path: str | Path) -> dict[str, Any]:
        """Write one application of the operator as a file that needs nothing of this package: physical units go in and
        come out, all scalings are inside.

        Inputs are named as the fields of the operator's batch. On grids x (batch, channel, *space) are the past frames,
        the oldest first, and static inputs; at points (batch, point, dimension) stand as shares of the domain's
        extents, functions (batch, sensor, channel) are given at the sensors, and residual models also get the `last`
        frame at the points. On clouds the past frames and static inputs are `values` (batch, point, channel) at the
        points, and `weights` (batch, point) those of the quadrature; points of weight 0 are only asked. `params` are
        the problem's dimensionless features as they are, then for `Query` on grids the time, and `scales` (batch,
        field) the problem's scales of the case, which own data lack. The output is y.

        Batch, grid and number of points are open. The grid is fixed, as that of the training data, where it has no more
        points than an FNO needs for its modes, and with extension="carry"; a warning says so where arithmetic with open
        sizes has no form in the file. A program of torch refuses sizes that it was not made for; ONNX answers NaN below
        the least, but may answer wrongly above the most that the file says of itself.

        Args:
            path: where to write, .pt2 (`torch.export.load`, ...) or .onnx (needs the extra `onnx`).

        Returns:
            what the file says of itself, as JSON under "sciml.json" (`extra_files` of .pt2, metadata of ONNX): of every
            input the axes, the sizes ([least, most] of those that are open) and what it holds, in order; the output;
            what the problem says of its features (size_x, ... are lengths of the domain); the encoding; the sensors.

        Raises:
            InputError: another suffix, a place that cannot be written, a package that is missing, an operator that
                takes graphs or functions at any points, or computes what the format has no form for.
        """
        from sciml.solvers import _export  # with torch's compiler, which takes seconds to load

        return _export.export(self._ready(), self.operator_name, path)

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        kind, options, fitted = _saved.load(directory)
        e = fitted.encoding
        found = cls(kind, e.stepping, fields=e.fields, constraints=e.constraints, device=device, **options)
        found.fitted_as = fitted
        return found.to(found.device)


def _constraints(given: Constraint | Sequence[Constraint]) -> tuple[Constraint, ...]:
    found = (given,) if isinstance(given, Constraint) else tuple(given)
    for constraint in found:
        if not isinstance(constraint, Constraint):
            known = ", ".join(Constraint.kinds())
            raise InputError(f"constraints: expected some of {known}, got {constraint!r:.80}")
    return found


def load(directory: str | Path, device: str = "auto") -> Any:
    """Any trained solver from its directory: `sciml.load`.

    Args:
        device: where it answers: "auto" takes a GPU where there is one; linear solvers answer where they are asked, and
            movers on the processor.

    Returns:
        A `TrainableSolver`, or one of `sciml.registry.linear_solvers` or `sciml.registry.movers`.

    Raises:
        InputError, FileFormatError: see `Surrogate.load`.
    """
    config = _saved.read_config(directory)
    name = str(config.get("solver"))
    for table in (registry.linear_solvers, registry.movers):
        if name in table.names():
            other: Any = table.get(name)
            return other.load(directory)
    kind = registry.solvers.get(name)
    if not issubclass(kind, TrainableSolver):
        raise InputError(f"{Path(directory) / 'config.json'}: {config.get('solver')!r} is not a trainable solver")
    return kind.load(directory, device=device)
