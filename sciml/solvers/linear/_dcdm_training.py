"""How a network learns directions: no labels, right-hand sides out of Ritz vectors."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor, nn

from sciml.errors import InputError, TrainingError
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._dcdm_network import Stencil, left_over
from sciml.solvers.linear._ritz import coefficients, ritz
from sciml.solvers.linear.grid_system import GridSystem
from sciml.training.checkpoint import (
    load_weights,
    optimizer_tensors,
    prefixed,
    read_tensors,
    restore_optimizer,
    under,
    write_tensors,
)

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Lesson:
    """What decides the weights beside the systems.

    Args:
        lanczos: steps of the Lanczos process, a system.
        combinations: right-hand sides to learn from, a system.
        held_out: further ones, a system, of which the loss is told and nothing is learned.
        learning_rate: of Adam.
        batch: right-hand sides a step, all of one system.
        seed: of noise, coefficients and order.
        every: steps after which the losses are told, recorded and saved; the weights do not depend on it.
    """

    lanczos: int
    combinations: int
    held_out: int
    learning_rate: float
    batch: int
    seed: int
    every: int

    def decides(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "every"}


class Exercises:
    """Right-hand sides of one system, made when they are asked for.

    Args:
        system: which one.
        lesson: how many.
        number: of the system, for its random numbers.
        cells: on which the network is given a right-hand side of norm 1, see `scale`.
    """

    def __init__(self, system: GridSystem, lesson: Lesson, number: int, cells: int):
        random = np.random.default_rng([lesson.seed, number])
        concrete = Concrete(system)
        if concrete.size < 2:
            raise InputError(f"systems: number {number} has {concrete.size} live unknowns, expected more")
        found = ritz(concrete, lesson.lanczos, random)
        self.shape, self.stencil, self.scale = system.shape, Stencil(system), scale(concrete.size, cells)
        whole = np.stack([concrete.scatter(v).ravel() for v in found.vectors])
        self.vectors = torch.as_tensor(whole.astype(np.float32))
        drawn = coefficients(found, lesson.combinations + lesson.held_out, random).astype(np.float32)
        self.learned, self.held_out = torch.as_tensor(drawn).split([lesson.combinations, lesson.held_out])

    def loss(self, network: nn.Module, chosen: Tensor) -> Tensor:
        """Of the combinations with these coefficients."""
        b = (chosen @ self.vectors).reshape(-1, *self.shape)
        return left_over(self.stencil, b, network(self.scale * b))


def scale(live: int, cells: int | None) -> float:
    """What a residual of norm 1 is multiplied by for the network: values are as large as on `cells` at norm 1, whatever
    the number of cells is. None for 1."""
    return 1.0 if cells is None else float(np.sqrt(live / cells))


def train(
    network: nn.Module, systems: Sequence[GridSystem], lesson: Lesson, steps: int | None, epochs: float,
    minutes: float | None, checkpoint: str | Path | None, tell: Tell | None,
) -> dict[str, Any]:  # fmt: skip
    """Adam on `left_over`, until that many steps are done or that much processor time is spent in all.

    Returns:
        the record: what decided the weights, steps, seconds, and the losses on the way.
    """
    began, worked = time.perf_counter(), time.process_time()
    cells = max(int(s.live(np).sum()) for s in systems)
    exercises = [Exercises(system, lesson, i, cells) for i, system in enumerate(systems)]
    each = -(-lesson.combinations // lesson.batch)
    whole = each * len(exercises)
    last = round(epochs * whole) if steps is None else steps
    optimiser = torch.optim.Adam(network.parameters(), lr=lesson.learning_rate)
    record: dict[str, Any] = {
        **lesson.decides(), "cells": cells, "systems": [list(s.shape) for s in systems],
        "digest": _digest(network, systems, lesson), "steps": 0, "seconds": 0.0, "cpu_seconds": 0.0, "losses": [],
    }  # fmt: skip
    if checkpoint is not None and Path(checkpoint).exists():
        record = _resumed(checkpoint, network, optimiser, record)
    before, before_cpu = record["seconds"], record["cpu_seconds"]
    running: list[Tensor] = []

    def note() -> None:
        with torch.inference_mode():
            held = [float(e.loss(network, e.held_out)) for e in exercises] if lesson.held_out else None
        record["seconds"] = before + time.perf_counter() - began
        record["cpu_seconds"] = before_cpu + time.process_time() - worked
        mean = float(torch.stack(running).mean()) if running else None
        row = {"step": record["steps"], "epoch": record["steps"] / whole, "loss": mean, "held_out": held,
               "seconds": record["seconds"], "cpu_seconds": record["cpu_seconds"]}  # fmt: skip
        running.clear()
        record["losses"].append(row)
        if checkpoint is not None:
            _save(checkpoint, network, optimiser, record)
        if tell is not None:
            tell(row)

    def out_of_time() -> bool:
        return minutes is not None and before_cpu + time.process_time() - worked >= 60 * minutes

    if not record["losses"]:
        note()
    while record["steps"] < last and not out_of_time():
        epoch, at = divmod(record["steps"], whole)
        which, part = divmod(int(np.random.default_rng([lesson.seed, 1, epoch]).permutation(whole)[at]), each)
        order = np.random.default_rng([lesson.seed, 2, epoch, which]).permutation(lesson.combinations)
        chosen = torch.as_tensor(order[part * lesson.batch : (part + 1) * lesson.batch])
        loss = exercises[which].loss(network, exercises[which].learned[chosen])
        if not torch.isfinite(loss):
            raise TrainingError(f"step {record['steps']}: the loss is {loss.item()}; a smaller learning rate may help")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        running.append(loss.detach())
        record["steps"] += 1
        if record["steps"] % lesson.every == 0:
            note()
    if record["losses"][-1]["step"] != record["steps"]:
        note()
    record["seconds"] = before + time.perf_counter() - began
    return record


def _digest(network: nn.Module, systems: Sequence[GridSystem], lesson: Lesson) -> str:
    """Of all that decides the weights; those that the network begins with are in a checkpoint themselves."""
    found = hashlib.sha256(json.dumps([lesson.decides(), [str(s.ends) for s in systems]], sort_keys=True).encode())
    for system in systems:
        for leaf in jax.tree.leaves(system):
            found.update(np.ascontiguousarray(np.asarray(leaf)).tobytes())
        found.update(str(system.shape).encode())
    found.update(str([(k, tuple(v.shape)) for k, v in network.state_dict().items()]).encode())
    return found.hexdigest()


def _save(path: str | Path, network: nn.Module, optimiser: torch.optim.Optimizer, record: dict[str, Any]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    tensors = prefixed("network", network.state_dict()) | prefixed("optimiser", optimizer_tensors(optimiser))
    write_tensors(path, tensors, record)


def _resumed(
    path: str | Path, network: nn.Module, optimiser: torch.optim.Optimizer, fresh: dict[str, Any]
) -> dict[str, Any]:
    tensors, record = read_tensors(path)
    if record.get("digest") != fresh["digest"]:
        raise InputError(f"checkpoint: {path} was made with other systems or settings; name another file or remove it")
    load_weights(network, under("network", tensors), path)
    restore_optimizer(optimiser, under("optimiser", tensors))
    return fresh | record
