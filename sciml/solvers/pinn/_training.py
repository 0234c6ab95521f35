"""The loop that trains the windows of a PINN."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import TrainingError
from sciml.problem import Case
from sciml.solvers.pinn._adam import Adam
from sciml.solvers.pinn._functions import Trigonometric, evaluated, nodes, spline, through
from sciml.solvers.pinn._unknowns import values
from sciml.solvers.pinn._window import Window
from sciml.solvers.pinn.minimisers import Minimiser
from sciml.solvers.pinn.recipe import PINNRecipe

COUNTS = {1: 257, 2: 129, 3: 33}  # nodes along an axis of a state handed on
CALLS = {True: 100, False: 10}  # steps in one compiled call, of Adam and of others


class Run:
    """A training run, as callbacks see it.

    Attributes:
        step, total_steps: of all windows and phases together.
        fields: () -> the function (x, y, .., t) -> (F,) as it is at this step.
        records: what has been noted so far.
    """

    def __init__(self, recipe: PINNRecipe, callbacks: Any):
        self.recipe, self.callbacks = recipe, tuple(callbacks)
        self.step, self.records = 0, []
        self.total_steps = recipe.windows * sum(p.steps for p in recipe.phases)
        self.stopped = ""
        self.fields: Callable[[], Any] = lambda: None

    def stop(self, reason: str) -> None:
        """End training after the present call."""
        self.stopped = self.stopped or reason or "stopped"

    def tell(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)


def train(run: Run, window: Window, number: int, params: Any, random: np.random.Generator) -> Any:
    """Train one window through all phases; gives its parameters.

    Raises:
        TrainingError: a loss that is not finite.
    """
    recipe = run.recipe
    blocks = {name: window.block(name, points) for name, points in window.points(random).items()}
    fresh = True
    for place, phase in enumerate(recipe.phases):
        if not phase.steps or run.stopped:
            continue
        window.rebalance(params, blocks, fresh)
        fresh = False
        params, blocks = _phase(run, window, number, place, phase, params, blocks, random)
    return params


def _phase(
    run: Run, window: Window, number: int, place: int, phase: Minimiser, params: Any, blocks: Any,
    random: np.random.Generator,
) -> tuple[Any, Any]:  # fmt: skip
    recipe = run.recipe
    events: dict[str, int] = {}
    if recipe.resampling is not None:
        events["resample"] = recipe.resampling.every
    if recipe.balancing is not None and len(window.rows) > 1 and isinstance(phase, Adam):
        events["balance"] = recipe.balancing.every
    if recipe.causal is not None:
        events["causal"] = recipe.causal.every
    count = _count(phase.steps, min([CALLS[isinstance(phase, Adam)], *events.values()]))
    data = window.weigh(blocks, window.causal(params, blocks))
    state, done = phase.init(window.residuals, params, data), 0
    name = type(phase).__name__
    while done < phase.steps and not run.stopped:
        before = done
        params, state, records = phase.advance(window.residuals, params, state, data, count)
        done += count
        run.step += count
        losses = np.asarray(records["loss"], np.float64) / _total(data)
        stopped = np.asarray(records.get("stopped", np.zeros(count, bool))).astype(bool)
        if not np.isfinite(losses).all():
            bad = run.step - count + int(np.argmax(~np.isfinite(losses))) + 1
            raise TrainingError(
                f"pinn: the loss is not finite at step {bad} ({name}, phase {place}, window {number}); "
                "a smaller learning rate, other scales or a first phase of Adam may help"
            )
        if not math.isfinite(float(sum(jnp.abs(leaf).sum() for leaf in jax.tree.leaves(params)))):
            raise TrainingError(f"pinn: weights are not finite at step {run.step} ({name}, phase {place})")
        _note(run, window, number, place, name, params, blocks, losses, count)
        if stopped.any():
            run.step += phase.steps - done
            break
        due = {e for e, every in events.items() if done // every > before // every and done < phase.steps}
        if "resample" in due:
            blocks, loss = window.redrawn(params, blocks, random)
            run.records[-1]["validation"] = loss  # at points that nothing was trained on
        if "balance" in due:
            window.rebalance(params, blocks, False)
        if due:
            data = window.weigh(blocks, window.causal(params, blocks))
    return params, blocks


def _count(steps: int, most: int) -> int:
    """The largest divisor of `steps` up to `most`: every call is then the same program."""
    return max(k for k in range(1, min(steps, max(most, 1)) + 1) if steps % k == 0)


def _total(data: Mapping[str, Any]) -> int:
    return sum(int(np.prod(block["weight"].shape)) for block in data.values())


def _note(
    run: Run, window: Window, number: int, place: int, name: str, params: Any, blocks: Any, losses: np.ndarray,
    count: int,
) -> None:  # fmt: skip
    common = {"phase": place, "minimiser": name, "window": number}
    for k, loss in enumerate(losses):
        run.records.append({"step": run.step - count + k + 1, **common, "loss": float(loss), "validation": math.nan})
    by_row = window.loss_of_rows(params, blocks)
    last = run.records[-1]
    last["losses"] = dict(zip(window.rows, by_row.tolist(), strict=True))
    last["weights"] = dict(zip(window.rows, window.balance.tolist(), strict=True))
    found = {n: float(v) for n, v in values(window.unknowns, params["unknown"]).items()}
    if found:
        last["found"] = found
    run.fields = lambda: window.assembled(params)[0]
    for record in run.records[-count:]:
        run.tell("on_step", record)


# -- from window to window --------------------------------------------------------------------------------------


class Handed:
    """The state at the end of a window, with which the next one begins."""

    def __init__(self, case: Case, names: tuple[str, ...], fields: Callable[[Any], Any], moment: float, rates: Any):
        d, box, periodic = case.problem.dimensions, case.geometry.extents, case.geometry.periodic
        counts = [COUNTS[d] - around for around in periodic]
        lines = [nodes(*ends, n, around) for ends, n, around in zip(box, counts, periodic, strict=True)]
        places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, d)
        points = np.concatenate([places, np.full((len(places), 1), moment)], axis=1)
        table = np.asarray(evaluated(fields, points), np.float64)
        self.functions = {}
        for name in rates:
            array = table[:, names.index(name)].reshape(counts)
            found = through(array, box, periodic)
            if isinstance(found, Trigonometric) and d > 1:
                found = spline(array, [a for a, _ in box], [b for _, b in box], range(d), periodic)
            self.functions[name] = found

    def at(self, name: str, points: np.ndarray) -> np.ndarray:
        """Values at points (N, D)."""
        padded = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
        return evaluated(self.functions[name], padded)
