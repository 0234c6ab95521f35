"""One window of time in training: what is trained, residuals at points, and their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from sciml.problem import Case
from sciml.solvers._promotion import standard
from sciml.solvers.pinn._conditions import Ansatz, lifts_of
from sciml.solvers.pinn._residuals import Pointwise
from sciml.solvers.pinn._terms import Mean, Observations, Start, Term, Terms
from sciml.solvers.pinn._unknowns import Unknown, values
from sciml.solvers.pinn.recipe import PINNRecipe

_NUMPY = (np.ndarray, np.generic)
SOME = 512  # points of a kind, from which gradients are balanced
MEANS = (8, 256)  # times, and points at each, of the mean of a field that floats


class Assembly(eqx.Module):
    """params -> fields, parameters of the equations and inputs. What differs from window to window is in arrays, so
    that a program which is compiled for one serves all of them.

    Args:
        frame: the fields without their network: `frame.with_network(network)` are the fields.
        network, trained: what of the networks of fields and unknown inputs is not trained.
        given: the other inputs, functions of a point.
    """

    frame: Any
    network: Any
    given: dict[str, Any]
    trained: dict[str, Any]
    parameters: tuple[tuple[str, float], ...] = eqx.field(static=True)
    unknowns: tuple[tuple[str, Unknown], ...] = eqx.field(static=True)

    def __call__(self, params: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        fields = self.frame.with_network(eqx.combine(params["network"], self.network))
        theta = {**dict(self.parameters), **values(dict(self.unknowns), params["unknown"])}
        found = {n: eqx.combine(part, self.trained[n]) for n, part in params["inputs"].items()}
        return fields, theta, {**self.given, **found}


class Weighted(eqx.Module):
    """(params, point) -> the rows of a term over their scales, times the weights of the point."""

    term: Term = eqx.field(static=True)
    assembly: Assembly

    def __call__(self, params: Any, point: Any) -> Any:
        return self.term.scaled(*_first(self.assembly(params), point)) * point["weight"]


def _first(assembled: tuple[Any, ...], point: Any) -> tuple[Any, ...]:
    fields, theta, inputs = assembled
    return fields, point, theta, inputs


def _losses(terms: tuple[Term, ...], assembly: Assembly, params: Any, blocks: tuple[Any, ...]) -> Any:
    """½ mean r² of every row of the terms, over its scale and without weights."""
    assembled = assembly(params)
    found = []
    for term, block in zip(terms, blocks, strict=True):
        r = jax.vmap(lambda p, term=term: term.scaled(*_first(assembled, p)))(block)
        found.append(0.5 * (r**2).mean(axis=0))
    return jnp.concatenate(found)


def _sizes(term: Term, assembly: Assembly, params: Any, block: Any) -> Any:
    """‖r‖ at every point, weighted."""
    assembled = assembly(params)
    r = jax.vmap(lambda p: term.scaled(*_first(assembled, p)))(block)
    return jnp.sqrt((r**2 * block["weight"] ** 2).sum(axis=1))


losses_of = eqx.filter_jit(standard(_losses))
slopes_of = eqx.filter_jit(standard(jax.jacrev(_losses, argnums=2)))
sizes_of = eqx.filter_jit(standard(_sizes))


class Window:
    """What is trained between two times.

    Args:
        terms: what is to vanish, by kind of points.
        frame: the fields without their network: `frame.with_network(network)` are the fields.
        inputs: functions of a point; those in `trained` are networks.
        observed: (N, D + 1) points of the term "observations".
    """

    def __init__(
        self, case: Case, terms: Mapping[str, Term], frame: Any, network: Any, recipe: PINNRecipe,
        span: tuple[float, float], unknowns: Mapping[str, Unknown], inputs: Mapping[str, Any], trained: Sequence[str],
        observed: np.ndarray | None = None,
    ):  # fmt: skip
        self.case, self.recipe, self.span = case, recipe, span
        self.unknowns, self.terms, self.observed = dict(unknowns), dict(terms), observed
        parts = {n: eqx.partition(inputs[n], eqx.is_inexact_array) for n in trained}
        self.first = {
            "network": network.partition()[0],
            "unknown": {n: jnp.asarray(u.start) for n, u in unknowns.items()},
            "inputs": {n: part[0] for n, part in parts.items()},
        }
        self.assembled = Assembly(
            frame, network.partition()[1], {n: f for n, f in inputs.items() if n not in trained},
            {n: part[1] for n, part in parts.items()}, tuple(sorted(case.parameters.items())),
            tuple(sorted(unknowns.items())),
        )  # fmt: skip
        #: the same, with all that a program is not compiled for as arrays of JAX
        self.traced = jax.tree.map(lambda a: jnp.asarray(a) if isinstance(a, _NUMPY) else a, self.assembled)
        self.rows = [row for name in sorted(self.terms) for row in self.terms[name].rows]
        self.balance = np.ones(len(self.rows))
        self.residuals = Pointwise({name: Weighted(term, self.traced) for name, term in self.terms.items()})

    # -- points -------------------------------------------------------------------------------------------------

    def points(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Fresh points of all kinds."""
        r, geometry, found = self.recipe, self.case.geometry, {}
        for name, term in self.terms.items():
            if name == "interior":
                found[name] = r.sampling.inside(geometry, self.span, r.points, random)
            elif isinstance(term, Start):
                found[name] = r.sampling.inside(geometry, self.span, r.initial_points, random)
                found[name][:, -1] = self.span[0]
            elif isinstance(term, Mean):
                several, count = MEANS if not self.case.problem.steady else (1, MEANS[1])
                places = r.sampling.inside(geometry, self.span, count, random)
                times = np.linspace(*self.span, several)
                found[name] = np.repeat(places[None], several, axis=0)
                found[name][:, :, -1] = times[:, None]
            elif isinstance(term, Observations):
                assert self.observed is not None
                found[name] = self.observed
            else:
                found[name] = r.sampling.on(geometry.boundaries[name], self.span, r.boundary_points, random)
        return found

    def block(self, name: str, points: np.ndarray) -> dict[str, Any]:
        """Points of one kind with what is looked up there, without weights."""
        return self.block_of(self.terms[name], points)

    def block_of(self, term: Term, points: np.ndarray) -> dict[str, Any]:
        """`block` of any term."""
        columns = {} if isinstance(term, Mean) else term.columns(points)
        dtype = jnp.result_type(float)
        return {k: jnp.asarray(v, dtype) for k, v in {"z": points, **columns}.items()}

    def weigh(self, blocks: Mapping[str, Any], causal: np.ndarray | None = None) -> dict[str, Any]:
        """Blocks with weights, so that ½‖r‖² over the number of residuals is Σ λ ½ mean r² over scales."""
        total = sum(len(b["z"]) * len(self.terms[n].rows) for n, b in blocks.items())
        found, k = {}, 0
        for name in sorted(self.terms):
            block, rows = dict(blocks[name]), len(self.terms[name].rows)
            share = self.balance[k : k + rows].copy()
            k += rows
            if name == "observations":
                share = share * self.recipe.observation_weight
            n = len(block["z"])
            weight = np.tile(np.sqrt(share * total / n), (n, 1))
            if name == "interior" and causal is not None:
                weight = weight * np.sqrt(causal[self._chunk(np.asarray(block["z"]))])[:, None]
            block["weight"] = jnp.asarray(weight, block["z"].dtype)
            found[name] = block
        return found

    def _chunk(self, points: np.ndarray) -> np.ndarray:
        count = self.recipe.causal.chunks if self.recipe.causal is not None else 1
        share = (points[:, -1] - self.span[0]) / (self.span[1] - self.span[0])
        return np.clip((share * count).astype(int), 0, count - 1)

    # -- weights ------------------------------------------------------------------------------------------------

    def loss_of_rows(self, params: Any, blocks: Mapping[str, Any]) -> np.ndarray:
        """`losses` as numbers."""
        return np.asarray(losses_of(*self._of(params, blocks)), np.float64)

    def _of(self, params: Any, blocks: Mapping[str, Any]) -> tuple[Any, ...]:
        """Arguments of `losses_of` and `slopes_of`."""
        names = sorted(self.terms)
        return tuple(self.terms[n] for n in names), self.traced, params, tuple(blocks[n] for n in names)

    def gradient_norms(self, params: Any, blocks: Mapping[str, Any]) -> np.ndarray:
        """‖∇ ½ mean r²‖ of every row, over its scale and without weights."""
        # every so many: blocks may be in an order, such as observations frame by frame
        some = {n: jax.tree.map(lambda a: a[:: -(-len(a) // SOME)], dict(b)) for n, b in blocks.items()}
        slopes = jax.tree.leaves(slopes_of(*self._of(params, some)))
        square = sum((np.asarray(s, np.float64) ** 2).reshape(len(self.rows), -1).sum(axis=1) for s in slopes)
        return np.sqrt(square)

    def rebalance(self, params: Any, blocks: Mapping[str, Any], fresh: bool) -> None:
        """Update λ."""
        if self.recipe.balancing is not None and len(self.rows) > 1:
            norms = self.gradient_norms(params, blocks)
            pulls = norms > 1e-12 * norms.max()  # what holds already has no say in the mean, and keeps its weight
            if pulls.any():
                former = None if fresh else self.balance[pulls]
                self.balance[pulls] = self.recipe.balancing.weights(norms[pulls], former)

    def causal(self, params: Any, blocks: Mapping[str, Any]) -> np.ndarray | None:
        """Weights of chunks of time; None where there are none."""
        if self.recipe.causal is None or self.case.problem.steady:
            return None
        plain = {
            **blocks["interior"],
            "weight": jnp.ones((len(blocks["interior"]["z"]), len(self.terms["interior"].rows))),
        }
        square = np.asarray(sizes_of(self.terms["interior"], self.traced, params, plain)) ** 2 / 2
        chunk = self._chunk(np.asarray(plain["z"]))
        losses = [square[chunk == k].mean() if (chunk == k).any() else 0.0 for k in range(self.recipe.causal.chunks)]
        return self.recipe.causal.weights(np.array(losses))

    def redrawn(
        self, params: Any, blocks: Mapping[str, Any], random: np.random.Generator
    ) -> tuple[dict[str, Any], float]:
        """The same with other points of the interior; and the weighted loss with the candidates for these, which is
        that at points that nothing was trained on (NaN where nobody looks at residuals)."""
        how, r = self.recipe.resampling, self.recipe
        assert how is not None
        trial = r.sampling.inside(self.case.geometry, self.span, how.candidates(r.points), random)
        block = self.block("interior", trial)
        sizes, loss = np.zeros(len(trial)), np.nan
        if how.looks:
            weight = np.sqrt(self.balance[[self.rows.index(n) for n in self.terms["interior"].rows]])
            block["weight"] = jnp.asarray(np.tile(weight, (len(trial), 1)), block["z"].dtype)
            sizes = np.asarray(sizes_of(self.terms["interior"], self.traced, params, block), np.float64)
            inner = np.array([row in self.terms["interior"].rows for row in self.rows])
            rest = np.where(inner, 0.0, self.balance) @ self.loss_of_rows(params, blocks)
            loss = float(rest + 0.5 * (sizes**2).mean())
        chosen = how.choose(sizes, r.points, random)
        return {**blocks, "interior": self.block("interior", trial[chosen])}, loss


def window_of(
    case: Case, terms: Terms, network: Any, recipe: PINNRecipe, span: tuple[float, float], start: Mapping, given: Any,
    unknowns: Mapping[str, Unknown], inputs: Mapping[str, Any], trained: Sequence[str], exact: bool,
    observations: tuple[np.ndarray, dict[str, np.ndarray]] | None,
) -> Window:  # fmt: skip
    """The window of a network for fields in space and time.

    Args:
        start: functions of space with which fields begin, and `given`, which has their values at points; None where
            nothing says how they begin.
        exact: whether conditions are satisfied by construction where they can be.
    """
    lifts, done = lifts_of(case, terms, span, start, exact)
    low, high = np.array([*case.geometry.extents, span], float).T
    scales = np.array([case.scales.fields.get(n, 1.0) for n in terms.names])
    found: dict[str, Term] = {"interior": terms.interior}
    for kind, side in terms.sides.items():
        left = side.without(done.get(kind, set()), terms.rows)
        if left is not None:
            found[kind] = left
    begun = [n for n in terms.rates if n not in done.get("initial", ())]
    if begun and given is not None:
        found["initial"] = Start(case, given, begun)
    mean = terms.mean()
    if mean is not None:
        found["mean"] = mean
    if observations is not None:
        found["observations"] = Observations(case, observations[1])
    frame = Ansatz(None, lifts, low, high - low, scales, case.problem.steady)
    places = None if observations is None else observations[0]
    return Window(case, found, frame, network, recipe, span, unknowns, inputs, trained, places)
