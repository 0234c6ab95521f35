"""A coarse flow solver with a learned correction, trained through the solver."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import torch
import xarray as xr

from sciml import registry
from sciml.contracts import Operator
from sciml.errors import InputError, is_whole
from sciml.problem import Case, Problem, beginning
from sciml.solver import Restartable, Start, check_times
from sciml.solvers import _restarts, _saved
from sciml.solvers._corrected_model import Coarse, Correction, Velocities
from sciml.solvers._corrected_training import FittedCoarse, fit_corrected
from sciml.solvers._frames import labelled, start_of, warn_of
from sciml.solvers._trained import OneOperator
from sciml.solvers.incompressible import IncompressibleFlow
from sciml.support import Grid
from sciml.training.callbacks import read_metrics
from sciml.training.checkpoint import digest, plain
from sciml.training.devices import device as find_device
from sciml.training.devices import unwrapped
from sciml.training.encoding import GridEncoding
from sciml.training.fitting import anew, operator_options
from sciml.training.losses import Nmse
from sciml.training.objectives import Growing, Supervised
from sciml.training.optimisers import AdamW
from sciml.training.processes import present
from sciml.training.recipe import Recipe, Running

FACES = {"coarse_u_face": ("coarse_y", "coarse_x_face"), "coarse_v_face": ("coarse_y_face", "coarse_x")}


@registry.solvers.register("corrected_flow")
class CorrectedFlow(OneOperator, Restartable):
    """A coarse incompressible flow solver, and a network that adds after each step what the coarse grid makes it lack.

        q' = P(S(q) + C),   F' = I(q') + (F − I(q)) + D,   (C, D) = network(S(q), q, F − I(q), parameters)

    q are velocities through the faces of the coarse grid and S what `IncompressibleFlow` makes of them in one step of
    the data, Δt, restarted from q; P takes the divergence away and puts in what goes through walls, so that every
    q' is a state of the coarse solver. F is a frame on the data's grid, finer by any ratio, and I the cubic
    interpolation of q to it: F − I(q), what the coarse grid does not hold, is carried along, and D says how it changes.
    A restart has q from F such that no fluid is lost, P of the flux through the faces. Answers live where the data do,
    hold the fields "u" and "v", and beside them the coarse state, "coarse_u_face" and "coarse_v_face" in m/s, from
    which `resume` goes on as if it had never stopped, but for rounding; drop these two from a frame that you change.
    Answers of several cases, as data sets, leave them out.

    The network sees dimensionless numbers as a surrogate does, and units of the training split. It learns from rollouts
    through the solver: their gradients go through S by its reverse mode, and their number of steps grows
    (`sciml.training.Growing`). Its loss is that of F' and, counting alike, that of q' against the coarse velocities of
    the data.

    Args:
        resolution: cells of the coarse solver along both axes, or (ny, nx): not more than the data's.
        operator: the network, a class of `sciml.operators` that takes grids, or its registered name.
        in_the_loop: False for a network that learns from single steps from true states, S and P left out of its
            gradients, for comparison.
        details: False for answers that are I(q) alone.
        step: frames of the data that Δt spans.
        cfl: of the coarse solver, see `IncompressibleFlow`.
        max_substeps: of a step; where it needs more, the answer is not finite.
        device: "auto" or "cpu": the coarse solver runs on the processor.
        options: further arguments of the operator; of the U-Net by default what costs little.

    Source: K. Um, R. Brand, Y. Fei, P. Holl, N. Thuerey, Solver-in-the-loop, NeurIPS (2020), for training through the
    solver; D. Kochkov et al., PNAS 118, e2101784118 (2021), for learned corrections on staggered grids.
    """

    name = "corrected_flow"
    #: settings that plans of training may give
    planned = ("in_the_loop", "details", "step", "cfl")
    #: of the U-Net, where nobody says: one level, about the cost of a step on 32 × 32 cells
    small = {"width": 16, "multipliers": (1,), "patch": 1}  # noqa: RUF012

    def __init__(
        self,
        resolution: int | tuple[int, int] = 32,
        operator: type[Operator] | str = "unet",
        *,
        in_the_loop: bool = True,
        details: bool = True,
        step: int = 1,
        cfl: float = 2.0,
        max_substeps: int = 1000,
        device: str = "auto",
        **options: Any,
    ):
        kind = registry.operators.get(operator) if isinstance(operator, str) else operator
        if not (isinstance(kind, type) and issubclass(kind, Operator)):
            raise InputError(f"operator: expected a class of sciml.operators or its name, got {operator!r:.80}")
        for name, value in (("in_the_loop", in_the_loop), ("details", details)):
            if not isinstance(value, bool):
                raise InputError(f"{name}: expected True or False, got {value!r:.80}")
        if not is_whole(step) or step < 1:
            raise InputError(f"step: expected a whole number from 1 on, got {step!r:.80}")
        self.operator_class: type[Operator] = kind
        self.flow = IncompressibleFlow(resolution, cfl=cfl, tendencies=False, max_substeps=max_substeps)
        self.in_the_loop, self.details, self.step = in_the_loop, details, int(step)
        self.options = operator_options(kind, (self.small if kind.name == "unet" else {}) | options)
        if device != "auto" and find_device(device).type != "cpu":
            raise InputError(f"device: the coarse solver runs on the processor, expected cpu, got {device!r}")
        self.fitted_as: FittedCoarse | None = None
        self.correcting = True

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def operator_name(self) -> str:
        return self.operator_class.name

    @property
    def resolution(self) -> tuple[int, int]:
        return self.flow.resolution

    @property
    def title(self) -> str:  # type: ignore[override]
        """What people call it."""
        ny, nx = self.resolution
        return f"{nx} × {ny} cells, corrected by {self.operator_class.title}"

    @property
    def _outcome(self) -> FittedCoarse | None:
        return self.fitted_as

    @property
    def encoding(self) -> GridEncoding:
        return self._ready().coarse.encoding

    @property
    def operator(self) -> torch.nn.Module:
        return self._ready().operator

    @property
    def problem(self) -> Problem | None:
        return None if self.fitted_as is None else self.encoding.problem

    @property
    def predicted(self) -> tuple[str, ...] | None:
        return None if self.fitted_as is None else self.encoding.fields

    @property
    def every(self) -> int:  # type: ignore[override]
        return self.step

    @property
    def _arguments(self) -> dict[str, Any]:
        """Those of the constructor, but for the operator and its options."""
        return {
            "resolution": list(self.resolution), "in_the_loop": self.in_the_loop, "details": self.details,
            "step": self.step, "cfl": self.flow.cfl, "max_substeps": self.flow.max_substeps,
        }  # fmt: skip

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {"operator": self.operator_name, "options": plain(self.options)} | self._arguments
        if self.fitted_as is not None:
            f = self.fitted_as
            found |= {"fields": list(f.coarse.encoding.fields), "recipe": f.record.get("recipe")}
            found |= {"subset": f.record.get("subset"), "parameters": self.weights, "correcting": self.correcting}
            found["weights"] = digest(unwrapped(f.operator).state_dict())[:16]
        return found

    def supports(self, problem: Problem) -> bool:
        if self.fitted_as is None:
            return self.flow.supports(problem)
        return problem.same(self.encoding.problem)

    def _ready(self) -> FittedCoarse:
        if self.fitted_as is None:
            raise InputError("corrected flow: the correction has not been trained; call fit or load first")
        return self.fitted_as

    def _require_correcting(self, what: str) -> None:
        if not self.correcting:
            raise InputError(f"{what}: plain() corrects nothing, and has no weights of its own; use what it came from")

    def plain(self, resolution: int | tuple[int, int] | None = None) -> Self:
        """A copy that corrects nothing, C = D = 0: the coarse solver with the same starts and answers, to compare with.

        Args:
            resolution: of another coarse solver, not finer than the data.

        Raises:
            InputError: a finer one.
        """
        f, found = self._ready(), copy.copy(self)
        found.fitted_as, found.correcting = f, False
        if resolution is not None:
            found.flow = IncompressibleFlow(
                resolution, cfl=self.flow.cfl, tendencies=False, max_substeps=self.flow.max_substeps
            )  # fmt: skip
            coarse = replace(f.coarse, shape=found.flow.resolution)
            _ = coarse.grids  # refuses a finer one
            found.fitted_as = replace(f, coarse=coarse)
        return found

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
        """Train on a data set; a correction that has weights already goes on from them.

        Args:
            data: path of a data set, a data set, or solutions, of a flow on equal cells, at equal steps.
            recipe: what determines the result; `default_recipe()` by default. What its minutes do not count is the
                compilation of the solver and its reverse mode, and what the solver makes of each true frame.
            split, validation: names of splits; `validation` may be None or empty.
            subset: train on these subsets only.
            running: how it is done: run directory, resuming; changes no result.
            fresh: begin with new weights and scales even where there are some.

        Returns:
            itself, trained.

        Raises:
            InputError: arguments or data that cannot be used: no flow, fewer cells than the solver's, a field that is
                missing.
            TrainingError: a loss that is not finite.
        """
        self._require_correcting("fit")
        running = Running() if running is None else running
        former = None if fresh else self.fitted_as
        with torch.inference_mode(False):
            self.fitted_as = fit_corrected(
                self.operator_class, self.options, self.flow, data,
                self.default_recipe(self.in_the_loop) if recipe is None else recipe, running, step=self.step,
                details=self.details, in_the_loop=self.in_the_loop, split=split, validation=validation, subset=subset,
                former=former,
            )  # fmt: skip
        if (folder := running.folder) is not None:
            present().by_first(lambda: self.save(folder))
        return self

    @staticmethod
    def default_recipe(in_the_loop: bool = True) -> Recipe:
        """What is trained with where nobody says: rollouts that grow to four steps, or single steps."""
        objective = Growing(Nmse(), steps=4) if in_the_loop else Supervised(Nmse())
        return Recipe(batch=8, objective=objective, optimiser=AdamW(lr=2e-3, average=0.99))

    # -- many steps ---------------------------------------------------------------------------------------------

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        times = np.asarray(times, dtype=np.float64).reshape(len(starts), -1)
        streams = [self._frames(self._checked(start), asked) for start, asked in zip(starts, times, strict=True)]
        for several in zip(*streams, strict=True):
            yield [frame for frame, _ in several]

    def _checked(self, start: Start) -> Start:
        """The start with the fields in this solver's order, on cells as in training."""
        e = self.encoding
        self.require(start.case)
        template, support = e.template, start.support
        if not isinstance(support, Grid) or support.shape != template.shape or not support.uniform_cells:
            raise InputError(f"frame: lives on {support!r}, expected equal cells, {template.shape} as in training")
        names = start.fields or e.fields
        for name in e.fields:
            if name not in names:
                raise InputError(f"frame: has the fields {', '.join(names)}; {name!r} is missing")
        rows = [names.index(n) for n in e.fields]
        return replace(start, frames=start.frames[-1:, rows], fields=e.fields)

    def _frames(
        self, start: Start, times: np.ndarray, faces: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
        """(frame (field, Y, X), coarse velocities) at each time, in physical units.

        Args:
            faces: coarse velocities to begin with; those of the start's frame by default.
        """
        f = self._ready()
        e, case, real = f.coarse.encoding, start.case, f.coarse.encoding.dtype
        assert e.step is not None
        index, dt = e.step.index(case, times, start.time), e.step.of(case)
        if index.min(initial=0) < 0:
            raise InputError("times: expected times from that of the frame on")
        last, asked = int(index.max(initial=0)), set(index.tolist())
        clock = start.time + dt * np.arange(last + 1)
        scale = np.array([case.scales.fields[n] for n in e.fields], real)
        march = _March(self.flow, case, clock, dt, scale)
        correct, sizes = Correction(f.operator, f.coarse), scale[:, None, None]
        mask = None if start.support.inside is None else torch.from_numpy(start.support.inside.astype(real))
        fluid = torch.from_numpy(f.coarse.fluid(case))[None] if f.coarse.bodies else None
        params = torch.from_numpy(e.params(case, clock))
        fine = torch.from_numpy((start.frames[-1] / sizes).astype(real))[None]
        u, v = start.frames[-1]
        begun = f.coarse.grids.down(case, u, v, start.support, start.time) if faces is None else faces
        u, v = (np.asarray(a / s, real) for a, s in zip(begun, scale, strict=True))
        rest: torch.Tensor | None = None
        for k in range(last + 1):
            (u, v), ahead = march(u, v, k) if k < last else (march.project(u, v, k), None)
            with torch.inference_mode():
                q = _velocities(u, v)
                base = correct.m.up(q)
                if k:
                    fine = base if rest is None else base + rest
                    fine = fine if mask is None else fine * mask
            if k in asked:
                yield fine[0].numpy() * sizes, (u * scale[0], v * scale[1])
            if ahead is None:
                continue
            with torch.inference_mode():
                rest = fine - base if self.details else None
                if not self.correcting:
                    u, v = ahead
                    continue
                then = _velocities(*ahead)
                added, turned = correct(then, q, rest, fluid, params[k : k + 1])
                rest = None if rest is None or turned is None else rest + turned
                u, v = (then.u + added.u)[0].numpy(), (then.v + added.v)[0].numpy()

    # -- the solver interface -----------------------------------------------------------------------------------

    def _together(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[xr.Dataset]:
        return [self._begun(case, asked) for case, asked in zip(cases, times, strict=True)]

    def work(
        self, cases: Sequence[Case], times: Sequence[np.ndarray | None], portions: Iterable[tuple[int, ...]]
    ) -> Iterator[tuple[int, xr.Dataset]]:
        for i, found in super().work(cases, times, portions):
            yield i, found.drop_vars([n for n in FACES if n in found])  # data sets have one grid

    def _begun(self, case: Case, times: np.ndarray | None) -> xr.Dataset:
        """From how a case begins, on the coarse grid as on the fine one."""
        assert times is not None
        e = self.encoding
        support = e.support(case)
        warn_of("corrected flow", case, e.doubts(case, np.append(0.0, times)))
        frame = np.stack(list(beginning(case, support, e.fields).values()))
        start = self._checked(Start(case, support, frame[None], 0.0, fields=e.fields))
        _, inputs = self.flow.arrays(case, np.append(0.0, times))
        return self._labelled(start, times, (inputs["u_face"], inputs["v_face"]))

    def _outside(self, case: Case, points: np.ndarray) -> np.ndarray:
        return super()._outside(case.on(self.encoding.support(case)), points)

    def resume(self, case: Case, frame: Any, times: Any) -> xr.Dataset:
        """The solution at `times` from a given state on; see `Restartable.resume`."""
        self.require(case)
        e = self.encoding
        asked = check_times(case.problem, times)
        assert asked is not None
        start = self._checked(replace(start_of(case, frame, e.fields), fields=e.fields))
        warn_of("corrected flow", case, e.doubts(case, np.append(start.time, asked)))
        return self._whole(self._labelled(start, asked, self._held(frame)))

    def _held(self, frame: xr.Dataset) -> tuple[np.ndarray, np.ndarray] | None:
        """The coarse velocities that an answer of ours holds at its last time."""
        if not FACES.keys() <= frame.keys():
            return None
        ny, nx = self.resolution
        last = [frame[n].isel(time=-1) if "time" in frame[n].dims else frame[n] for n in FACES]
        if any(set(a.dims) != set(dims) for a, dims in zip(last, FACES.values(), strict=True)):
            return None
        found = [a.transpose(*dims).values for a, dims in zip(last, FACES.values(), strict=True)]
        if [a.shape for a in found] != [(ny, nx + 1), (ny + 1, nx)]:
            return None
        for name, values in zip(FACES, found, strict=True):
            if not np.isfinite(values).all():
                raise InputError(f"frame: expected finite values, got others in {name}")
        return found[0], found[1]

    def _labelled(self, start: Start, times: np.ndarray, faces: Any) -> xr.Dataset:
        e = self.encoding
        frames, coarse = zip(*self._frames(start, times, faces), strict=True)
        found = labelled(
            start.case, times, np.stack(frames).astype(e.dtype), e.fields, start.support, settings=self.settings,
            solver=f"{self.name} {self.operator_name}", problem=e.problem,
        )  # fmt: skip
        for (name, dims), values in zip(FACES.items(), zip(*coarse, strict=True), strict=True):
            text = f"velocity {name[7]} through the faces of the coarse grid"
            found[name] = (("time", *dims), np.stack(values), {"units": "m s-1", "long_name": text})
        return found

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write weights, supports, settings and metrics into `directory` (made if missing)."""
        f = self._ready()
        self._require_correcting("save")
        places = _saved.places_of(f.coarse.encoding.template)
        content = {
            "arguments": self._arguments, "units": f.coarse.units.tolist(),
            "encoding": f.coarse.encoding.to_json(),
        }  # fmt: skip
        self._write(directory, content, places)

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        folder = _saved.folder_of(directory)
        with _saved.reading(folder, cls.name, ("weights", "support")) as (config, parts):
            template, _ = _saved.template_of(parts["support"], str(folder / "support.safetensors"))
            e: Any = GridEncoding.from_json(config["encoding"], template, None, str(folder / "config.json"))
            kind = registry.operators.get(str(config["operator"]))
            given = dict(config["arguments"])
            given["resolution"] = tuple(given["resolution"])
            found = cls(operator=kind, device=device, **given, **config["options"])
            coarse = Coarse(e, found.resolution, found.details, np.array(config["units"], float).reshape(4, 2))
            operator = anew(kind, config["operator_config"], e)
            _saved.restore(operator, parts["weights"], folder)
            recipe = Recipe.from_json(config["training"]["recipe"])
            metrics = read_metrics(folder / "metrics.jsonl")
            found.fitted_as = FittedCoarse(e, operator, recipe, dict(config["training"]), metrics, coarse=coarse)
        return found


def _velocities(u: np.ndarray, v: np.ndarray) -> Velocities:
    """(1, ...) of one case."""
    return Velocities(torch.from_numpy(u)[None], torch.from_numpy(v)[None])


class _March:
    """The coarse solver on one case, step after step, on velocities in the problem's scales."""

    def __init__(self, flow: IncompressibleFlow, case: Case, clock: np.ndarray, dt: float, scale: np.ndarray):
        self.flow, self.clock, self.wide = flow, clock, scale.dtype == np.float64
        self.ends, self.real = _restarts.ends_of([case]), scale.dtype.type
        held = (_restarts.prepared(flow, case, clock), scale, self.real(dt))
        with jax.enable_x64(self.wide):
            self.held: Any = jax.tree.map(self._number, held)

    def _number(self, values: Any) -> jax.Array:
        found = np.asarray(values)
        return jax.numpy.asarray(found, self.real if found.dtype.kind == "f" else None)

    def __call__(self, u: np.ndarray, v: np.ndarray, k: int) -> tuple[Any, Any]:
        """(P(q), S(q)) at step number k."""
        with jax.enable_x64(self.wide):
            q, ahead = _stepped(self.flow, self.ends, *self.held, u, v, self.real(self.clock[k]))
            return tuple(map(_writable, q)), tuple(map(_writable, ahead))

    def project(self, u: np.ndarray, v: np.ndarray, k: int) -> tuple[Any, ...]:
        """P(q) at step number k."""
        with jax.enable_x64(self.wide):
            return tuple(map(_writable, _projected(self.flow, self.ends, *self.held, u, v, self.real(self.clock[k]))))


def _writable(values: jax.Array) -> np.ndarray:
    return np.array(values)  # torch warns of memory that it must not write to


@partial(jax.jit, static_argnames=("flow", "ends"))
def _stepped(flow: Any, ends: Any, held: Any, scale: Any, dt: Any, u: Any, v: Any, start: Any) -> Any:
    u, v, (parameters, inputs) = u * scale[0], v * scale[1], held
    # what the solver takes away first is worked out once: the compiler finds that both are the same
    q = _restarts.projected(flow, ends, parameters, inputs, u, v, start)
    ahead = _restarts.advanced(flow, ends, parameters, inputs, u, v, start, dt)
    return tuple((a[0] / scale[0], a[1] / scale[1]) for a in (q, ahead))


@partial(jax.jit, static_argnames=("flow", "ends"))
def _projected(flow: Any, ends: Any, held: Any, scale: Any, dt: Any, u: Any, v: Any, start: Any) -> Any:
    parameters, inputs = held
    u, v = _restarts.projected(flow, ends, parameters, inputs, u * scale[0], v * scale[1], start)
    return u / scale[0], v / scale[1]
