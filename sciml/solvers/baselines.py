"""Answers without training: what a surrogate has to beat to be worth its own.

Each is a solver with `fit(data)` that goes on from any given frame, as `Surrogate` does, so that one evaluation serves
all; on grids, on nodes, for problems in time and steady ones. A steady problem has one frame, the answer, and no
rollouts. `save` and `load` are those of any trained solver.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from sciml import registry
from sciml.errors import InputError
from sciml.problem import Case, Problem, beginning, rebuild
from sciml.solver import Restartable, Start, TrainableSolver, check_times
from sciml.solvers import _saved
from sciml.solvers._alignment import Clock, Layout, Map
from sciml.solvers._frames import labelled, start_of, warn_of
from sciml.support import Grid, Points, Support
from sciml.training.samples import CaseTable, open_data, table


class Baseline(TrainableSolver, Restartable):
    """Abstract: what the baselines share. They answer on the support of the case, else on that of the training data."""

    problem: Problem | None = None  # type: ignore[assignment]

    alone = True
    steady = True  # whether it has an answer to steady problems
    sees_start = True  # whether the answer depends on how a case begins

    def __init__(self) -> None:
        self.problem = None
        self.fields: tuple[str, ...] = ()
        self.cases = 0
        self.record: dict[str, Any] = {}

    @property
    def fitted(self) -> bool:
        return self.problem is not None

    @property
    def predicted(self) -> tuple[str, ...] | None:
        return self.fields or None

    @property
    def training(self) -> dict[str, Any]:
        return self.record

    def fit(
        self, data: Any, recipe: Any = None, *, split: str | None = "train", validation: str | None = None,
        running: Any = None, fields: Sequence[str] | None = None,
    ) -> Self:  # fmt: skip
        """Take what is needed from the training split.

        Args:
            data: path of a data set, data set or solutions.
            recipe, validation: there is nothing to choose, and no validation case is looked at.
            running: its folder, where it names one, is where the result is saved.
            fields: which fields to answer with; by default the state fields (steady problems: all its fields).
        """
        dataset, path = open_data(data)
        train = table(dataset, split, fields)
        if not train.cases:
            raise InputError(f"split: no case of the data set is in split {split!r}")
        if train.problem.steady and not self.steady:
            raise InputError(f"{self.name}: {train.problem.name} is steady, expected a problem in time")
        self.fields, self.cases, self.layout = train.fields, len(train.cases), Layout.of(train)
        self._learn(train)
        self.problem = train.problem
        self.record = {
            "split": split, "data": None if path is None else path.name, "cases": self.cases,
            "frames": int(train.length.sum()), **self._more(),
        }  # fmt: skip
        if running is not None and running.folder is not None:
            self.save(running.folder)
        return self

    def _learn(self, train: CaseTable) -> None: ...

    def _more(self) -> dict[str, Any]:
        """What else is to be recorded of training."""
        return {}

    # -- files --------------------------------------------------------------------------------------------------

    def _arrays(self) -> dict[str, np.ndarray]:
        """What was learned, as arrays."""
        return {}

    def _values(self) -> dict[str, Any]:
        """What was learned, as JSON values."""
        return {}

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        """Take back what `_arrays` and `_values` gave."""

    def save(self, directory: str | Path) -> None:
        """Write what was learned into `directory` (made if missing)."""
        problem, t = self._fitted(), self.layout
        layout = {"shared": t.shared, "mixed": t.mixed, "masked": t.masked}
        content = {
            **problem.to_attrs(), "options": problem.options, "fields": list(self.fields), "training": self.record,
            "layout": layout, "learned": self._values(),
        }  # fmt: skip
        places = {k: v.numpy() for k, v in _saved.places_of(t.template).items()}
        name = registry.solvers.name_of(type(self))
        _saved.write_parts(directory, name, content, {"support": places, "learned": self._arrays()})

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote; answers are computed on the CPU, whatever the device.

        Raises:
            InputError, FileFormatError: see `Surrogate.load`.
        """
        where = str(_saved.folder_of(directory) / "support.safetensors")
        name = registry.solvers.name_of(cls)
        with _saved.reading(directory, name, ("support", "learned")) as (config, arrays):
            found = cls()
            found.problem = rebuild(config, config["options"])
            found.fields, found.record = tuple(config["fields"]), dict(config["training"])
            found.cases = int(found.record["cases"])
            template, _ = _saved.template_of(arrays["support"], where)
            found.layout = Layout(template, **{k: bool(v) for k, v in config["layout"].items()})
            found._restore(arrays["learned"], config["learned"])
        return found

    def supports(self, problem: Problem) -> bool:
        return self.problem is None or problem.same(self.problem)

    def _fitted(self) -> Problem:
        if self.problem is None:
            raise InputError(f"{self.name}: has seen no data; call fit first")
        return self.problem

    # -- answers ------------------------------------------------------------------------------------------------

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        problem = self._fitted()
        if problem.steady:
            raise InputError(f"rollout: {problem.name} is steady; use solve")
        times = np.asarray(times, dtype=np.float64).reshape(len(starts), -1)
        for start, asked in zip(starts, times, strict=True):
            if asked.size and asked[0] < start.time - 1e-6 * abs(start.time):
                raise InputError(f"times: expected times from that of the frame on, {start.time:g}, got {asked[0]:g}")
        return self._rollout(starts, times)

    @abstractmethod
    def _rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]: ...

    def _answer(self, case: Case, support: Support) -> np.ndarray:
        """(field, *shape): the solution of a steady problem."""
        raise InputError(f"{self.name}: {case.problem.name} is steady, expected a problem in time")

    def resume(self, case: Case, frame: Any, times: Any) -> xr.Dataset:
        """The solution at `times` from a given state on; see `Restartable.resume`."""
        self.require(case)
        self._fitted()
        start, asked = self._history(start_of(case, frame, self.fields), frame), check_times(case.problem, times)
        self._warn(start, asked)
        return self._whole(self._labelled(start, asked, None))

    def _history(self, start: Start, frame: xr.Dataset) -> Start:
        """The start with those frames of a solution that this goes by."""
        return start

    def _warn(self, start: Start, times: np.ndarray | None) -> None:
        warn_of(self.name, start.case, self._doubts(replace(start, case=self._placed(start)), times))

    @staticmethod
    def _placed(start: Start) -> Case:
        """The case, on the support of its start where it has none of its own."""
        return start.case if start.case.support is not None else start.case.on(start.support)

    def _doubts(self, start: Start, times: np.ndarray | None) -> list[str]:
        """Why an answer is not to be relied on, in words: what training never saw."""
        return []

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xr.Dataset]:
        return [self._labelled(self._begun(c, t), t, None) for c, t in zip(cases, times, strict=True)]

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xr.Dataset:
        return self._labelled(self._begun(case, times), times, points)

    def _begun(self, case: Case, times: np.ndarray | None) -> Start:
        """`_begins_at`; warns of what training never saw."""
        start = self._begins_at(case, times)
        self._warn(start, times)
        return start

    def _begins_at(self, case: Case, times: np.ndarray | None) -> Start:
        self._fitted()
        support = self.layout.support(case, self.name)
        none = np.zeros((0, len(self.fields), *support.shape))
        if times is None:
            return Start(case, support, none)
        try:
            return Start(case, support, self._initial(case, support)[None], 0.0)
        except InputError:
            if self.sees_start:
                raise
            return Start(case, support, none, float(times[0]))

    def _labelled(self, start: Start, times: np.ndarray | None, points: np.ndarray | None) -> xr.Dataset:
        case, support = start.case, start.support
        if times is None:
            frames = self._answer(case, support)
        else:
            frames = np.stack([frame[0] for frame in self.rollout([start], times[None])])
        if points is not None:
            frames, support = support.sample(frames, points), Points(points)
        return labelled(
            case, times, frames.astype(np.float32), self.fields, support, solver=self.name, settings=self.settings
        )

    # -- cases --------------------------------------------------------------------------------------------------

    def _initial(self, case: Case, support: Support) -> np.ndarray:
        """(field, *shape) at time zero, physical.

        Raises:
            InputError: the problem does not say how its cases begin.
        """
        if not isinstance(support, Grid):
            raise InputError(
                f"{self.name}: {case.problem.name} does not say how a case begins on nodes; use resume(case, frame, "
                "times) from a known frame"
            )
        return np.stack(list(beginning(case, support, self.fields).values()))

    def _scale(self, case: Case, support: Support) -> np.ndarray:
        """(field, 1, ...) the problem's scales."""
        found = case.scales.fields
        return np.array([found.get(n, 1.0) for n in self.fields]).reshape(-1, *[1] * len(support.shape))


@registry.solvers.register("persistence")
class Persistence(Baseline):
    """Nothing changes: û(t) = u(start)."""

    name = "persistence"
    title = "persistence"
    steady = False

    def _rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        for _ in range(times.shape[1]):
            yield [np.array(s.frames[-1]) for s in starts]


class Trajectories(Baseline):
    """Abstract: made from whole training trajectories in the problem's scales, at the same times and places.

    Between frames of the training data answers are linear in time; beyond the longest training case its last frame
    stays.
    """

    clock: Clock | None  # None for steady problems

    def _aligned(self, train: CaseTable) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Of each training case (frame, field, *template.shape), as far as it goes, and where it has values."""
        for i, case in enumerate(train.cases):
            support, layout = train.support(i), self.layout
            frames = layout.into(support)(train.frames(i))
            if self.clock is not None and train.times is not None:
                frames = self.clock.sampled(case, train.times[i], frames)
            yield frames, support.inside if layout.alike(support) else layout.template.inside

    def _learn(self, train: CaseTable) -> None:
        self.clock = None if train.times is None else Clock.common(train, self.name)
        self._take(train)

    @abstractmethod
    def _take(self, train: CaseTable) -> None: ...

    def _values(self) -> dict[str, Any]:
        clock = self.clock
        known = None if clock is None else {"nondimensional": clock.nondimensional, "times": clock.times.tolist()}
        return {"clock": known}

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        known = values["clock"]
        self.clock = None if known is None else Clock(bool(known["nondimensional"]), np.array(known["times"], float))

    @abstractmethod
    def _known(self, starts: Sequence[Start]) -> Any:
        """What is computed once for several starts."""

    @abstractmethod
    def _frame(self, known: Any, rows: np.ndarray, number: int) -> np.ndarray:
        """(row, field, *template.shape) in the problem's scales: frame `number` of the trajectories of these starts."""

    def _doubts(self, start: Start, times: np.ndarray | None) -> list[str]:
        if times is None or self.clock is None or not len(times):
            return []
        end, unit = float(self.clock.times[-1]) * self.clock.unit(start.case), start.case.problem.time_unit
        if self.clock.positions(start.case, times).max() <= len(self.clock.times) - 1:
            return []
        return [f"goes on to {times.max():g} {unit}, but training cases end at {end:g} {unit}"]

    def _fade(self, case: Case) -> np.ndarray | None:
        """c_k: the share of what was missed at the start that is still missed k frames later; None for nothing."""
        return None

    def _estimate(self, known: Any, back: Sequence[Map], positions: np.ndarray) -> list[np.ndarray]:
        """(field, *shape) of each start at a fractional number of frames, in the problem's scales."""
        assert self.clock is not None
        last = len(self.clock.times) - 1
        at = np.clip(positions, 0, last)
        lower = np.floor(at).astype(int)
        found: list[np.ndarray] = [np.empty(0)] * len(at)
        for number in np.unique(lower):
            rows = np.flatnonzero(lower == number)
            frames = self._frame(known, rows, int(number))
            share = (at[rows] - number).reshape(-1, *[1] * (frames.ndim - 1))
            if share.any():
                frames = frames * (1 - share) + share * self._frame(known, rows, min(int(number) + 1, last))
            for r, frame in zip(rows.tolist(), frames, strict=True):
                found[r] = back[r](frame)
        return found

    def _rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        assert self.clock is not None
        supports = {id(s.support): s.support for s in starts}
        moves = {key: self.layout.back(support) for key, support in supports.items()}
        back = [moves[id(s.support)] for s in starts]
        scales = [self._scale(s.case, s.support) for s in starts]
        known = self._known(starts)
        begin = np.array([float(self.clock.positions(s.case, np.array([s.time]))[0]) for s in starts])
        fades = [self._fade(s.case) if len(s.frames) else None for s in starts]
        missed: list[np.ndarray | None] = [None] * len(starts)
        if any(f is not None for f in fades):
            guess = self._estimate(known, back, begin)
            missed = [
                None if f is None else s.frames[-1] / scale - g
                for f, s, scale, g in zip(fades, starts, scales, guess, strict=True)
            ]
        asked = np.stack([self.clock.positions(s.case, t) for s, t in zip(starts, times, strict=True)])
        for j in range(times.shape[1]):
            found = self._estimate(known, back, asked[:, j])
            for i, start in enumerate(starts):
                lag, fade, gap = asked[i, j] - begin[i], fades[i], missed[i]
                if len(start.frames) and lag <= 0:
                    found[i] = np.array(start.frames[-1], dtype=np.float64)
                    continue
                if fade is not None and gap is not None:
                    found[i] = found[i] + np.interp(lag, np.arange(len(fade)), fade) * gap
                found[i] = found[i] * scales[i]
            yield found

    def _answer(self, case: Case, support: Support) -> np.ndarray:
        start = Start(case, support, np.zeros((0, len(self.fields), *support.shape)))
        frame = self._frame(self._known([start]), np.zeros(1, int), 0)[0]
        return self.layout.back(support)(frame) * self._scale(case, support)


@registry.solvers.register("mean_field")
class MeanField(Trajectories):
    """The mean of the training cases at the same time, in the problem's scales; it knows nothing of the case but its
    scales. A cell has the mean over the cases that have a value there."""

    name = "mean field"
    title = "mean field"
    sees_start = False

    def _take(self, train: CaseTable) -> None:
        frames = 1 if self.clock is None else len(self.clock.times)
        shape = self.layout.template.shape
        total, count = np.zeros((frames, len(train.fields), *shape)), np.zeros((frames, 1, *shape))
        for values, inside in self._aligned(train):
            total[: len(values)] += values
            count[: len(values)] += 1.0 if inside is None else inside
        self.mean = total / np.maximum(count, 1.0)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean}

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super()._restore(arrays, values)
        self.mean = arrays["mean"]

    def _known(self, starts: Sequence[Start]) -> None:
        return None

    def _frame(self, known: None, rows: np.ndarray, number: int) -> np.ndarray:
        return np.broadcast_to(self.mean[number], (len(rows), *self.mean.shape[1:]))
