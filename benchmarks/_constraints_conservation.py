"""What an update leaves of known masses, and what it costs beside the network that it corrects.

The network is the attentive neural process of the published size, at the weights that it is made with: what is left of
a mass does not depend on them, nor does the time. It answers for functions of five conservation laws, whose masses
follow from their balances and conditions; how accurate trained ones are is the part `gpme`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks._ledger import Ledger, extremes
from sciml.constraints import ConservationUpdate, Normal, Smoothness, trapezoid
from sciml.problems import BurgersRamp, Diffusion, PorousMedium, Stefan, StepTransport
from sciml.processes import AttentiveNeuralProcess

PLACES, FUNCTIONS, CONTEXTS, REPEATS = 201, 50, 100, 15
#: law -> time of the answers
LAWS = {Diffusion: 0.5, PorousMedium: 0.5, Stefan: 0.05, StepTransport: 0.5, BurgersRamp: 0.5}


def measure(ledger: Ledger, work: Any) -> None:
    """Rows by law and update, and the checks of mass and of cost."""
    functions, repeats = (4, 2) if work.given.quick else (FUNCTIONS, REPEATS)
    ledger.seeds(0)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, random = AttentiveNeuralProcess().eval(), np.random.default_rng(0)
    defects, shares = [], []
    for kind, moment in LAWS.items():
        problem = kind()
        case = problem.case()
        ((low, high),) = case.geometry.extents
        x = np.linspace(low, high, PLACES)
        given = np.stack([
            moment * random.uniform(size=(functions, CONTEXTS)), random.uniform(low, high, (functions, CONTEXTS)),
        ], -1)  # fmt: skip
        values = np.stack([
            case.exact([t], (np.array([at]),))["u"].ravel() for t, at in given.reshape(-1, 2)
        ]).reshape(functions, CONTEXTS, 1)  # fmt: skip
        s, u = (torch.tensor(a, dtype=torch.float32) for a in (given, values))
        asked = torch.tensor(np.stack([np.full_like(x, moment), x], -1), dtype=torch.float32)
        points = asked.expand(functions, -1, -1)

        def predict(s: Any = s, u: Any = u, points: Any = points) -> Any:
            return network.predict(s, u, points, 1)

        found = predict()
        prior = Normal(found.mean[..., 0].double(), found.deviation[..., 0].double().square())
        mass = torch.as_tensor(problem.mass(case, [moment])).double()
        weights = trapezoid(x)
        # the mean of the shaped ones is the most probable that falls; there is one where the mass is no less than zero
        updates = {
            "exact": ConservationUpdate(weights),
            "smooth": ConservationUpdate(weights, smoothness=Smoothness(x)),
        }
        if kind in (PorousMedium, Stefan):
            updates["falling, not negative"] = ConservationUpdate(weights, nonnegative=True, monotone=-1)
        size = (prior.mean.abs() @ weights).max() + mass.abs().max()
        for name, update in updates.items():
            after = update(prior, mass)
            defect = float(update.error(after.mean, mass).abs().max() / size)
            left = None
            if name == "exact":
                spread = (weights * prior.variance * weights).sum(-1).sqrt().max() * prior.variance.sqrt().max()
                left = float((weights @ after.covariance).abs().max() / spread)
            seconds = _turns({"network": predict, "update": lambda u=update, p=prior, b=mass: u(p, b)}, repeats)
            share = [b / a for a, b in zip(seconds["network"], seconds["update"], strict=True)]
            ledger.row(
                section="conservation", law=problem.title, update=name, functions=functions, places=PLACES,
                before=float(update.error(prior.mean, mass).abs().max() / size), after=defect, covariance_left=left,
                network_seconds=statistics.median(seconds["network"]), update_over_network=statistics.median(share),
                update_over_network_least=min(share), update_over_network_most=max(share),
            )  # fmt: skip
            defects += [defect] if left is None else [defect, left]
            if name == "exact":
                shares.append(statistics.median(share))
    note = (
        f"largest of {len(defects)}, over the size of the mass; of exact updates what is left of the covariance of the "
        "mass with any value is among them"
    )
    ledger.check("conservation_defect_after_update", max(defects), note, spread=extremes(defects, "rows"), note=note)
    note = f"of the exact update, {PLACES} places, beside one pass of the network for {functions} functions"
    ledger.check("conservation_update_cost_share", max(shares), note, spread=extremes(shares, "laws"), note=note)


def _turns(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of the processor of each call, taking turns, after one to warm up."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            began = time.process_time()
            call()
            if turn:
                found[name].append(max(time.process_time() - began, 1e-9))
    return found
