"""Diffusion and sorption without data: a penalty, one hard constraint, and a mixture of them; accuracy and cost.

The published set-up is 1024 cells by 101 equal times, 16 functions, 20 000 points of each of 4 experts, an FNO of 5
layers, 8 modes and width 64 in float64, batches of 6, 4000 iterations. Here are 64 cells by 51 times, all points, an
FNO of 4 layers, 8 modes and width 24 in float32 under constraints in float64, batches of 4 and `STEPS` iterations:
about two and a half minutes of one core a run.

The first layer at the inflow, of thickness √(Dt/R), leaves residuals like 1/t whose square has no integral, whatever
the method; all three methods weigh the mean square in the interior by 2.5 (t/T)^1.5. Higher powers let a network leave
the equation at the start and follow another of its solutions from there.
"""

from __future__ import annotations

import statistics
import time
import warnings
from typing import Any

import numpy as np
import torch

from benchmarks._ledger import Kept, Ledger, extremes
from sciml import Grid
from sciml.constraints import PDEConstraint
from sciml.constraints._levenberg import Systems
from sciml.operators import FNO
from sciml.problems import DiffusionSorption
from sciml.solvers import FiniteVolume

# -- settings ---------------------------------------------------------------------------------------------------

SEEDS, FIRST_SEED = 3, 0
CELLS, TIMES, DURATION, FUNCTIONS, EXPERTS = 64, 51, 500.0, 16, 4
BATCH, STEPS, RATE, WIDTH, MODES, LAYERS = 4, 1000, 6e-3, 24, 8, 4
TOLERANCE, MAX_STEPS = 1e-4, 50
TESTS = (0.01, 0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.2)  # u(x, 0) of the cases that are asked for
#: ε of uⁿ at 0: under the constraints, which makes the residual easier to minimise, and of the reference
SMOOTHING, EXACT = 3e-3, 1e-3
REFINED = 4  # cells of the reference in one of the grid
SOFT, SINGLE, MIXTURE = "penalty", "one constraint", f"{EXPERTS} experts"
#: row -> experts, None for a penalty
METHODS = {SOFT: None, SINGLE: 1, MIXTURE: EXPERTS}
LARGE = "256 cells, 101 times"  # a quarter of the published cells; the check is made there
#: (cells, times, functions, cases) at which a step is timed: that of the runs, and one nearer to the published size
TIMED = {"as trained": (CELLS, TIMES, FUNCTIONS, BATCH), LARGE: (256, 101, FUNCTIONS, BATCH)}
REPEATS, WARM = {"as trained": 12, LARGE: 6}, 300  # steps timed, and of training before


def posed(cells: int, times: int) -> tuple[Grid, np.ndarray]:
    return Grid.uniform(DiffusionSorption().case().geometry, cells), np.linspace(0.0, DURATION, times)


def weighted(points: np.ndarray, times: np.ndarray) -> np.ndarray:
    return 2.5 * (times / DURATION) ** 1.5


def cases(initial: Any, smoothing: float = SMOOTHING) -> list[Any]:
    return [DiffusionSorption().case(initial=float(v), smoothing=smoothing) for v in initial]


class Method:
    """A network and how its answers come about.

    Args:
        experts: None for a network whose one function is the answer.
    """

    def __init__(self, experts: int | None, seed: int, cells: int = CELLS, times: int = TIMES, n: int = FUNCTIONS):
        torch.manual_seed(seed)
        self.experts, (self.grid, self.times) = experts, posed(cells, times)
        self.network = FNO(1, n if experts else 1, width=WIDTH, modes=(MODES, MODES), layers=LAYERS, padding=0.1)
        self.constraint = PDEConstraint(
            DiffusionSorption(), experts or 1, tolerance=TOLERANCE, max_steps=MAX_STEPS, on_failure="warn",
            weights={"interior": weighted},
        )  # fmt: skip
        self.optimiser = torch.optim.Adam(self.network.parameters(), RATE)
        self.random = np.random.default_rng(seed)

    def functions(self, initial: Any) -> torch.Tensor:
        x = torch.tensor(np.asarray(initial) * 5 - 0.5, dtype=torch.float32)[:, None, None, None]
        return self.network(x.expand(-1, 1, len(self.times), *self.grid.shape).contiguous()).double()

    def answer(self, initial: Any) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """(case, time, cell) u, the loss, and what `PDEConstraint` gives."""
        basis = self.functions(initial)
        if self.experts is None:
            return basis[:, 0], self.constraint.residuals(basis, cases(initial), self.grid, self.times)[1], None
        found = self.constraint(basis[:, :, None], cases(initial), self.grid, self.times)
        return found.fields[:, 0], found.loss, found

    def train(self, batch: int = BATCH) -> tuple[float, Any]:
        loss, found = self.answer(self.random.uniform(0.0, 0.2, batch))[1:]
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item(), found


# -- accuracy -----------------------------------------------------------------------------------------------------


def reference(cells: int, times: int) -> np.ndarray:
    """(case, time, cell) of the finite volumes of the package on a finer grid."""
    solver = FiniteVolume(resolution=cells * REFINED)
    found = []
    for case in cases(TESTS, EXACT):
        u = solver.solve(case, posed(cells, times)[1]).u.values
        found.append(u.reshape(times, cells, REFINED).mean(-1))
    return np.stack(found)


def errors(answer: np.ndarray, truth: np.ndarray, times: np.ndarray) -> list[float]:
    """Relative L2 error of each case over space and time."""
    edges = np.concatenate([times[:1], (times[1:] + times[:-1]) / 2, times[-1:]])
    spans = np.diff(edges)[:, None]
    gap, size = (np.sum(np.square(a) * spans, axis=(1, 2)) for a in (answer - truth, truth))
    return np.sqrt(gap / size).tolist()


def run(experts: int | None, seed: int, steps: int, truth: np.ndarray) -> dict[str, Any]:
    method = Method(experts, seed)
    schedule = torch.optim.lr_scheduler.OneCycleLR(method.optimiser, RATE, max(steps, 2))
    began, taken, failed, losses = time.process_time(), 0, 0, []
    for _ in range(steps):
        loss, found = method.train()
        losses.append(loss)
        if found is not None:
            taken, failed = taken + int(found.steps.sum()), failed + int((~found.converged).sum())
        schedule.step()
    seconds = time.process_time() - began
    with torch.no_grad():
        answer, loss, _ = method.answer(TESTS)
    each = errors(answer.numpy(), truth, method.times)
    solves = steps * BATCH * (experts or 1)
    return {
        "relative_l2": float(np.mean(each)), "by_case": each, "loss": float(loss), "seconds": seconds,
        "steps_a_solve": taken / solves if experts else None, "unconverged_share": failed / solves if experts else None,
    }  # fmt: skip


# -- cost -------------------------------------------------------------------------------------------------------


class Counted:
    """Counts what Levenberg and Marquardt do, while it is entered.

    Products of the terms with the weights, Jacobians, and normal equations, in multiplications and additions.
    """

    def __enter__(self) -> Counted:
        self.flops = {"mixing": 0, "jacobian": 0, "normal_equations": 0}
        self.linearised = 0
        self._former = Systems.points, Systems.linearised
        counted = self

        def points(systems: Systems, weights: torch.Tensor) -> Any:
            counted.flops["mixing"] += sum(2 * t.numel() for each in systems.terms for t in each)
            return counted._former[0](systems, weights)

        def linearised(systems: Systems, weights: torch.Tensor, at: Any) -> Any:
            for each in systems.terms:
                counted.flops["jacobian"] += sum(2 * t.numel() for t in each)
                counted.flops["normal_equations"] += 2 * each[0].numel() * each[0].shape[1]
            counted.linearised += len(weights)
            return counted._former[1](systems, weights, at)

        Systems.points, Systems.linearised = points, linearised  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: Any) -> None:
        Systems.points, Systems.linearised = self._former  # type: ignore[method-assign]


def timed(size: str, repeats: int, warm: int) -> dict[str, Any]:
    """Seconds of the processor of a training step and of an answer of both kinds, alternating, with the same cases at
    the same number of points; and what is counted of one answer of each."""
    cells, times, n, batch = TIMED[size]
    methods = {k: Method(k, 0, cells, times, n) for k in (1, EXPERTS)}
    for k, method in methods.items():  # functions as they are during training, of which every grid takes the weights
        trained = Method(k, 0)
        for _ in range(warm):
            trained.train()
        method.network.load_state_dict(trained.network.state_dict())
    found: dict[str, Any] = {"training": {k: [] for k in methods}, "inference": {k: [] for k in methods}}
    found |= {"constraint": {k: [] for k in methods}, "counted": {}}
    random = np.random.default_rng(7)
    for turn in range(repeats + 1):
        initial = random.uniform(0.0, 0.2, batch)
        for k in sorted(methods, reverse=bool(turn % 2)):
            method = methods[k]
            began = time.process_time()
            _, loss, solved = method.answer(initial)
            method.optimiser.zero_grad()
            loss.backward()
            stepped = time.process_time()
            with torch.no_grad():
                basis = method.functions(initial)[:, :, None]
                middle = time.process_time()
                with Counted() as counted:
                    method.constraint(basis, cases(initial), method.grid, method.times)
            ended = time.process_time()
            if turn:  # the first one warms up
                found["training"][k].append(stepped - began)
                found["inference"][k].append(ended - stepped)
                found["constraint"][k].append(ended - middle)
            steps = solved.steps.float()
            found["counted"].setdefault(k, []).append({
                **counted.flops, "jacobians": counted.linearised, "steps_mean": steps.mean().item(),
                "steps_most": steps.max().item(),
            })  # fmt: skip
    return found


def measure_cost(ledger: Ledger, kept: Any, quick: bool) -> None:
    for size in TIMED:
        repeats, warm = (1, 1) if quick else (REPEATS[size], WARM)

        def make(size: str = size, repeats: int = repeats, warm: int = warm) -> Any:
            return _plain(timed(size, repeats, warm))

        found = kept(make, kind="cost", size=size, repeats=repeats, warm=warm)
        for what in ("training", "inference", "constraint"):
            one, many = found[what]["1"], found[what][str(EXPERTS)]
            ratios = [a / b for a, b in zip(one, many, strict=True)]
            ledger.row(
                section="experts_cost", size=size, what=what, single_seconds=statistics.median(one),
                mixture_seconds=statistics.median(many), single_over_mixture=statistics.median(ratios),
                least=min(ratios), most=max(ratios), repeats=len(ratios),
            )  # fmt: skip
            if what == "training" and size == LARGE:
                spread = extremes(ratios, f"{len(ratios)} pairs of steps")
                for id in ("moe_training_step_vs_single", "moe_training_step_vs_single_far"):
                    ledger.check(
                        id,
                        statistics.median(ratios),
                        "most of a step is the network; the solve itself counts about as many operations with four",
                        spread=spread,
                        note=f"whole steps with the network, {size}, seconds of the processor",
                    )
        for k in ("1", str(EXPERTS)):
            counts = found["counted"][k]
            ledger.row(
                section="experts_counts", size=size, experts=int(k),
                **{name: statistics.median(c[name] for c in counts) for name in counts[0]},
            )  # fmt: skip


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {what: {str(k): v for k, v in each.items()} for what, each in found.items()}


# -- all of it ----------------------------------------------------------------------------------------------------


def measure(ledger: Ledger, work: Any) -> None:
    """Rows and checks of the part `experts`; finished runs are kept in benchmarks/work/constraints."""
    quick = bool(work.given.quick)
    kept = Kept("constraints", dry=quick)
    seeds = range(FIRST_SEED, FIRST_SEED + work.seeds(SEEDS))
    ledger.seeds(*seeds)
    steps = 2 if quick else STEPS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PDE constraint: ")  # unconverged solves are counted
        if quick:
            truth = np.ones((len(TESTS), TIMES, CELLS))
        else:
            truth = np.array(kept(lambda: reference(CELLS, TIMES).tolist(), kind="reference", tests=TESTS))
        for row, experts in METHODS.items():
            runs = [
                kept(lambda e=experts, s=seed: run(e, s, steps, truth), kind="run", row=row, seed=seed, steps=steps)
                for seed in seeds
            ]
            each = [r["relative_l2"] for r in runs]
            for seed, r in zip(seeds, runs, strict=True):
                ledger.row(section="experts", row=row, seed=seed, **{k: v for k, v in r.items() if k != "by_case"})
            if row == MIXTURE:
                ledger.check(
                    "moe_diffusion_sorption_relative_l2", statistics.mean(each),
                    "nothing but the equations joins the experts; a single constraint errs less, see the rows",
                    spread=extremes(each, f"{len(each)} seeds"), note="mean over seeds, as published",
                )  # fmt: skip
        measure_cost(ledger, kept, quick)
