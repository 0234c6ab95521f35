"""The generalised porous medium equation, learned by an attentive neural process and brought to its mass.

Published (D. Hansen et al., ICML 2023): 10,000 functions, 500 epochs, batches of 250, Adam at 1e-4, which are 20,000
steps; contexts and targets on a mesh of 10 times (one at random in each tenth) and 10 random places. Here are as many
functions and numbers, but batches of 40 at 5e-4, which learn more in the same operations: with 20 epochs 5,000 steps,
some 50 minutes of a core an equation (10 by default). On the way the loss of the porous medium jumps now and then.

In the last fifth of the epochs the rate falls to nothing, twice from the same weights: once as before, which is the row
"ANP", and once with the squared error of mass as a penalty, which is "SoftC", so that both have trained for as long.
The training is kept after each epoch, and goes on from there, to the same numbers; what was trained longer before is
asked as it is, and a column says how long.

Rows: the two networks; "HardC", the mean of the first projected; "ProbConserv", the update, bare, with smoothness, and
monotone and not negative; each with dropout off, as the network is meant to be asked, and on, as the published figures
were taken, whose code never leaves training mode.
"""

from __future__ import annotations

import copy
import hashlib
import json
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._ledger import WORK, Ledger
from sciml import PDEProblem
from sciml.constraints import (
    ConservationUpdate,
    Normal,
    Smoothness,
    log_likelihood,
    mean_squared_error,
    trapezoid,
)
from sciml.problems import PorousMedium, Stefan
from sciml.processes import AttentiveNeuralProcess
from sciml.training.checkpoint import read_tensors, write_tensors

SEED = 0
FIELDS = ("conservation_error_e3", "log_likelihood", "mean_squared_error_e4")
#: (problem, parameter, row) -> (CE · 10³, LL, MSE · 10⁴): weights that were published, asked with dropout on
PUBLISHED: Mapping[tuple[str, float, str], tuple[float, float, float]] = {
    ("porous_medium", 1.0, "ANP"): (6.75, 3.49, 0.96),
    ("porous_medium", 3.0, "ANP"): (-1.21, 3.67, 1.88),
    ("porous_medium", 6.0, "ANP"): (-2.54, 3.82, 7.66),
    ("porous_medium", 1.0, "SoftC"): (5.57, 3.11, 1.15),
    ("porous_medium", 3.0, "SoftC"): (-0.64, 3.46, 2.15),
    ("porous_medium", 6.0, "SoftC"): (-3.01, 3.50, 7.96),
    ("porous_medium", 1.0, "HardC"): (0.0, 3.15, 0.43),
    ("porous_medium", 3.0, "HardC"): (0.0, 3.43, 1.83),
    ("porous_medium", 6.0, "HardC"): (0.0, 3.41, 7.62),
    ("porous_medium", 1.0, "ProbConserv"): (0.0, 3.57, 0.18),
    ("porous_medium", 3.0, "ProbConserv"): (0.0, 3.68, 2.08),
    ("porous_medium", 6.0, "ProbConserv"): (0.0, 3.83, 10.3),
    ("stefan", 0.6, "ANP"): (-13.0, 3.54, 54.1),
    ("stefan", 0.6, "HardC"): (0.0, 1.94, 52.0),
    ("stefan", 0.6, "ProbConserv"): (0.0, 3.56, 19.0),
    ("stefan", 0.5, "ANP"): (-30.8, -0.53, 146.0),
    ("stefan", 0.5, "ProbConserv"): (0.0, -0.33, 140.0),
}


@dataclass(frozen=True)
class Setting:
    """How much of all.

    Args:
        functions: of the training set; batch: of them a step.
        epochs: of training, and last_epochs of them in which the rate falls.
        penalty: weight of the squared error of mass beside the bound for a point.
        across: contexts and targets are across² each.
        tests: functions a parameter; draws: of the latent variable; places: along x, for answers.
    """

    functions: int = 10_000
    batch: int = 40
    epochs: int = 10
    last_epochs: int = 2
    rate: float = 5e-4
    penalty: float = 100.0
    across: int = 10
    tests: int = 50
    draws: int = 100
    places: int = 201


QUICK = Setting(functions=20, batch=10, epochs=2, last_epochs=1, tests=2, draws=2)


@dataclass(frozen=True)
class Family:
    """One equation of the family.

    Args:
        last: times run from 0 to it; time: of the answers.
        tested: values of the parameter.
    """

    problem: PDEProblem
    parameter: str
    span: tuple[float, float]
    last: float
    time: float
    tested: tuple[float, ...]

    def case(self, value: float) -> Any:
        given: dict[str, Any] = {self.parameter: float(value)}
        return self.problem.case(**given)

    def functions(self, values: np.ndarray, across: int, random: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """(N, across², 2) points (t, x) and (N, across², 1) values of functions with these parameters."""
        points, found = [], []
        for value in values:
            t = self.last * (np.arange(across) + random.uniform(size=across)) / across
            x = np.sort(random.uniform(size=across))
            points.append(np.stack(np.meshgrid(t, x, indexing="ij"), axis=-1).reshape(-1, 2))
            found.append(self.case(value).exact(t, (x,))["u"].reshape(-1, 1))
        return torch.tensor(np.array(points), dtype=torch.float32), torch.tensor(np.array(found), dtype=torch.float32)


FAMILIES = {
    "porous_medium": Family(PorousMedium(), "exponent", (1.0, 6.0), 1.0, 0.5, (1.0, 3.0, 6.0)),
    "stefan": Family(Stefan(), "threshold", (0.55, 0.7), 0.1, 0.05, (0.6, 0.5)),
}


# -- training ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    network: AttentiveNeuralProcess
    soft: AttentiveNeuralProcess
    seconds: float
    epochs: int


def trained(family: Family, setting: Setting, folder: Path) -> Trained:
    """The network and the one with the penalty, from where the last training stopped."""
    random = np.random.default_rng([SEED, *family.problem.name.encode()])
    values = random.uniform(*family.span, setting.functions)
    contexts, targets = (family.functions(values, setting.across, random) for _ in range(2))
    data, masses = (*contexts, *targets), _masses(family, values)
    torch.manual_seed(SEED)
    common = AttentiveNeuralProcess()
    seconds, epochs = _fit("ANP", common, data, None, 0, setting.epochs - setting.last_epochs, family, setting, folder)
    found: list[AttentiveNeuralProcess] = []
    for name, penalty in (("ANP", None), ("SoftC", masses)):
        network = AttentiveNeuralProcess()
        network.load_state_dict(common.state_dict())
        more, _ = _fit(name, network, data, penalty, epochs, setting.last_epochs, family, setting, folder)
        found.append(network.eval())
        seconds += more / 2
    return Trained(found[0], found[1], seconds, epochs + setting.last_epochs)


def _train(name: str, setting: Setting, folder: Path) -> None:
    torch.set_num_threads(1)
    trained(FAMILIES[name], setting, folder)


def _masses(family: Family, values: np.ndarray, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Times (count,), and the masses (N, count) of functions there."""
    times = family.last * (np.arange(count) + 1) / count
    found = np.array([family.case(v).problem.mass(family.case(v), times) for v in values])
    return torch.tensor(times, dtype=torch.float32), torch.tensor(found, dtype=torch.float32)


def _fit(
    name: str, network: AttentiveNeuralProcess, data: tuple[torch.Tensor, ...],
    masses: tuple[torch.Tensor, torch.Tensor] | None, before: int, epochs: int, family: Family, setting: Setting,
    folder: Path,
) -> tuple[float, int]:  # fmt: skip
    """Seconds and epochs of training, in all calls; each is kept, and its batches and draws follow from its number.

    Args:
        before: epochs that the network has; with any, the rate falls to nothing in these.
    """
    own = replace(setting, tests=0, draws=0, places=0, epochs=before, last_epochs=epochs if before else 0)
    told = json.dumps([name, family.problem.name, asdict(own), SEED])
    path = folder / f"{family.problem.name}_{name}_{hashlib.sha256(told.encode()).hexdigest()[:12]}.safetensors"
    names = [n for n, _ in network.named_parameters()]
    adam = torch.optim.Adam(network.parameters(), setting.rate)
    done, seconds = 0, 0.0
    if path.exists():
        tensors, state = read_tensors(path)
        done, seconds = int(state["epochs"]), float(state["seconds"])
        network.load_state_dict({n: tensors[f"weights.{n}"] for n in network.state_dict()})
        moments = {
            k: {"step": torch.tensor(float(state["steps"])), "exp_avg": tensors[f"first.{n}"],
                "exp_avg_sq": tensors[f"second.{n}"]}
            for k, n in enumerate(names)
        }  # fmt: skip
        adam.load_state_dict({"state": moments, "param_groups": adam.state_dict()["param_groups"]})
    network.train()
    steps = setting.functions // setting.batch
    for epoch in range(done, epochs):
        began, losses = time.process_time(), []
        torch.manual_seed(SEED + 1 + before + epoch)
        for step, pick in enumerate(torch.randperm(setting.functions)[: steps * setting.batch].chunk(steps)):
            if before:
                adam.param_groups[0]["lr"] = setting.rate * (1 - (epoch * steps + step) / (epochs * steps))
            s, u, x, y = (part[pick] for part in data)
            loss = -network.elbo(s, u, x, y).mean()
            if masses is not None:
                loss = loss + setting.penalty * _penalty(network, s, u, masses[0], masses[1][pick])
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            adam.step()
            losses.append(float(loss.detach()))
        seconds += time.process_time() - began
        state = adam.state_dict()["state"]
        moments = {f"{m}.{n}": state[k][key] for k, n in enumerate(names)
                   for m, key in (("first", "exp_avg"), ("second", "exp_avg_sq"))}  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        weights = {f"weights.{n}": v for n, v in network.state_dict().items()}
        note = {"epochs": epoch + 1, "steps": (epoch + 1) * steps, "seconds": seconds}
        write_tensors(path, weights | moments, note)
        print(f"{path.stem}: epoch {epoch + 1} of {epochs}, loss {statistics.fmean(losses):.4f}", flush=True)
    return seconds, max(done, epochs)


def _penalty(
    network: AttentiveNeuralProcess, s: torch.Tensor, u: torch.Tensor, times: torch.Tensor, masses: torch.Tensor,
    places: int = 21,
) -> torch.Tensor:  # fmt: skip
    """The mean square of G μ(t) − b(t) at one of the times, the latent variable at its mean."""
    k = int(torch.randint(len(times), ()))
    x = torch.linspace(0.0, 1.0, places)
    points = torch.stack([times[k].expand(places), x], dim=-1).expand(len(s), -1, -1)
    weights = trapezoid(np.linspace(0.0, 1.0, places)).float()
    return (network(s, u, points).mean[..., 0] @ weights - masses[:, k]).square().mean()


# -- evaluation -------------------------------------------------------------------------------------------------


def evaluated(
    network: Trained, family: Family, value: float, setting: Setting, dropout: bool
) -> dict[str, dict[str, float]]:
    """Scores of all rows, each the mean over functions with its standard error."""
    random = np.random.default_rng([SEED, 1, int(1000 * value), *family.problem.name.encode()])
    x = np.linspace(0.0, 1.0, setting.places)
    case = family.case(value)
    truth = torch.from_numpy(case.exact([family.time], (x,))["u"][0])
    mass = torch.from_numpy(case.problem.mass(case, [family.time]))
    s, u = family.functions(np.full(setting.tests, value), setting.across, random)
    points = torch.tensor(np.stack([np.full_like(x, family.time), x], -1), dtype=torch.float32)
    points = points.expand(setting.tests, -1, -1)
    weights = trapezoid(x)
    update, smooth, shaped = (
        ConservationUpdate(weights), ConservationUpdate(weights, smoothness=Smoothness(x)),
        ConservationUpdate(weights, nonnegative=True, monotone=-1),
    )  # fmt: skip
    answers: dict[str, Normal] = {}
    for name, net in (("ANP", network.network), ("SoftC", network.soft)):
        asked = copy.deepcopy(net).eval()
        asked.dropout_at_evaluation = dropout
        torch.manual_seed(SEED)  # of what dropout drops
        found = asked.predict(s, u, points, setting.draws, torch.Generator().manual_seed(SEED))
        answers[name] = Normal(found.mean[..., 0].double(), found.deviation[..., 0].double().square())
    prior = answers["ANP"]
    answers["HardC"] = Normal(update.hard(prior.mean, mass), prior.variance)
    answers["ProbConserv"] = update(prior, mass)
    answers["ProbConserv, smooth"] = smooth(prior, mass)
    answers["ProbConserv, falling and not negative"] = shaped(prior, mass)
    return {name: _scores(a, update, mass, truth) for name, a in answers.items()}


def _scores(given: Normal, update: ConservationUpdate, mass: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    each = (
        1e3 * update.error(given.mean, mass)[..., 0], log_likelihood(given, truth),
        1e4 * mean_squared_error(given.mean, truth),
    )  # fmt: skip
    found = {}
    for name, values in zip(FIELDS, each, strict=True):
        found[name] = float(values.mean())
        found[f"{name}_standard_error"] = float(values.std() / len(values) ** 0.5)
    return found


def measure(ledger: Ledger, work: Any) -> None:
    """Train, ask, correct, and write down.

    Args:
        work: its `given.quick` says whether very little of all is wanted.
    """
    quick = bool(work.given.quick)
    epochs = work.given.epochs
    setting = QUICK if quick else Setting(epochs=epochs, last_epochs=max(1, epochs // 5))
    folder = WORK / "constraints" / ("quick" if quick else "gpme")
    ledger.seeds(SEED)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:  # each on a core of its own; what they train is kept
        for job in [pool.submit(_train, name, setting, folder) for name in FAMILIES]:
            job.result()
    for name, family in FAMILIES.items():
        networks = trained(family, setting, folder)
        for value in family.tested:
            for dropout in (False, True):
                found = evaluated(networks, family, value, setting, dropout)
                for row, scores in found.items():
                    published = PUBLISHED.get((name, value, row)) if dropout else None
                    beside = dict(zip((f"published_{f}" for f in FIELDS), published or (None,) * 3, strict=True))
                    ledger.row(
                        section="gpme", problem=name, **{family.parameter: value}, row=row,
                        dropout_at_evaluation=dropout, epochs=networks.epochs,
                        steps=networks.epochs * (setting.functions // setting.batch), functions=setting.tests,
                        draws=setting.draws, training_seconds=networks.seconds,
                        **scores, **beside,
                    )  # fmt: skip
