"""A learned answer to problems on networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sciml import registry
from sciml.contracts import Signature, build
from sciml.errors import InputError, TrainingError, is_number, positive
from sciml.operators.convergent_graph import ConvergentGraph
from sciml.problems.networks import Network
from sciml.solvers import _saved
from sciml.training.checkpoint import load_weights, plain

#: networks, or what draws one
Networks = Sequence[Network] | Callable[[np.random.Generator], Network]
LEAST = 1e-6  # a spread below this share of the size is none


@registry.linear_solvers.register("convergent_graph")
class ConvergentGraphSolver:
    """Answers problems on networks by a `ConvergentGraph` that was trained on others: see there for its equations.

    A regressor. It is shown what a network is made of and says what it takes the answer for; no residual is made
    small, and `solve` is no solution of a linear system to any tolerance. Where a sparse solve is at hand, as it is for
    pressures in pores, that is exact and seldom slower; what a regressor is for are answers that it can be trained on
    and that cost more than that.

    Numbers at nodes and along edges, and answers, are shifted and scaled by what the training networks have.

    Args:
        options: of the operator: `heads`, `gamma`, `exact`, `weights`, `width`, `layers`, ...

    Attributes:
        operator: once it is trained.
        record: of training: steps, seconds, losses on the way, settings.
    """

    name = "convergent_graph"

    def __init__(self, **options: Any):
        build(ConvergentGraph, Signature(1, 1, 1), {"edge_channels": 1} | options)  # refuses what is no option
        self.options = options
        self.operator: ConvergentGraph | None = None
        self.scales: dict[str, np.ndarray] = {}
        self.record: dict[str, Any] = {}

    @property
    def fitted(self) -> bool:
        return self.operator is not None

    def fit(
        self,
        networks: Networks,
        *,
        steps: int = 1000,
        batch: int = 16,
        lr: float = 1e-3,
        minutes: float | None = None,
        pool: int = 256,
        fresh: int = 1,
        seed: int = 0,
        tell: Callable[[int, float], None] | None = None,
    ) -> Self:
        """Train anew: Adam on the mean square error at free nodes, with a learning rate that rises over the first
        twentieth and falls to zero as half a cosine.

        Args:
            networks: with their answers; or what draws one from a generator of NumPy.
            steps: of Adam.
            batch: networks a step.
            lr: learning rate.
            minutes: after which training ends before its steps are done, the learning rate falling in time; the result
                then depends on the machine.
            pool: networks that are kept where they are drawn.
            fresh: of these, as many are replaced by new ones at every step.
            seed: of weights, order and draws.
            tell: is told of steps, with the mean loss since the last time, now and then.

        Returns:
            itself, trained.

        Raises:
            InputError: networks without answers or of different kinds, settings out of range.
            TrainingError: a loss that is not finite.
        """
        for name, value in (("steps", steps), ("batch", batch), ("pool", pool)):
            positive(name, value)
        for name, value in (("fresh", fresh), ("seed", seed)):
            positive(name, value, 0)
        if not is_number(lr) or lr <= 0:
            raise InputError(f"lr: expected a number above 0, got {lr!r}")
        if minutes is not None and (not is_number(minutes) or minutes <= 0):
            raise InputError(f"minutes: expected a number above 0, or None, got {minutes!r}")
        rng, began = np.random.default_rng(seed), time.perf_counter()
        draw = networks if callable(networks) else None
        kept = [draw(rng) for _ in range(pool)] if draw is not None else list(networks)  # type: ignore[arg-type]
        _check(kept)
        self.scales = _scales(kept)
        first = kept[0]
        assert first.answer is not None
        dimensions = 1 if first.points is None else first.points.shape[1]
        chosen = {"edge_channels": first.links.shape[1], "positions": first.points is not None} | self.options
        signature = Signature(first.nodes.shape[1], first.answer.shape[1], dimensions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = build(ConvergentGraph, signature, chosen)
        self.operator, tensors = net.train(), [self._tensors(n) for n in kept]
        adam = torch.optim.Adam(net.parameters(), lr=lr)
        order, losses, since, step = _batches(rng, len(kept), batch), [], [], 0
        limit = math.inf if minutes is None else 60 * minutes
        while step < steps and (step == 0 or time.perf_counter() - began < limit):
            done = max(step / steps, (time.perf_counter() - began) / limit)
            rate = lr * min(1.0, done * 20 + 1 / steps) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
            for group in adam.param_groups:
                group["lr"] = rate
            given, wanted, free = _together([tensors[i] for i in next(order)])
            loss = (net(**given) - wanted)[free].square().mean()
            if not bool(torch.isfinite(loss)):
                raise TrainingError(f"step {step}: the loss is not finite")
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            adam.step()
            since.append(loss.item())
            step += 1
            if step % max(steps // 50, 1) == 0 or step == steps:
                losses.append([step, float(np.mean(since))])
                if tell is not None:
                    tell(step, losses[-1][1])
                since = []
            for _ in range(fresh if draw is not None else 0):
                new, place = draw(rng), int(rng.integers(len(kept)))  # type: ignore[misc]
                _check([first, new])
                tensors[place] = self._tensors(new)
        net.eval()
        self.record = plain({
            "steps": step, "seconds": time.perf_counter() - began, "losses": losses, "batch": batch, "lr": lr,
            "asked_steps": steps, "minutes": minutes, "seed": seed,
            "parameters": sum(p.numel() for p in net.parameters()),
            "networks": len(kept) if draw is None else f"{pool} drawn, {fresh} new a step",
        })  # fmt: skip
        return self

    def solve(self, network: Network) -> np.ndarray:
        """(n, k) the answer at all nodes; where a node is not free, what is given there.

        Raises:
            InputError: not trained yet, or a network of another kind than those.
        """
        return self.solve_many([network])[0]

    def solve_many(self, networks: Sequence[Network]) -> list[np.ndarray]:
        """The same of several at once."""
        if self.operator is None:
            raise InputError("solve: the solver has not been trained; call fit or load first")
        for n in networks:
            if not isinstance(n, Network):
                raise InputError(f"network: expected a Network, got {type(n).__name__}")
            points = 1 if n.points is None else n.points.shape[1]
            got = (n.nodes.shape[1], n.links.shape[1], points, n.points is not None)
            net = self.operator
            wanted = (net.in_channels, net.edge_channels, net.dimensions, net.positions)
            if got != wanted:
                raise InputError(
                    f"network: expected {wanted[0]} numbers a node, {wanted[1]} an edge, {wanted[2]} coordinates as "
                    f"those that were trained on, got {got[0]}, {got[1]}, {got[2]}"
                )
        given, _, _ = _together([self._tensors(n) for n in networks])
        with torch.no_grad():
            flat = self.operator(**given).double().numpy()
        flat = flat * self.scales["answer_spread"] + self.scales["answer_mean"]
        found = np.split(flat, np.cumsum([len(n) for n in networks])[:-1])
        for n, values in zip(networks, found, strict=True):
            if n.answer is not None and not np.all(n.free):
                values[~n.free] = n.answer[~n.free]  # type: ignore[operator]
        return found

    def save(self, directory: str | Path) -> None:
        """Write config.json, weights.safetensors and learned.safetensors.

        Raises:
            InputError: not trained yet, or a directory that cannot be made.
        """
        if self.operator is None:
            raise InputError("save: the solver has not been trained; call fit or load first")
        weights = {k: v.numpy() for k, v in self.operator.state_dict().items()}
        content = {"options": plain(self.options), "operator": plain(self.operator.config()), "training": self.record}
        _saved.write_parts(directory, self.name, content, {"weights": weights, "learned": self.scales})

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        with _saved.reading(directory, cls.name, ("weights", "learned")) as (content, arrays):
            found = cls(**content["options"])
            found.operator = ConvergentGraph(**content["operator"]).eval()
            path = _saved.folder_of(directory) / "weights.safetensors"
            load_weights(found.operator, {k: torch.from_numpy(v) for k, v in arrays["weights"].items()}, path)
            found.scales, found.record = arrays["learned"], content["training"]
        return found

    def _tensors(self, network: Network) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """(arguments of the operator but `graph`, answer, where it is free)."""
        s = self.scales

        def scaled(name: str, values: np.ndarray) -> Tensor:
            return torch.tensor((values - s[f"{name}_mean"]) / s[f"{name}_spread"], dtype=torch.float32)

        points = np.zeros((len(network), 1)) if network.points is None else network.points
        place, edges = torch.tensor(points, dtype=torch.float32), torch.tensor(network.edges)
        given = {
            "nodes": scaled("nodes", network.nodes), "points": place, "edges": edges,
            "offsets": place[edges[1]] - place[edges[0]], "features": scaled("links", network.links),
        }  # fmt: skip
        channels = len(s["answer_mean"])
        answer = np.zeros((len(network), channels)) if network.answer is None else np.nan_to_num(network.answer)
        return given, scaled("answer", answer), torch.tensor(network.free)


def _check(networks: Sequence[Any]) -> None:
    """Refuse what is no network, has no answer, or is of another kind than the first."""
    if not networks:
        raise InputError("networks: expected at least one, got none")
    first = None
    for i, n in enumerate(networks):
        if not isinstance(n, Network):
            raise InputError(f"networks: expected a Network, got {type(n).__name__} (number {i})")
        if not n.solved:
            raise InputError(f"networks: number {i} has no answer to be trained on")
        points = None if n.points is None else n.points.shape[1]
        assert n.answer is not None
        kind = (n.nodes.shape[1], n.links.shape[1], points, n.answer.shape[1])
        first = kind if first is None else first
        if kind != first:
            raise InputError(
                f"networks: number {i} has (nodes, links, coordinates, answers) of {kind}, the first has {first}"
            )


def _scales(networks: Sequence[Network]) -> dict[str, np.ndarray]:
    """Mean and spread of what is at nodes and along edges, and of answers at free nodes."""
    found = {}
    for name in ("nodes", "links", "answer"):
        rows = np.concatenate([getattr(n, name)[n.free] if name == "answer" else getattr(n, name) for n in networks])
        mean, spread = rows.mean(0), rows.std(0)
        still = spread <= LEAST * np.abs(mean)
        found[f"{name}_mean"] = np.where(still & (name != "answer"), 0.0, mean)
        found[f"{name}_spread"] = np.where(still, 1.0, spread)
    return found


def _batches(rng: np.random.Generator, count: int, batch: int) -> Iterator[np.ndarray]:
    """Numbers of networks, each as often as the others."""
    left = np.zeros(0, int)
    while True:
        while len(left) < min(batch, count):
            left = np.concatenate((left, rng.permutation(count)))
        yield left[: min(batch, count)]
        left = left[min(batch, count) :]


def _together(several: Sequence[tuple[dict[str, Tensor], Tensor, Tensor]]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Several networks as one graph."""
    counts = torch.tensor([len(g["nodes"]) for g, _, _ in several])
    starts = torch.cumsum(counts, 0) - counts
    given = {n: torch.cat([g[n] for g, _, _ in several]) for n in ("nodes", "points", "offsets", "features")}
    given["edges"] = torch.cat([g["edges"] + start for (g, _, _), start in zip(several, starts, strict=True)], 1)
    given["graph"] = torch.repeat_interleave(torch.arange(len(several)), counts)
    return given, torch.cat([a for _, a, _ in several]), torch.cat([f for _, _, f in several])
