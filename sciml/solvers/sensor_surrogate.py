"""A solver that learns fields from what sparse sensors measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr

from sciml import registry
from sciml.contracts import Operator, SensorBatch
from sciml.errors import InputError
from sciml.problem import Case, Problem, beginning
from sciml.solver import Restartable, Start, check_points, check_times
from sciml.solvers import _saved
from sciml.solvers._frames import labelled, start_of, warn_of
from sciml.solvers._trained import OfEncoding
from sciml.solvers.pinn._observed import observed
from sciml.support import Points, Support
from sciml.training.callbacks import read_metrics
from sciml.training.checkpoint import plain
from sciml.training.devices import device as find_device
from sciml.training.fitting import anew, operator_options
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Recipe, Running
from sciml.training.sensors import FittedSensors, SensorEncoding, Sensors, fit_sensors

AT_ONCE = 16384  # queries


@registry.solvers.register("sensor_surrogate")
class SensorSurrogate(OfEncoding[SensorEncoding], Restartable):
    """A learned solver that is told what sensors measured, at any places and instants, and answers at any others.

        u(x, t) = operator({s_j(t_k) : t_k ≤ t}; x, t, dimensionless numbers)

    It is trained on whole frames, of which every sample shows some points at some instants, irregular ones, and asks
    for others (`sciml.training.sensors.Sensors`). `reconstruct` answers from measurements; `resume` and `solve` show it
    the points of a given frame, or of how the case begins, at `share`'s upper end, and forecast. Beyond the last
    instant sensors see nothing, but their states move on.

    Args:
        operator: a class of `sciml.operators` that takes `SensorBatch`, or its registered name.
        share: least and largest share of points that are sensors in training.
        instants: at which they measure in a sample.
        gap: frames between two instants, at most.
        queries: in a sample.
        fields: that are measured and answered; the problem's state by default.
        device: "auto", "cpu", "cuda", ...
        options: further arguments of the operator.

    Raises:
        InputError: an argument out of range, an operator that takes something else.

    Source: S. Janny, M. Nadri, J. Digne, C. Wolf, ICLR (2024); see `ContinuousFromSparse`.
    """

    name = "sensor_surrogate"
    #: settings that plans of training may give
    planned = ("fields", "share", "instants", "gap", "queries")

    def __init__(
        self,
        operator: type[Operator] | str = "continuous_from_sparse",
        *,
        share: tuple[float, float] = (0.05, 0.25),
        instants: int = 8,
        gap: int = 6,
        queries: int = 256,
        fields: Sequence[str] | None = None,
        stepping: None = None,
        device: str = "auto",
        **options: Any,
    ):
        kind = registry.operators.get(operator) if isinstance(operator, str) else operator
        if not (isinstance(kind, type) and issubclass(kind, Operator)):
            raise InputError(f"operator: expected a class of sciml.operators or its name, got {operator!r:.80}")
        if not issubclass(kind.takes, SensorBatch):
            raise InputError(f"operator: {kind.name} takes no sensors, expected continuous_from_sparse")
        if stepping is not None:
            raise InputError(f"stepping: {kind.name} answers at any time, expected none, got {stepping!r:.80}")
        if fields is not None and (isinstance(fields, str) or not isinstance(fields, Sequence)):
            raise InputError(f"fields: expected names, got {fields!r:.80}")
        self.operator_class: type[Operator] = kind
        self.sensors = Sensors(share, instants, gap, queries)
        self.fields = None if fields is None else tuple(fields)
        self.options = operator_options(kind, options)
        self.device = find_device(device)
        self.fitted_as: FittedSensors | None = None

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def _set(self) -> dict[str, Any]:
        return plain(asdict(self.sensors))

    def supports(self, problem: Problem) -> bool:
        return not problem.steady if self.fitted_as is None else super().supports(problem)

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
    ) -> Self:
        """Train on a data set; a surrogate that has weights already goes on from them.

        Args:
            data: path of a data set, a data set, or solutions, on a grid or on nodes that stay.
            recipe: what determines the result; `default_recipe()` by default.
            split, validation: names of splits; `validation` may be None or empty.
            subset: train on these subsets only.
            running: how it is done: run directory, resuming, device; changes no result.
            fresh: begin with new weights and scales even where there are some.

        Returns:
            itself, trained.

        Raises:
            InputError: arguments or data that cannot be used.
            TrainingError: a loss that is not finite.
        """
        running = Running() if running is None else running
        former = None if fresh else self.fitted_as
        with torch.inference_mode(False):
            self.fitted_as = fit_sensors(
                self.operator_class, self.options, self.sensors, self.fields, data,
                self.default_recipe() if recipe is None else recipe, running, split=split, validation=validation,
                subset=subset, former=former,
            )  # fmt: skip
        return self._settle(running)

    @staticmethod
    def default_recipe() -> Recipe:
        """What is trained with where nobody says."""
        return Recipe(batch=8, optimiser=AdamW(lr=2e-3, average=0.99))

    # -- from measurements --------------------------------------------------------------------------------------

    def reconstruct(self, case: Case, observations: Any, times: Any, points: Any = None) -> xr.Dataset:
        """The solution from what sensors measured; each answer from what was measured by its time, and from
        where all sensors are, also those that measure later.

        Args:
            case: which case; its `support`, or else `points`, says where answers are wanted.
            observations: a mapping with "points", (N, D + 1), time last, and (N,) values of every field; a row is left
                out of it where one of its values is not finite; of several at one place and instant counts the mean.
                Or a solution, each of whose points is a sensor.
            times: at which answers are wanted, increasing, none before the first measurement.
            points: (M, D) at which they are wanted; by default where the case lives.

        Returns:
            The solution at these times.

        Raises:
            InputError: observations or times that cannot be used.
        """
        self.require(case)
        e, asked, places = self.encoding, check_times(case.problem, times), check_points(case, points)
        assert asked is not None
        at, fields = observed(case, observations)
        missing = [n for n in e.fields if n not in fields]
        if missing:
            raise InputError(f"observations: {', '.join(missing)}: expected values of every field, got none")
        values = np.stack([fields[n] for n in e.fields], -1)
        whole = np.isfinite(values).all(-1)
        if not whole.any():
            raise InputError("observations: expected a point with finite values of every field, got none")
        at, values = at[whole], values[whole]
        instants, k = np.unique(at[:, -1], return_inverse=True)
        sensors, j = np.unique(at[:, :-1], axis=0, return_inverse=True)
        k, j = k.reshape(-1), j.reshape(-1)
        table, seen = np.zeros((len(instants), len(sensors), len(e.fields))), np.zeros((len(instants), len(sensors)))
        np.add.at(table, (k, j), values)
        np.add.at(seen, (k, j), 1.0)
        table, seen = table / np.maximum(seen, 1.0)[..., None], np.minimum(seen, 1.0)
        support: Support
        if places is not None:
            support = Points(places)
        elif case.support is not None:
            support = case.support
        else:
            raise InputError("points: expected places, as the case does not say where it lives")
        frames = self._answers(case, support, (table, seen, sensors, instants), asked)
        self._warn(case, float(instants[0]))
        return labelled(
            case if places is None else case.on(support), asked, frames, e.fields, support,
            solver=f"{self.name} {self.operator_name}", settings=self.settings,
        )  # fmt: skip

    def _answers(self, case: Case, support: Support, told: tuple[np.ndarray, ...], times: np.ndarray) -> np.ndarray:
        """(time, field, *shape) physical, from (values, seen, sensors, instants)."""
        e, operator = self.encoding, self.operator
        values, seen, sensors, instants = told
        unit, first = e.unit.of(case), float(instants[0])
        slack = 1e-6 * unit
        if len(times) and times.min() < first - slack:
            raise InputError(f"times: expected times from the first measurement at {first:g} on, got {times.min():g}")
        last = float(instants[-1])
        more = last + unit * np.arange(1, max(0, int(np.ceil((times.max(initial=last) - last) / unit - 1e-6))) + 1)
        scaled = e.normalise(case, values)
        scaled = np.concatenate([scaled, np.zeros((len(more), *scaled.shape[1:]))])
        seen = np.concatenate([seen, np.zeros((len(more), seen.shape[1]))])
        clock = (np.append(instants, more) - first) / unit
        inside = np.ones(support.size, bool) if support.inside is None else support.inside.reshape(-1)
        where = e.places(case, support.points().reshape(-1, support.dimensions)[inside], support)
        when = np.maximum((times - first) / unit, 0.0)
        queries = np.concatenate(
            [np.tile(where, (len(when), 1)), np.repeat(when, len(where))[:, None]], axis=1
        )  # fmt: skip
        known = (scaled, seen, e.places(case, sensors, support), clock)
        params, found = e.params(case, first), []
        for start in range(0, len(queries), AT_ONCE):
            batch = e.batch(*(a[None] for a in (*known, queries[start : start + AT_ONCE], params)))
            with torch.inference_mode():
                found.append(operator(**batch.to(self.device).arguments())[0].cpu().double().numpy())
        answer = e.restore(case, np.concatenate(found)).reshape(len(when), len(where), -1)
        frames = np.zeros((len(when), len(e.fields), support.size))
        frames[:, :, inside] = np.moveaxis(answer, 2, 1)
        return frames.reshape(len(when), len(e.fields), *support.shape).astype(e.dtype)

    def _warn(self, case: Case, start: float) -> None:
        warn_of("sensor surrogate", case, self.encoding.doubts(case, start))

    # -- the solver interface -----------------------------------------------------------------------------------

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        times = np.asarray(times, dtype=np.float64).reshape(len(starts), -1)
        each = [self._forecast(self._ordered(s), t) for s, t in zip(starts, times, strict=True)]
        for k in range(times.shape[1]):
            yield [frames[k] for frames in each]

    def _ordered(self, start: Start) -> Start:
        """The start with its last frame, and fields in this solver's order."""
        e = self.encoding
        self.require(start.case)
        names = start.fields or e.fields
        for name in e.fields:
            if name not in names:
                raise InputError(f"starts: have fields {', '.join(names)}; {name!r} is missing")
        return replace(start, frames=start.frames[-1:, [names.index(n) for n in e.fields]], fields=e.fields)

    def _forecast(self, start: Start, times: np.ndarray) -> np.ndarray:
        """From the sensors that stand on a frame: the same points for all frames on one support."""
        support, (_, most) = start.support, self.encoding.sensors.share
        inside = np.arange(support.size) if support.inside is None else np.flatnonzero(support.inside)
        draw = np.random.Generator(np.random.Philox(np.random.SeedSequence([len(inside)])))
        chosen = inside[np.sort(draw.permutation(len(inside))[: max(1, round(most * len(inside)))])]
        values = start.frames[-1].reshape(start.frames.shape[1], -1)[:, chosen].T
        sensors = support.points().reshape(-1, support.dimensions)[chosen]
        told = (values[None], np.ones((1, len(chosen))), sensors, np.array([start.time]))
        return self._answers(start.case, support, told, times)

    def resume(self, case: Case, frame: Any, times: Any) -> xr.Dataset:
        """The solution at `times` from sensors on a given state; see `Restartable.resume`."""
        self.require(case)
        asked = check_times(case.problem, times)
        assert asked is not None
        return self._whole(self._labelled(start_of(case, frame, self.encoding.fields), asked))

    def _solve(self, case: Case, times: np.ndarray | None) -> xr.Dataset:
        assert times is not None
        if case.support is None:
            raise InputError("case: expected one that says where it lives, as sensors do; give case.on(support)")
        first = np.stack(list(beginning(case, case.support, self.encoding.fields).values()))
        return self._labelled(Start(case, case.support, first[None], 0.0), times)

    def _labelled(self, start: Start, times: np.ndarray) -> xr.Dataset:
        self._warn(start.case, start.time)
        frames = self._forecast(self._ordered(start), times)
        return labelled(
            start.case, times, frames, self.encoding.fields, start.support,
            solver=f"{self.name} {self.operator_name}", settings=self.settings, problem=self.encoding.problem,
        )  # fmt: skip

    def settled(self) -> dict[str, Any]:
        """What another surrogate is to be made with to go on from the weights of this one."""
        s = self.sensors
        given = {"share": s.share, "instants": s.instants, "gap": s.gap, "queries": s.queries}
        return {"stepping": None, "fields": self.fields} | given

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write weights, settings and metrics into `directory` (made if missing)."""
        f = self._ready()
        content = {
            "fields": None if self.fields is None else list(self.fields),
            "encoding": f.encoding.to_json(),
        }  # fmt: skip
        self._write(directory, content)

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        folder = _saved.folder_of(directory)
        with _saved.reading(folder, cls.name, ("weights",)) as (config, parts):
            e = SensorEncoding.from_json(config["encoding"])
            kind = registry.operators.get(str(config["operator"]))
            found = cls(kind, **asdict(e.sensors), fields=config["fields"], device=device, **config["options"])
            operator = anew(kind, config["operator_config"], e)
            _saved.restore(operator, parts["weights"], folder)
            recipe = Recipe.from_json(config["training"]["recipe"])
            metrics = read_metrics(folder / "metrics.jsonl")
            found.fitted_as = FittedSensors(e, operator, recipe, dict(config["training"]), metrics)
        return found.to(found.device)
