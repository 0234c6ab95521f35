"""Density and velocity that satisfy the balance of mass by construction."""

from __future__ import annotations

import math
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
from sciml.errors import InputError, positive
from sciml.problem import Case, Problem
from sciml.solver import check_times
from sciml.solvers import _saved
from sciml.solvers._promotion import standard
from sciml.solvers.pinn import _files
from sciml.solvers.pinn._continuity import Continuity, continuity
from sciml.solvers.pinn._equation_solver import EquationSolver, at_points
from sciml.solvers.pinn._flow_map import FlowMap, flow_map
from sciml.solvers.pinn._observed import observed
from sciml.solvers.pinn._terms import Observations
from sciml.solvers.pinn._training import Run, train
from sciml.solvers.pinn._window import Window
from sciml.solvers.pinn.networks import Architecture
from sciml.solvers.pinn.recipe import PINNRecipe
from sciml.training.checkpoint import replace_bytes

WIDE = 2.0  # standard deviations of the mass of a fresh network from the middle of the domain to its ends


class Masses(eqx.Module):
    """A map, and the logarithm of the mass in units of scales and half widths."""

    map: FlowMap
    log_mass: Float[Array, ""]

    def partition(self) -> tuple[Masses, Masses]:
        """What is trained and what is not."""
        return eqx.partition(self, eqx.is_inexact_array)


class Carrying(eqx.Module):
    """(x, y, .., t) -> (ρ, v) in the order of the problem's fields, in physical units.

    Args:
        low, span: of the coordinates, time last.
        density: the scale of ρ.
        order: where ρ, v_1, .. stand among the fields.
    """

    network: Any
    low: Any
    span: Any
    density: Any
    order: tuple[int, ...] = eqx.field(static=True)

    def with_network(self, network: Any) -> Carrying:
        """The same with another network."""
        return Carrying(network, self.low, self.span, self.density, self.order)

    def __call__(self, x: Float[Array, " coordinate"]) -> Float[Array, " field"]:
        low, span = self._box(x)

        def mapped(x: Any) -> tuple[Any, Any]:
            inner = (2.0 * (x - low) / span - 1.0) * jnp.append(jnp.full(len(x) - 1, WIDE, x.dtype), 1.0)
            z, log_det = self.network.map.forward(inner[:-1], inner[-1])
            return z, (z, log_det)

        jacobian, (z, log_det) = jax.jacfwd(mapped, has_aux=True)(x)
        d = len(z)
        rho = jnp.asarray(self.density, x.dtype) * jnp.exp(
            self.network.log_mass + log_det - 0.5 * (z**2).sum() - 0.5 * d * math.log(2 * math.pi)
        )
        # times the volume that (z, log det) of `inner` are told of: WIDE^d in half widths
        found = jnp.append(rho * WIDE**d, -solved(jacobian[:, :d], jacobian[:, d]))
        return jnp.stack([found[self.order.index(k)] for k in range(d + 1)])

    def _box(self, x: Any) -> tuple[Any, Any]:
        return jnp.asarray(self.low, x.dtype), jnp.asarray(self.span, x.dtype)

    def carried(self, x: Float[Array, " coordinate"], time: Float[Array, ""]) -> Float[Array, " d"]:
        """Where at `time` is what is at x = (x, y, .., t)."""
        low, span = self._box(x)
        inner = 2.0 * (x - low) / span - 1.0
        then = 2.0 * (time - low[-1]) / span[-1] - 1.0
        z, _ = self.network.map.forward(WIDE * inner[:-1], inner[-1])
        return low[:-1] + span[:-1] * (self.network.map.backward(z, then) / WIDE + 1.0) / 2.0


def solved(a: Float[Array, "d d"], b: Float[Array, " d"]) -> Float[Array, " d"]:
    """a⁻¹ b by Cramer's rule: for three axes at most, and many points, without a factorisation each."""
    columns = [[a[i, k] for i in range(len(b))] for k in range(len(b))]
    right = [b[i] for i in range(len(b))]
    several = [_determinant([right if j == k else c for j, c in enumerate(columns)]) for k in range(len(b))]
    return jnp.stack(several) / _determinant(columns)


def _determinant(columns: list[list[Any]]) -> Any:
    """Of up to three columns of scalars."""
    if len(columns) == 1:
        return columns[0][0]
    if len(columns) == 2:
        (a, b), (c, d) = columns
        return a * d - b * c
    x, y, z = columns
    cross = [y[1] * z[2] - y[2] * z[1], y[2] * z[0] - y[0] * z[2], y[0] * z[1] - y[1] * z[0]]
    return x[0] * cross[0] + x[1] * cross[1] + x[2] * cross[2]


@dataclass(frozen=True, eq=False)
class Fitted:
    """From when to when, and the fields."""

    span: tuple[float, float]
    fields: Carrying


@registry.solvers.register("lagrangian_flow_network")
class LagrangianFlowNetwork(EquationSolver):
    """ρ = M p₀(z) |det ∂z/∂x|, v = −(∂z/∂x)⁻¹ ∂z/∂t with z = Φ(x; t): ∂t ρ + ∇·(ρ v) = 0 for whatever weights.

    Φ is an invertible map of space that changes in time, p₀ the normal distribution and M the mass. z are labels: what
    has a label keeps it, and is where Φ(x; t) = z. The weights minimise the distance from measured densities,
    velocities or both; there is no residual to be weighed against them. The mass is ∫ρ dx over all space at all times;
    nothing is said about the sides of the domain, through which mass comes and goes.

    Args:
        architecture: of the networks in the layers of Φ.
        rounds: of layers.
        bends: steps that a layer gives each coordinate.
        resolution: cells along the longest extent of the domain, of answers on a grid.

    Source: F. A. Torres, M. M. Negri, M. Inversi, J. Arellano, V. Roth, Lagrangian flow networks for conservation laws,
    ICLR (2024). Layers are other ones, with determinants in closed form, and nothing is added to the matrix whose
    inverse the velocity needs.
    """

    name = "Lagrangian flow network"
    title = "Lagrangian flow network"

    def __init__(
        self, architecture: Architecture | None = None, *, rounds: int = 3, bends: int = 6, resolution: int = 128
    ):
        super().__init__(Architecture(width=24, depth=2) if architecture is None else architecture, resolution)
        self.rounds, self.bends = positive("rounds", rounds), positive("bends", bends)

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "rounds": self.rounds, "bends": self.bends}

    def supports(self, problem: Problem) -> bool:
        try:
            continuity(problem, self.name)
        except InputError:
            return False
        return True

    def require(self, case: Case) -> None:
        if isinstance(case, Case):
            continuity(case.problem, self.name)  # says what is wrong
        super().require(case)

    # -- training -----------------------------------------------------------------------------------------------

    @standard
    def fit(
        self, data: Any, recipe: PINNRecipe | None = None, *, observations: Any = None, split: str | None = None,
        validation: str | None = None, running: Any = None,
    ) -> Self:  # fmt: skip
        """Fit to measurements.

        Args:
            data: the case that was measured.
            recipe: how; `PINNRecipe(until=...)`, of which phases, balancing, seed and precision matter.
            observations: measured fields: a solution, or {"points": (N, D + 1), "density": (N,)}; see `PINN.fit`. What
                is NaN was not measured.
            split, validation: make no difference here.
            running: `sciml.Running`: callbacks and progress.

        Raises:
            InputError: no observations, no balance of mass, periodic sides, a recipe that asks for several windows,
                other points or weights in time, of which there are none.
            TrainingError: a loss that is not finite.
        """

        def prepare(case: Case, recipe: PINNRecipe) -> Any:
            if observations is None:
                raise InputError(f"{self.name}: expected observations; without them any flow is as good as any other")
            if any(case.geometry.periodic):
                raise InputError(f"{self.name}: {case.problem.name} is periodic, expected a window of open space")
            asked = [n for n in ("resampling", "causal") if getattr(recipe, n) is not None]
            asked += ["windows"] if recipe.windows > 1 else []
            if asked:
                raise InputError(
                    f"{self.name}: recipe: {asked[0]} is set, but there are no residuals in space and time"
                )
            assert recipe.until is not None
            points, values = observed(case, observations)
            within = points[:, -1] <= recipe.until * (1 + 1e-12)
            if not within.any():
                raise InputError(f"observations: all of them are later than until = {recipe.until:g}")
            seen = points[within], {n: v[within] for n, v in values.items()}
            law = continuity(case.problem, self.name)
            if not np.isfinite(seen[1].get(law.density, np.nan)).any():
                seen[1].pop(law.density, None)
                warnings.warn(
                    f"{self.name}: no {law.density} was measured, and velocities alone do not tell it: do not rely on "
                    f"the {law.density} of its answers, nor on their mass",
                    stacklevel=4,
                )
            elif np.nanmax(seen[1][law.density]) <= 0:
                raise InputError(f"observations: {law.density}: expected positive values somewhere, got none")
            return lambda run: self._train(case, recipe, run, law, *seen)

        return self._fit(data, recipe, running, prepare)

    def _frame(self, case: Case, law: Continuity, span: tuple[float, float]) -> Carrying:
        low, high = np.array([*case.geometry.extents, span], float).T
        names = [f.name for f in case.problem.fields]
        order = tuple(names.index(n) for n in (law.density, *law.velocities))
        scale = np.asarray(case.scales.fields.get(law.density, 1.0))
        return Carrying(None, low, high - low, scale, order)

    def untrained(self, case: Case, until: float, seed: int = 0) -> Carrying:
        """(x, y, .., t) -> fields of a case as they are before training, in the type that JAX is set to."""
        frame = self._frame(case, continuity(case.problem, self.name), (0.0, float(until)))
        return frame.with_network(self._fresh(case.problem.dimensions, seed))

    def _fresh(self, dimensions: int, seed: int) -> Masses:
        made = flow_map(dimensions, self.rounds, self.bends, self.architecture, jax.random.key(seed))
        return Masses(made, jnp.zeros((), jnp.result_type(float)))

    def _train(
        self, case: Case, recipe: PINNRecipe, run: Run, law: Continuity, points: np.ndarray,
        values: dict[str, np.ndarray],
    ) -> None:  # fmt: skip
        span = (0.0, float(recipe.until or 0.0))
        fresh = self._fresh(case.problem.dimensions, recipe.seed)
        if law.density in values:  # so that a fresh density has the mean of the measured ones
            mean = float(np.nanmean(np.maximum(values[law.density], 0.0))) / float(case.scales.fields[law.density])
            log_mass = jnp.asarray(math.log(mean) + case.problem.dimensions * math.log(2.0), fresh.log_mass.dtype)
            fresh = eqx.tree_at(lambda m: m.log_mass, fresh, log_mass)
        terms = {"observations": Observations(case, values)}
        window = Window(case, terms, self._frame(case, law, span), fresh, recipe, span, {}, {}, (), points)
        params = train(run, window, 0, window.first, np.random.default_rng(recipe.seed))
        self.windows.append(Fitted(span, window.assembled(params)[0]))

    # -- answers ------------------------------------------------------------------------------------------------

    def _values(self, window: Fitted, times: np.ndarray, places: np.ndarray) -> np.ndarray:
        return at_points(window.fields, times, places)

    @property
    def mass(self) -> float:
        """∫ρ dx over all space, the same at all times."""
        self._known_case()
        fields = self.windows[0].fields
        return float(fields.density * np.prod(fields.span[:-1] / 2) * math.exp(float(fields.network.log_mass)))

    def carried(self, points: Any, start: float, times: Any) -> Float[np.ndarray, "time point dimension"]:
        """Where at `times` is what is at points (N, D) at the time `start`: paths along the velocity, without solving
        for them, Φ(·; t)⁻¹ ∘ Φ(·; start).

        Raises:
            InputError: nothing fitted yet, points of another dimension, times beyond those fitted.
        """
        case = self._known_case()
        asked = check_times(case.problem, times)
        assert asked is not None
        self._known(case, np.append(asked, start))
        places = np.atleast_2d(np.asarray(points, np.float64))
        if places.ndim != 2 or places.shape[1] != case.problem.dimensions or not np.isfinite(places).all():
            raise InputError(f"points: expected finite (N, {case.problem.dimensions}), got shape {places.shape}")
        whole = np.concatenate([places, np.full((len(places), 1), float(start))], axis=1)
        return _paths(self.windows[0].fields, whole, asked, self._double)

    def _known_case(self) -> Case:
        if self.case is None or not self.windows:
            raise InputError(f"{self.name}: nothing is known yet; call fit first")
        return self.case

    # -- files --------------------------------------------------------------------------------------------------

    def _save(self, directory: str | Path) -> None:
        case, window = self._known_case(), self.windows[0]
        weights = {**_files.case_arrays(case), **_files.leaves_of("network", window.fields.network)}
        content = {**self._options(), "resolution": self.resolution, "case": case.to_attrs(), "training": self.record,
                   "span": list(window.span)}  # fmt: skip
        folder = _saved.made(directory)
        _saved.write_parts(folder, registry.solvers.name_of(type(self)), content, {"weights": weights})
        replace_bytes(folder / "metrics.jsonl", _files.lines_of(self.history))

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> LagrangianFlowNetwork:
        """Read what `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        with _saved.reading(directory, registry.solvers.name_of(cls), ["weights"]) as (config, parts):
            arrays = parts["weights"]
            found = cls(
                Architecture.from_json(config["architecture"], "architecture"), rounds=config["rounds"],
                bends=config["bends"], resolution=config["resolution"],
            )  # fmt: skip
            found.recipe = PINNRecipe.from_json(config["training"]["recipe"], "recipe")
            case = found.case = _files.case_of(config, arrays)
            found.record = dict(config["training"])
            span = (float(config["span"][0]), float(config["span"][1]))
            frame = found._frame(case, continuity(case.problem, cls.name), span)
            with jax.enable_x64(found._double):
                network = _files.filled("network", found._fresh(case.problem.dimensions, 0), arrays)
            found.windows = [Fitted(span, frame.with_network(network))]
        found.history = _files.history_of(directory)
        return found


@standard
def _paths(fields: Carrying, points: np.ndarray, times: np.ndarray, double: bool) -> np.ndarray:
    with jax.enable_x64(double):
        real = jnp.result_type(float)
        found = _carried(fields, jnp.asarray(points, real), jnp.asarray(times, real))
    return np.asarray(found, np.float64)


@eqx.filter_jit
def _carried(fields: Carrying, points: Any, times: Any) -> Any:
    return jax.vmap(lambda t: jax.vmap(lambda x: fields.carried(x, t))(points))(times)
