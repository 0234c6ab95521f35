"""Networks for characteristics and what they carry."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sciml import registry
from sciml.errors import InputError
from sciml.problem import Case, Problem
from sciml.solvers import _saved
from sciml.solvers.pinn import _files
from sciml.solvers.pinn._equation_solver import EquationSolver, at_points
from sciml.solvers.pinn._functions import nodes, restored, stored, through
from sciml.solvers.pinn._inputs import Beginning, given_inputs
from sciml.solvers.pinn._training import Run, train
from sciml.solvers.pinn._transport import Along, transport
from sciml.solvers.pinn._window import Window
from sciml.solvers.pinn.networks import Architecture, Network
from sciml.solvers.pinn.recipe import PINNRecipe
from sciml.training.checkpoint import replace_bytes

LABELS = 4096  # at which characteristics are looked up
HANDED = 1024  # nodes of a state with which the next window begins
NEWTON = 4  # steps to the label of a place


class Pair(eqx.Module):
    """Two networks of (ξ, t): of the displacement, and of the change of the state."""

    displacement: Network
    change: Network

    def partition(self) -> tuple[Pair, Pair]:
        """What is trained and what is not."""
        parts = self.displacement.partition(), self.change.partition()
        return Pair(parts[0][0], parts[1][0]), Pair(parts[0][1], parts[1][1])


class Flow(eqx.Module):
    """X = ξ + reach τ N₁(z), w = u₀(ξ) + scale τ N₂(z), with τ the share of the window and z in [-1, 1]².

    Args:
        start: u₀.
        low, span: of (ξ, t).
        reach: how far things go in the window; `scale` of the field.
    """

    network: Any
    start: Any
    low: Any
    span: Any
    reach: Any
    scale: Any

    def with_network(self, network: Any) -> Flow:
        """The same with other networks."""
        return Flow(network, self.start, self.low, self.span, self.reach, self.scale)

    def place(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        """X(ξ, t)."""
        share, z = self._inner(x)
        return x[0] + self.reach * share * self.network.displacement(z)[0]

    def state(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        """w(ξ, t)."""
        share, z = self._inner(x)
        return self.start(x) + self.scale * share * self.network.change(z)[0]

    def _inner(self, x: Any) -> tuple[Any, Any]:
        share = (x - jnp.asarray(self.low, x.dtype)) / jnp.asarray(self.span, x.dtype)
        return share[1], 2 * share - 1


@dataclass(frozen=True, eq=False)
class Carried:
    """What was trained on one window of time: from when to when, and the flow."""

    span: tuple[float, float]
    fields: Flow


@registry.solvers.register("lagrangian_pinn")
class LagrangianPINN(EquationSolver):
    """∂t u + a ∂x u + rest = 0 as dX/dt = a, dw/dt = −rest for characteristics X(ξ, t) and w(ξ, t) = u(X(ξ, t), t).

    For one field in one dimension on a periodic interval, where transport is fast: along characteristics the solution
    changes little, and there is nothing that a network could forget. Derivatives along x in `rest` are taken along ξ
    with the stretching X_ξ, so that diffusion stays diffusion in space. How things begin is exact by construction. With
    several windows of time, labels begin anew in each, which keeps them apart where characteristics converge.

    Args:
        architecture: of both networks.
        resolution: cells of answers on a grid.

    Source: R. Mojgani, M. Balajewicz, P. Hassanzadeh, Comput. Methods Appl. Mech. Engrg. 404, 115810 (2023), whose
    published program takes derivatives along labels for those along x.
    """

    name = "lagrangian PINN"
    title = "Lagrangian PINN"

    def __init__(self, architecture: Architecture | None = None, *, resolution: int = 128):
        super().__init__(architecture, resolution)

    def supports(self, problem: Problem) -> bool:
        try:
            transport(problem)
        except InputError:
            return False
        return True

    def fit(
        self, data: Any, recipe: PINNRecipe | None = None, *, observations: Any = None, split: str | None = None,
        validation: str | None = None, running: Any = None,
    ) -> Self:  # fmt: skip
        """Solve a case; see `PINN.fit`.

        Args:
            observations: none; it has no unknowns.

        Raises:
            InputError: observations, more than one field in one dimension and time, sides that are not periodic, a
                beginning that jumps.
            TrainingError: a loss that is not finite.
        """
        if observations is not None:
            raise InputError(f"{self.name}: takes no observations; PINN(...).fit(case, observations=...) does")

        def prepare(case: Case, recipe: PINNRecipe) -> Any:
            if not all(case.geometry.periodic):
                raise InputError(f"{self.name}: {case.problem.name} has ends, expected a periodic interval")
            law = transport(case.problem)
            begins = Beginning(case, [law.field])
            if law.field not in begins.functions:
                raise InputError(f"{self.name}: {law.field} begins with a jump, expected a smooth beginning")
            term = Along(case, law)
            inputs = given_inputs(case, term.inputs)
            return lambda run: self._train(case, recipe, run, term, inputs, begins.functions[law.field])

        return self._fit(data, recipe, running, prepare)

    def require(self, case: Case) -> None:
        transport(case.problem)  # says what is wrong

    def _train(self, case: Case, recipe: PINNRecipe, run: Run, term: Along, inputs: Any, start: Any) -> None:
        assert recipe.until is not None
        random, keys = np.random.default_rng(recipe.seed), jax.random.split(jax.random.key(recipe.seed))
        pair = Pair(*(self.architecture.build(2, 1, key, periodic=(True, False)) for key in keys))
        (box,), scale = case.geometry.extents, case.scales.fields.get(term.law.field, 1.0)
        ends, params = np.linspace(0.0, recipe.until, recipe.windows + 1), None
        for k in range(recipe.windows):
            span = (float(ends[k]), float(ends[k + 1]))
            low, high = np.array([box, span], float).T
            frame = Flow(None, start, low, high - low, np.asarray(term.speed * (span[1] - span[0])), scale)
            window = Window(case, {"interior": term}, frame, pair, recipe, span, {}, inputs, ())
            params = train(run, window, k, window.first if params is None else params, random)
            self.windows.append(Carried(span, window.assembled(params)[0]))
            if run.stopped:
                break
            if k + 1 < recipe.windows:
                line = nodes(*box, HANDED, True)
                state = self._values(self.windows[-1], np.array([span[1]]), line[:, None])
                start = through(state[0, :, 0], [box], (True,))

    # -- answers ------------------------------------------------------------------------------------------------

    def _values(self, window: Carried, times: np.ndarray, places: np.ndarray) -> np.ndarray:
        flow, found, crossed = window.fields, [], []
        for time in times.tolist():
            label, wanted, apart = labels(flow.place, float(flow.low[0]), float(flow.span[0]), time, places[:, 0])
            found.append(_state_at(flow, label, wanted, time))
            crossed += [] if apart else [time]
        if crossed:
            warnings.warn(
                f"{self.name}: characteristics have crossed by time {min(crossed):g}: states from there on are not to "
                "be relied on; more windows of time may help", stacklevel=2,
            )  # fmt: skip
        return np.stack(found)[..., None]

    # -- files --------------------------------------------------------------------------------------------------

    def _save(self, directory: str | Path) -> None:
        assert self.case is not None
        weights, windows = _files.case_arrays(self.case), []
        for k, window in enumerate(self.windows):
            head, flow = f"window_{k}", window.fields
            function, arrays = stored(flow.start)
            weights |= _files.leaves_of(f"{head}/network", flow.network)
            weights |= {f"{head}/start/{n}": v for n, v in arrays.items()}
            windows.append({"span": list(window.span), "start": function, "reach": float(flow.reach)})
        content = {**self._options(), "resolution": self.resolution, "case": self.case.to_attrs(),
                   "training": self.record, "windows": windows}  # fmt: skip
        folder = _saved.made(directory)
        _saved.write_parts(folder, registry.solvers.name_of(type(self)), content, {"weights": weights})
        replace_bytes(folder / "metrics.jsonl", _files.lines_of(self.history))

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> LagrangianPINN:
        """Read what `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        with _saved.reading(directory, registry.solvers.name_of(cls), ["weights"]) as (config, parts):
            arrays = parts["weights"]
            found = cls(Architecture.from_json(config["architecture"], "architecture"), resolution=config["resolution"])
            found.recipe = PINNRecipe.from_json(config["training"]["recipe"], "recipe")
            case = found.case = _files.case_of(config, arrays)
            found.record = dict(config["training"])
            (box,), field = case.geometry.extents, case.problem.fields[0].name
            with jax.enable_x64(found._double):
                keys = jax.random.split(jax.random.key(0))
                pair = Pair(*(found.architecture.build(2, 1, key, periodic=(True, False)) for key in keys))
                for k, window in enumerate(config["windows"]):
                    head, span = f"window_{k}", (float(window["span"][0]), float(window["span"][1]))
                    own = {
                        n.removeprefix(f"{head}/start/"): v for n, v in arrays.items() if n.startswith(f"{head}/start/")
                    }
                    low, high = np.array([box, span], float).T
                    network = _files.filled(f"{head}/network", pair, arrays)
                    start, scale = restored(window["start"], own), case.scales.fields.get(field, 1.0)
                    found.windows.append(Carried(span, Flow(network, start, low, high - low, window["reach"], scale)))
        found.history = _files.history_of(directory)
        return found


def labels(place: Any, low: float, period: float, time: float, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """The labels (N,) near those whose X is x (N,) at a time, these places, a whole number of periods on, and whether
    no characteristics cross at that time.

    Args:
        place: X, a function of (ξ, t) that goes on by a period where ξ does.
    """
    line = low + period * np.arange(LABELS) / LABELS
    at = at_points(place, np.array([time]), line[:, None])[0]
    whole = np.append(at, at[0] + period)
    apart = bool(np.diff(whole).min() > 0)
    whole = np.maximum.accumulate(whole)
    wanted = whole[0] + (x - whole[0]) % period
    return np.interp(wanted, whole, np.append(line, low + period)), wanted, apart


def _state_at(flow: Flow, label: np.ndarray, place: np.ndarray, time: float) -> np.ndarray:
    """w at the labels that are at places (N,), from labels that are near."""
    return np.asarray(_found(flow, jnp.asarray(label), jnp.asarray(place), jnp.asarray(time)))


@eqx.filter_jit
def _found(flow: Flow, label: Any, place: Any, time: Any) -> Any:
    def one(label: Any, place: Any) -> Any:
        def at(label: Any) -> Any:
            return flow.place(jnp.stack([label, time.astype(label.dtype)]))

        for _ in range(NEWTON):
            value, slope = jax.jvp(at, (label,), (jnp.ones_like(label),))
            # where characteristics are about to meet, what was looked up is as good
            step = jnp.where(slope > 1e-6, (value - place) / jnp.where(slope > 1e-6, slope, 1.0), 0.0)
            label = label - jnp.clip(step, -flow.span[0] / LABELS, flow.span[0] / LABELS)
        return flow.state(jnp.stack([label, time.astype(label.dtype)]))

    return jax.vmap(one)(label, place)
