"""One training of a physics-informed network, measured: error over seconds of the processor, kept when done."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import numpy as np

from benchmarks._ledger import Kept
from sciml import Case
from sciml.solvers.pinn import PINN, Architecture
from sciml.training import Running
from sciml.training.callbacks import Callback


@dataclass(frozen=True)
class Setting:
    """A network and how it is trained.

    Args:
        recipe: seed -> `PINNRecipe`.
        options: further arguments of the solver.
    """

    architecture: Architecture
    recipe: Callable[[int], Any]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """What answers are held against.

    Args:
        points: (N, D).
        fields: name -> (T, N) over `times`, or (N,).
        free: fields that count up to a constant.
    """

    points: np.ndarray
    fields: Mapping[str, np.ndarray]
    times: np.ndarray | None = None
    free: tuple[str, ...] = ()

    def errors(self, answer: Mapping[str, np.ndarray], groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
        """Relative L2 error of groups of fields, each taken as one vector."""
        found = {}
        for group, names in groups.items():
            gap = size = 0.0
            for name in names:
                wanted, given = self.fields[name], answer[name]
                if name in self.free:
                    wanted, given = wanted - wanted.mean(), given - given.mean()
                gap, size = gap + float(np.sum((given - wanted) ** 2)), size + float(np.sum(wanted**2))
            found[group] = float(np.sqrt(gap / size))
        return found


class Runs:
    """Trains, or remembers.

    Args:
        dry: nothing is kept.
    """

    def __init__(self, dry: bool = False):
        self.kept = Kept("physics", packages=("equinox", "optax"), dry=dry)

    def __call__(
        self, name: str, case: Case, setting: Setting, truth: Truth, seed: int,
        groups: Mapping[str, Sequence[str]] | None = None, observations: Mapping[str, np.ndarray] | None = None,
        solver: Any = PINN,
    ) -> dict[str, Any]:  # fmt: skip
        """Errors by group, "relative_l2" (of the worst group), "curve" ((seconds, error) pairs), "seconds" of the
        processor with compilation, "weights", "steps", and what was "found" of unknown parameters.

        Args:
            name: what tells this run from others with the same settings.
        """
        every = {k: [k] for k in truth.fields} if groups is None else groups
        recipe = setting.recipe(seed)

        def train() -> dict[str, Any]:
            return _train(case, setting, recipe, truth, every, observations, solver)

        told = [truth.points, *truth.fields.values(), *(() if observations is None else observations.values())]
        told += [] if truth.times is None else [truth.times]
        settings = {"data": hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in told)).hexdigest()[:16],
                    "architecture": repr(setting.architecture), "recipe": repr(recipe), "seed": seed,
                    "options": repr(dict(setting.options)), "solver": solver.__name__}  # fmt: skip
        return self.kept(train, name=name, case=case.to_attrs()["case_json"], **settings)


class Watch(Callback):
    """The error on the way; what finding it costs does not count.

    It asks for `run.fields()`, the function (x, y, .., t) -> (F,) as it is at this step; where that is no function of
    the place (characteristics), there is no curve.
    """

    def __init__(self, case: Case, truth: Truth, groups: Mapping[str, Sequence[str]]):
        self.truth, self.groups = truth, groups
        self.curve: list[tuple[float, float]] = []
        self.names = [f.name for f in case.problem.fields]
        times = np.zeros(1) if truth.times is None else truth.times
        places = np.repeat(truth.points[None], len(times), axis=0)
        self.z = np.concatenate([places, np.broadcast_to(times[:, None, None], (*places.shape[:2], 1))], axis=2)
        self.began, self.aside, self.next = time.process_time(), 0.0, 0.0

    def seconds(self) -> float:
        return time.process_time() - self.began - self.aside

    def on_step(self, run: Any, record: Mapping[str, Any]) -> None:
        seconds = self.seconds()
        if "losses" not in record or seconds < self.next:  # the last step of a call has them
            return
        if not callable(run.fields()):
            return
        before = time.process_time()
        values = np.asarray(_values(run.fields(), self.z.reshape(-1, self.z.shape[-1])))
        values = values.reshape(*self.z.shape[:2], -1)
        found = {
            n: values[..., k] if self.truth.times is not None else values[0, :, k] for k, n in enumerate(self.names)
        }
        self.curve.append((seconds, max(self.truth.errors(found, self.groups).values())))
        self.next = 1.03 * seconds  # about 80 times in each decade of seconds
        self.aside += time.process_time() - before


@eqx.filter_jit
def _values(fields: Any, z: Any) -> Any:
    return jax.vmap(fields)(z)


def _train(
    case: Case, setting: Setting, recipe: Any, truth: Truth, groups: Mapping[str, Sequence[str]],
    observations: Mapping[str, np.ndarray] | None, solver: Any,
) -> dict[str, Any]:  # fmt: skip
    """The only place that knows how a network is trained and asked."""
    network, watch = solver(setting.architecture, **setting.options), Watch(case, truth, groups)
    more = {} if observations is None else {"observations": observations}
    network.fit(case, recipe, running=Running(progress=False, callbacks=(watch,)), **more)
    seconds = watch.seconds()
    answer = network.solve(case, truth.times, truth.points)
    errors = truth.errors({n: answer[n].values for n in truth.fields}, groups)
    return {
        "errors": errors, "relative_l2": max(errors.values()), "seconds": seconds,
        "curve": [*watch.curve, (seconds, max(errors.values()))],
        "weights": network.weights, "steps": max((int(r["step"]) for r in network.metrics), default=0),
        "found": {k: float(v) for k, v in network.found.items()} if setting.options.get("unknown") else {},
    }  # fmt: skip


def seconds_to(curve: Sequence[Sequence[float]], error: float) -> float | None:
    """The first time from which the error is not above this."""
    return next((float(s) for s, e in curve if e <= error), None)
