"""Training of reduced dynamics on pieces of trajectories that grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from sciml.errors import InputError, TrainingError
from sciml.solvers._reduced_dynamics import Dynamics, piece
from sciml.training.objectives import Growing
from sciml.training.optimisers import Adam, AdamW
from sciml.training.recipe import Recipe

SHORTEST = 4  # frames of the first pieces
MOST_STEPS = 8  # of the integrator from frame to frame
VALIDATIONS = 20  # during a run
VALIDATED = 64  # pieces


@dataclass(frozen=True, eq=False)
class Course:
    """Coefficients of a case: z (frame, r) at times (frame,), and its parameters p."""

    z: np.ndarray
    times: np.ndarray
    p: np.ndarray


class Pieces:
    """Pieces of trajectories: where each begins, and the frames that follow.

    Args:
        courses: of which pieces are cut.
        most: frames that follow at most; what a piece lacks of them stands at its end, and does not count.
    """

    def __init__(self, courses: Sequence[Course], most: int):
        self.courses = courses
        self.most = min(most, max(len(c.z) for c in courses) - 1)

    def drawn(self, count: int, length: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """So many pieces over so many frames, fewer where a case is shorter."""
        frames = np.array([len(c.z) for c in self.courses], float)
        several = random.choice(len(self.courses), count, p=frames / frames.sum())
        starts = [int(random.integers(len(self.courses[i].z) - self._reach(i, length))) for i in several]
        return self._stacked([self._piece(i, k, length) for i, k in zip(several, starts, strict=True)])

    def even(self, count: int) -> dict[str, np.ndarray]:
        """About so many of the longest pieces, evenly chosen."""
        rows = []
        for i, course in enumerate(self.courses):
            last = len(course.z) - 1 - self._reach(i, self.most)
            starts = np.unique(np.linspace(0, last, max(count // len(self.courses), 1)).astype(int))
            rows += [self._piece(i, int(k), self.most) for k in starts]
        return self._stacked(rows)

    def _reach(self, i: int, length: int) -> int:
        return min(length, len(self.courses[i].z) - 1)

    def _piece(self, i: int, start: int, length: int) -> tuple[np.ndarray, ...]:
        c, reach = self.courses[i], self._reach(i, length)
        ahead = np.minimum(np.arange(1, self.most + 1), reach)
        counts = (np.arange(self.most) < reach) / reach
        return c.z[start], c.p, c.times[start + ahead] - c.times[start], c.z[start + ahead], counts

    @staticmethod
    def _stacked(rows: Sequence[tuple[np.ndarray, ...]]) -> dict[str, np.ndarray]:
        names = ("z", "p", "times", "truth", "counts")
        return {n: np.stack(a) for n, a in zip(names, zip(*rows, strict=True), strict=True)}


def resolving(matrix: np.ndarray, courses: Sequence[Course]) -> int:
    """Steps of the integrator from frame to frame, such that linear dynamics turn by about a radian in each."""
    fastest = float(np.abs(np.linalg.eigvals(matrix)).max())
    return int(
        np.clip(np.ceil(fastest * np.median(np.concatenate([np.diff(c.times) for c in courses]))), 1, MOST_STEPS)
    )


def misfit(dynamics: Dynamics, batch: dict[str, Array], weight: Float[Array, " r"], steps: int) -> Float[Array, ""]:
    """Σ_k w_k (ẑ_k − z_k)², mean over pieces and their frames.

    Args:
        steps: of the integrator from frame to frame.
    """
    along = partial(piece, dynamics, steps=steps)
    found = jax.vmap(along)(batch["z"], batch["p"], batch["times"])
    return ((((found - batch["truth"]) ** 2) @ weight) * batch["counts"]).sum(axis=1).mean()


def check_recipe(name: str, recipe: Any) -> Recipe:
    """A recipe whose settings all count here.

    Raises:
        InputError: another objective than pieces that grow, augmentations, or what JAX does not do here.
    """
    if not isinstance(recipe, Recipe):
        raise InputError(f"{name}: recipe is a {type(recipe).__name__}, expected a sciml.Recipe")
    goal, usual = recipe.objective, Recipe()
    if not isinstance(goal, Growing) or goal.loss is not None:
        raise InputError(f"{name}: recipe: objective is {goal!r:.60}, expected Growing(steps=..) without a loss")
    if recipe.precision == "bfloat16":
        raise InputError(f"{name}: recipe: precision is 'bfloat16', expected float32 or float64")
    if not isinstance(recipe.optimiser, Adam | AdamW):
        raise InputError(f"{name}: recipe: optimiser is {recipe.optimiser!r:.60}, expected Adam or AdamW")
    for setting in ("augmentations", "sampler", "patience", "validation_items"):
        if getattr(recipe, setting) != getattr(usual, setting):
            raise InputError(f"{name}: recipe: {setting} is set, but does nothing here")
    return recipe


class Run:
    """A training, as callbacks see it.

    Attributes:
        step, total_steps: done, and of the whole run; an estimate where the clock decides.
    """

    def __init__(self, recipe: Recipe, total: int | None, callbacks: Sequence[Any]):
        self.recipe, self.callbacks = recipe, tuple(callbacks)
        self.step, self.total_steps, self.timed = 0, total or 1, total is None
        self.records: list[dict[str, Any]] = []
        self.stopped = ""
        self.began = recipe.length.now()

    def stop(self, reason: str) -> None:
        """End training after the present step."""
        self.stopped = self.stopped or reason or "stopped"

    @property
    def share(self) -> float:
        """Of training that is done."""
        if not self.timed:
            return (self.step + 0.5) / self.total_steps
        assert self.recipe.length.seconds is not None
        share = (self.recipe.length.now() - self.began) / self.recipe.length.seconds
        self.total_steps = max(self.step + 1, round(self.step / max(share, 1e-3)))
        return share

    def tell(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)


def train(
    dynamics: Dynamics, courses: Sequence[Course], held: Sequence[Course], weight: np.ndarray, recipe: Recipe,
    callbacks: Sequence[Any], name: str,
) -> tuple[Dynamics, Run]:  # fmt: skip
    """Trained dynamics.

    Raises:
        TrainingError: a loss that is not finite.
    """
    goal, made = recipe.objective, recipe.optimiser
    assert isinstance(goal, Growing) and isinstance(made, Adam | AdamW)
    pieces, steps = Pieces(courses, goal.steps), resolving(np.asarray(dynamics.matrix), courses)
    frames = sum(len(c.z) for c in courses)
    run = Run(recipe, recipe.length.steps(max(frames // recipe.batch, 1)), callbacks)
    random = np.random.default_rng(recipe.seed)
    check = None if not held else Pieces(held, pieces.most).even(VALIDATED)
    matrices = partial(jax.tree.map, lambda a: a.ndim > 1)
    decays = optax.adamw(1.0, *made.betas, weight_decay=made.weight_decay, mask=matrices)
    rule = optax.chain(optax.clip_by_global_norm(made.clip) if made.clip else optax.identity(), decays)
    params, frame = eqx.partition(dynamics, eqx.is_inexact_array)
    heavy = jnp.asarray(weight)

    def loss_of(params: Any, batch: Any) -> Any:
        return misfit(eqx.combine(params, frame), batch, heavy, steps)

    @jax.jit
    def advance(params: Any, mean: Any, state: Any, batch: Any, rate: Any) -> Any:
        loss, slope = jax.value_and_grad(loss_of)(params, batch)
        change, state = rule.update(slope, state, params)
        params = jax.tree.map(lambda a, c: a + rate * c, params, change)
        mean = jax.tree.map(lambda m, a: made.average * m + (1 - made.average) * a, mean, params)
        return params, mean, state, loss

    measure, best = jax.jit(loss_of), (math.inf, params)
    state, mean, first = rule.init(params), params, min(SHORTEST, pieces.most)
    run.tell("on_start")
    try:
        while (share := run.share) < 1 and not run.stopped:
            grown = min(share / goal.until, 1.0) if goal.until else 1.0
            length = round(first + grown * (pieces.most - first))
            batch = jax.tree.map(jnp.asarray, pieces.drawn(recipe.batch, length, random))
            rate = made.lr * recipe.schedule(min(share, 1.0))
            params, mean, state, loss = advance(params, mean, state, batch, rate)
            run.step += 1
            record = {"step": run.step, "loss": float(loss), "lr": rate, "frames": length}
            if not math.isfinite(record["loss"]):
                raise TrainingError(
                    f"{name}: the loss is not finite at step {run.step}, of pieces over {length} frames; a smaller "
                    "learning rate or pieces that grow more slowly (objective.until) may help"
                )
            every = recipe.validate_every or max(run.total_steps // VALIDATIONS, 1)
            due = check is not None and (run.step % every == 0 or run.step == run.total_steps)
            if due:
                record["validation"] = float(measure(mean, check))
                if record["validation"] < best[0]:
                    best = record["validation"], mean
            run.records.append(record)
            run.tell("on_step", record)
            if due:
                run.tell("on_validation", record)
    finally:
        run.tell("on_end")
    chosen = best[1] if recipe.keep == "best" and math.isfinite(best[0]) else mean
    return eqx.combine(chosen, frame), run
