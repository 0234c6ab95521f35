"""How the rules of `LearnedMultigrid` are learned: by what they do to the residuals of solves, no labels."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from sciml.errors import InputError, TrainingError
from sciml.solvers._saved import reading, write_parts
from sciml.solvers.linear._arrays import joined
from sciml.solvers.linear._cycle import cycle, levels
from sciml.solvers.linear._family import Family
from sciml.solvers.linear._local_rules import Learned, Weights
from sciml.solvers.linear._multigrid_cg import JAX
from sciml.solvers.linear.grid_system import GridSystem, apply

#: without barriers, which have no derivatives of batches
PLAIN = replace(JAX, barrier=lambda values: values, ring=joined)
NAME = "learned_multigrid_checkpoint"
Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Lesson:
    """What decides the weights beside the families.

    Args:
        systems: that are drawn.
        steps: of Adam.
        batch: systems of one shape and one kind of ends a step.
        iterations: of conjugate gradients, of which the residual counts.
        learning_rate: at first; falls as a cosine to 0.
        seed: of systems, right-hand sides and order.
        every: steps after which the loss is told and a checkpoint written; the weights do not depend on it.
    """

    systems: int
    steps: int
    batch: int
    iterations: int
    learning_rate: float
    seed: int
    every: int

    def decides(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "every"}


def loss(weights: Weights, system: GridSystem, b: jax.Array, iterations: int, waits: tuple[int, ...] = ()) -> jax.Array:
    """½ ln(‖r_k‖/‖r_0‖) + ½ ln(‖r_{k/2}‖/‖r_0‖) of k iterations of conjugate gradients with one cycle each."""
    fixed, ends, centred = system.conductances(), system.ends, system.centred
    grids, bottom = levels(PLAIN, fixed, ends, system.shape, waits, Learned(weights))

    def body(carry: Any, first: jax.Array) -> Any:
        r, p, rz = carry
        z = centred(cycle(PLAIN, grids, bottom, ends, centred(r), 1, waits))
        new = jnp.sum(r * z)
        p = z + jnp.where(first, 0.0, new / rz) * p
        q = apply(fixed, ends, p)
        r = r - new / jnp.sum(p * q) * q
        return (r, p, new), jnp.sum(r**2)

    r = centred(b)
    start = (r, jnp.zeros_like(r), jnp.ones((), r.dtype))
    _, squares = lax.scan(body, start, jnp.arange(iterations) == 0)
    falls = jnp.log(squares / jnp.sum(r**2) + 1e-20) / 2
    return (falls[-1] + falls[(iterations - 1) // 2]) / 2


@partial(jax.jit, static_argnums=(0, 1))
def _step(
    lesson: Lesson, like: tuple[Any, ...], weights: Weights, state: Any, coefficients: tuple[jax.Array, ...],
    b: jax.Array,
) -> tuple[Any, Any, jax.Array]:  # fmt: skip
    shape, ends, spacing = like

    def one(weights: Weights, coefficients: tuple[jax.Array, ...], b: jax.Array) -> jax.Array:
        return loss(weights, GridSystem(shape, ends, spacing, coefficients), b, lesson.iterations)

    def mean(weights: Weights) -> jax.Array:
        return jnp.mean(jax.vmap(one, (None, 0, 0))(weights, coefficients, b))

    value, slope = jax.value_and_grad(mean)(weights)
    change, state = optimiser(lesson).update(slope, state)
    return optax.apply_updates(weights, change), state, value


def optimiser(lesson: Lesson) -> optax.GradientTransformation:
    rate = optax.cosine_decay_schedule(lesson.learning_rate, lesson.steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


def groups(families: Sequence[tuple[Family, tuple[int, ...]]], lesson: Lesson) -> list[tuple[Any, list[Any]]]:
    """(shape, ends, spacing) -> coefficients of the systems that are alike, in units of their largest; those of which
    there are fewer than a batch are left out."""
    rng, found = np.random.default_rng([lesson.seed, 0]), {}
    for number in range(lesson.systems):
        family, shape = families[number % len(families)]
        system = family.draw(rng, shape)
        plain = GridSystem(system.shape, system.ends, system.spacing)
        ones = [np.ones(c.shape) for c in plain.conductances(np)]
        c = ones if system.coefficients is None else [np.asarray(c, np.float64) for c in system.coefficients]
        unit = max(float(one.max()) for one in c) / max(float(h) for h in system.spacing) ** 2
        found.setdefault((system.shape, system.ends, system.spacing), []).append(tuple(one / unit for one in c))
    kept = [(like, several) for like, several in found.items() if len(several) >= lesson.batch]
    if not kept:
        raise InputError(
            f"learned_multigrid: systems: of none of {len(found)} kinds of shapes and ends as many as batch, "
            f"{lesson.batch}, were drawn: give families their ends, or draw more"
        )
    return kept


def train(
    weights: Weights, families: Sequence[tuple[Family, tuple[int, ...]]], lesson: Lesson, checkpoint: Path | None,
    tell: Tell | None,
) -> tuple[Weights, dict[str, Any]]:  # fmt: skip
    """Adam on `loss`.

    Returns:
        the weights, and a record: what decided them, seconds, and the losses on the way.
    """
    began, worked = time.perf_counter(), time.process_time()
    kinds = groups(families, lesson)
    chance = np.array([len(several) for _, several in kinds]) / sum(len(several) for _, several in kinds)
    record: dict[str, Any] = {
        **lesson.decides(), "families": [[repr(f), list(shape)] for f, shape in families], "kinds": len(kinds),
        "digest": _digest(weights, families, lesson), "done": 0, "seconds": 0.0, "cpu_seconds": 0.0, "losses": [],
    }  # fmt: skip
    with jax.enable_x64(True):
        now: Weights = {k: jnp.asarray(v, jnp.float64) for k, v in weights.items()}
        state = optimiser(lesson).init(now)
        if checkpoint is not None and (checkpoint / "config.json").exists():
            now, state, record = _resumed(checkpoint, state, record)
        before, before_cpu, running = record["seconds"], record["cpu_seconds"], []
        while record["done"] < lesson.steps:
            rng = np.random.default_rng([lesson.seed, 1, record["done"]])
            like, several = kinds[int(rng.choice(len(kinds), p=chance))]
            chosen = rng.choice(len(several), lesson.batch, replace=False)
            faces = tuple(jnp.asarray(np.stack([several[i][k] for i in chosen])) for k in range(len(several[0])))
            b = jnp.asarray(rng.standard_normal((lesson.batch, *like[0])))
            moved, state, value = _step(lesson, like, now, state, faces, b)
            if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((moved, value))):
                raise TrainingError(
                    f"step {record['done']}: the loss is {float(value)} or its slope not finite; the weights of "
                    f"{'the last checkpoint' if checkpoint else 'before'} stand; a smaller learning rate may help"
                )
            now = moved
            running.append(float(value))
            record["done"] += 1
            if record["done"] % lesson.every == 0 or record["done"] == lesson.steps:
                record["seconds"] = before + time.perf_counter() - began
                record["cpu_seconds"] = before_cpu + time.process_time() - worked
                row = {"step": record["done"], "loss": float(np.mean(running)), "seconds": record["seconds"]}
                record["losses"].append(row)
                running = []
                if checkpoint is not None:
                    _save(checkpoint, now, state, record)
                if tell is not None:
                    tell(row)
        return {k: np.asarray(v) for k, v in now.items()}, record


def _digest(weights: Weights, families: Any, lesson: Lesson) -> str:
    """Of all that decides the weights."""
    told = json.dumps([lesson.decides(), [[repr(f), list(shape)] for f, shape in families]], sort_keys=True)
    found = hashlib.sha256(told.encode())
    for name, value in sorted(weights.items()):
        found.update(name.encode() + np.ascontiguousarray(value, np.float64).tobytes())
    return found.hexdigest()


def _save(folder: Path, weights: Weights, state: Any, record: dict[str, Any]) -> None:
    moments = {f"{i:03d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    parts = {"weights": {k: np.asarray(v) for k, v in weights.items()}, "moments": moments}
    write_parts(folder, NAME, {"training": record}, parts)


def _resumed(folder: Path, state: Any, fresh: dict[str, Any]) -> tuple[Weights, Any, dict[str, Any]]:
    with reading(folder, NAME, ("weights", "moments")) as (config, arrays):
        record = config["training"]
        if record.get("digest") != fresh["digest"]:
            raise InputError("made with other systems or settings; name another checkpoint or remove this one")
        leaves = [jnp.asarray(arrays["moments"][key]) for key in sorted(arrays["moments"])]
        state = jax.tree.unflatten(jax.tree.structure(state), leaves)
        return {k: jnp.asarray(v) for k, v in arrays["weights"].items()}, state, fresh | record
