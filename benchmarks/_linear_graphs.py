"""Convergent graph solvers: a contraction and its derivative to rounding; pressures in pores and values of states, on
networks that were not trained on, beside what costs nothing and beside the exact sparse solve.

The error is ‖p̂ − p‖ over ‖p − p̄‖ at the pores where no pressure is given, p̄ being the mean of a network: 1 for who
knows that mean and nothing else. Both norms go over all held-out networks together, since where a narrow throat takes
all the pressure the others' are equal, and an error over their spread means little; the median and the worst of single
networks stand beside it, and the root mean square of p̂ − p over the pressure from inlet to outlet.

A training is kept in the work folder and found again while settings and the files that decide it are the same.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._ledger import HERE, WORK, Ledger, quantiles
from sciml.contracts import Signature, build
from sciml.operators import ConvergentGraph
from sciml.problems.networks import (
    Network,
    PoreNetwork,
    StateGraph,
    random_pores,
    random_states,
    read_statoil,
)
from sciml.solvers.linear import ConvergentGraphSolver, PoreSystem

MILLIDARCY = 9.869233e-16  # m²
HELD = 50  # networks of each kind that are tested on
DECIDES = (
    "operators/_graph.py", "operators/convergent_graph.py", "problems/networks", "solvers/linear/convergent_graph.py",
)  # fmt: skip
PUBLISHED = {"heads": 16, "layers": 1, "width": 32, "gamma": 0.5}
#: name -> networks that it is trained on, title, options, settings of training
MODELS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "pores_published": ("random", "γ = 0.5, clipped weights", {**PUBLISHED, "weights": "clip"}, {"steps": 600}),
    "pores_half": ("random", "γ = 0.5", PUBLISHED, {"steps": 600}),
    "pores_exact": ("random", "γ = 0.999, exact", {**PUBLISHED, "gamma": 0.999, "exact": True}, {"steps": 600}),
    "berea_exact": ("Berea", "γ = 0.999, exact", {**PUBLISHED, "gamma": 0.999, "exact": True}, {"steps": 600}),
    "states_half": ("states", "γ = 0.5", {"heads": 64, "layers": 4, "width": 32, "gamma": 0.5}, {"steps": 600}),
    "states_exact": (
        "states", "γ = 0.9, exact", {"heads": 16, "layers": 4, "width": 32, "gamma": 0.9, "exact": True},
        {"steps": 600},
    ),
}  # fmt: skip
COMMON = {"batch": 8, "lr": 3e-3, "pool": 128, "fresh": 1, "seed": 0}
BEST = "pores_exact"


def measure(ledger: Ledger, work: Any) -> None:
    """All rows and both checks."""
    torch.set_num_threads(1)
    ledger.seeds(0)
    found = derivative()
    ledger.row(section="convergent_graph_mathematics", **found)
    worst = max(v for k, v in found.items() if k.endswith("error") or k.endswith("excess"))
    note = "the largest of: contraction beyond γ, fixed point from the dense solution, derivative from differences"
    ledger.check("convergent_graph_contraction_and_gradient_error", worst, note=note)
    real = None if work.pores is None else read_statoil(work.pores)
    if real is None:
        ledger.row(section="convergent_graph", left_out="no folder with Berea's network: --data")
    models = {
        n: trained(n, real, work.quick) for n, (kind, *_) in MODELS.items() if kind != "Berea" or real is not None
    }
    for kind in ("random", "Berea", "states"):
        if kind != "Berea" or real is not None:
            on_held_out(ledger, kind, real, models, 4 if work.quick else HELD)
    if real is not None:
        whole(ledger, real, models)


# -- networks --------------------------------------------------------------------------------------------------------


def drawing(kind: str, real: Any, held: bool = False) -> Callable[[np.random.Generator], PoreNetwork | StateGraph]:
    """What draws a network of a kind; from Berea, boxes in one half of it, and in the other those that are held out."""
    if kind == "random":
        return random_pores
    if kind == "states":
        return random_states
    pores, size = real.pores(), real.size

    def cut(rng: np.random.Generator) -> PoreNetwork:
        while True:
            side = rng.uniform(0.2, 0.34) * size
            low = rng.random(3) * (size - side)
            low[2] = rng.random() * (size[2] / 2 - side[2]) + held * size[2] / 2
            try:
                part = pores.cut(np.stack((low, low + side), 1))
            except ValueError:
                continue
            if 50 <= len(part) <= 300:
                return part

    return cut


def trained(name: str, real: Any, quick: bool = False) -> ConvergentGraphSolver:
    """The solver of this name, from the work folder if it is there."""
    kind, _, options, settings = MODELS[name]
    settings = COMMON | settings | ({"steps": 3, "pool": 4} if quick else {})
    code = hashlib.sha256(json.dumps([options, settings], sort_keys=True).encode())
    for place in DECIDES:
        path = HERE.parent / "sciml" / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            code.update(_meant(file).encode())
    folder = WORK / "linear_graphs" / f"{name}_{code.hexdigest()[:12]}"
    if not quick and (folder / "config.json").exists():
        return ConvergentGraphSolver.load(folder)
    draw, solver, began = drawing(kind, real), ConvergentGraphSolver(**options), time.process_time()

    def tell(step: int, loss: float) -> None:
        print(f"{name}: step {step}, loss {loss:.3g}, {time.process_time() - began:.0f} s", flush=True)

    solver.fit(lambda rng: draw(rng).network(), **settings, tell=tell)
    solver.record["cpu_seconds"] = time.process_time() - began
    if not quick:
        solver.save(folder)
    return solver


def _meant(path: Path) -> str:
    """What a program says, without what it says about itself."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


# -- rows ------------------------------------------------------------------------------------------------------------


def errors(networks: Sequence[Network], answers: Sequence[np.ndarray]) -> np.ndarray:
    """(network, 3): the sums of (p̂ − p)² and of (p − p̄)² at free nodes, and the number of these."""
    found = []
    for n, y in zip(networks, answers, strict=True):
        assert n.answer is not None
        truth = n.answer[n.free]
        found.append((np.square(y[n.free] - truth).sum(), np.square(truth - truth.mean()).sum(), len(truth)))
    return np.array(found)


def relative(found: np.ndarray) -> float:
    """‖p̂ − p‖ over ‖p − p̄‖ of all networks together."""
    return float(np.sqrt(found[:, 0].sum() / found[:, 1].sum()))


def columns(found: np.ndarray) -> dict[str, float]:
    single = np.sqrt(found[:, 0] / found[:, 1])
    return {
        "relative_l2_error": relative(found), "relative_l2_error_median": float(np.median(single)),
        "relative_l2_error_worst": float(single.max()),
        "rms_error": float(np.sqrt(found[:, 0].sum() / found[:, 2].sum())),
    }  # fmt: skip


def on_held_out(ledger: Ledger, kind: str, real: Any, models: dict[str, ConvergentGraphSolver], count: int) -> None:
    """Rows of one kind of networks: what costs nothing, every model for them, and the exact solution."""
    draw = drawing(kind, real, held=True)
    made = [draw(np.random.default_rng(10_000 + k)) for k in range(count)]
    networks = [m.network() for m in made]
    section = {"section": "convergent_graph", "networks": kind, "held_out": count}
    free = {"mean of training answers": [_mean(kind, models, n) for n in networks]}
    if kind == "states":
        free["one step of Bellman's from that mean"] = [
            _step(m, y) for m, y in zip(made, free["mean of training answers"], strict=True)
        ]
    else:
        free["straight line from inlet to outlet"] = [m.along()[:, None] for m in made]  # type: ignore[union-attr]
    for title, answers in free.items():
        ledger.row(**section, model=title, **columns(errors(networks, answers)))
    exact = seconds_of(lambda m: m.values() if kind == "states" else _sparse(m), made)
    ledger.row(**section, model="value iteration to 1e-12" if kind == "states" else "sparse LU", relative_l2_error=0.0,
               milliseconds_a_network=1e3 * exact)  # fmt: skip
    for name, solver in models.items():
        trained_on, title, *_ = MODELS[name]
        if (trained_on == "states") != (kind == "states"):
            continue
        answers = solver.solve_many(networks)
        found = errors(networks, answers)
        extra = {}
        if kind != "states":
            off = [abs(m.flow(m.pressure_of(y))[0] / m.flow()[0] - 1) for m, y in zip(made, answers, strict=True)]  # type: ignore[union-attr]
            extra = {"inlet_flow_error_median": float(np.median(off))}
        ledger.row(
            **section, model=title, trained_on=trained_on, **columns(found), **extra,
            milliseconds_a_network=1e3 * seconds_of(solver.solve, networks),
            milliseconds_a_network_in_batch=1e3 * seconds_of(lambda _, s=solver: s.solve_many(networks), [0]) / count,
            weights=solver.record["parameters"], steps=solver.record["steps"],
            training_cpu_seconds=solver.record["cpu_seconds"],
        )  # fmt: skip
        print(f"{kind}, {title}, trained on {trained_on}: {relative(found):.4f}", flush=True)
        if kind == "random" and name == BEST:
            ledger.check(
                "convergent_graph_pore_flow_relative_error", relative(found),
                spread=quantiles(np.sqrt(found[:, 0] / found[:, 1]).tolist(), f"{count} held-out networks, one by one"),
                note="‖p̂ − p‖ / ‖p − p̄‖ at the free pores of all of them; γ = 0.999 with the fixed point solved",
            )  # fmt: skip


def whole(ledger: Ledger, real: Any, models: dict[str, ConvergentGraphSolver]) -> None:
    """All of Berea's network, forty times what models were trained on, and its permeability."""
    pores = real.pores()
    network = pores.network()
    ledger.row(
        section="convergent_graph_berea", pores=len(real.points), throats=len(real.links), porosity=real.porosity,
        permeability_millidarcy=pores.permeability() / MILLIDARCY, milliseconds=1e3 * seconds_of(_sparse, [pores]),
        model="sparse LU",
    )  # fmt: skip
    ledger.row(section="convergent_graph_berea", model="straight line from inlet to outlet",
               **columns(errors([network], [pores.along()[:, None]])))  # fmt: skip
    for name, solver in models.items():
        if MODELS[name][0] == "states":
            continue
        row: dict[str, Any] = {
            "section": "convergent_graph_berea",
            "model": MODELS[name][1],
            "trained_on": MODELS[name][0],
        }
        began = time.perf_counter()
        try:
            answer = solver.solve(network)
        except RuntimeError as error:
            ledger.row(**row, failed=str(error)[:120])
            continue
        seconds = time.perf_counter() - began
        flow = pores.flow(pores.pressure_of(answer))[0] / pores.flow()[0]
        ledger.row(
            **row, **columns(errors([network], [answer])), inlet_flow_error=abs(flow - 1), milliseconds=1e3 * seconds
        )


def _sparse(pores: PoreNetwork) -> np.ndarray:
    from scipy.sparse.linalg import spsolve

    system = PoreSystem(pores)
    return system.pressure(np.asarray(spsolve(system.matrix().tocsc(), system.rhs)))


def _mean(kind: str, models: dict[str, ConvergentGraphSolver], network: Network) -> np.ndarray:
    solver = next(s for n, s in models.items() if MODELS[n][0] == kind)
    return np.full((len(network), 1), float(solver.scales["answer_mean"][0]))


def _step(graph: Any, value: np.ndarray) -> np.ndarray:
    worth, best = graph.rewards + graph.discount * value[graph.actions[:, 1], 0], np.full(graph.states, -np.inf)
    np.maximum.at(best, graph.actions[:, 0], worth)
    return best[:, None]


def seconds_of(function: Callable[[Any], Any], items: Sequence[Any], repeats: int = 3) -> float:
    """Median over items of the least of some calls."""
    least = []
    for item in items[:10]:
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            function(item)
            times.append(time.perf_counter() - began)
        least.append(min(times))
    return float(np.median(least))


# -- the mathematics -------------------------------------------------------------------------------------------------


def derivative() -> dict[str, float]:
    """Contraction, fixed point and derivative of networks with random weights, in float64."""
    found = {"contraction_excess": 0.0, "fixed_point_error": 0.0, "gradient_error": 0.0}
    for seed, options in enumerate(({"gamma": 0.5}, {"gamma": 0.5, "weights": "clip"}, {"gamma": 0.95, "exact": True})):
        pores = random_pores(np.random.default_rng(seed), 12, coordination=(6, 8)).network()
        torch.manual_seed(seed)
        net = build(
            ConvergentGraph, Signature(3, 1, 3), {"edge_channels": 3, "width": 6, "heads": 4, **options}
        ).double()
        assert pores.points is not None
        place, edges = torch.tensor(pores.points), torch.tensor(pores.edges)
        given = {"nodes": torch.tensor(pores.nodes), "points": place, "edges": edges, "graph": torch.zeros(12).long(),
                 "offsets": place[edges[1]] - place[edges[0]], "features": torch.tensor(pores.links)}  # fmt: skip
        with torch.no_grad():
            passed, source = net.contraction(**given)
            z = net.settled(passed, source, edges, given["graph"])
        for head in range(4):
            a = np.zeros((12, 12))
            np.add.at(a, (pores.edges[1], pores.edges[0]), passed[:, head].numpy())
            norm = net.gamma * np.abs(a).sum(1).max()
            found["contraction_excess"] = max(found["contraction_excess"], norm - net.gamma)
            dense = np.linalg.solve(np.eye(12) - net.gamma * a, source[:, head].numpy())
            error = np.abs(dense - z[:, head].numpy()).max() / np.abs(dense).max()
            found["fixed_point_error"] = max(found["fixed_point_error"], float(error))
        found["gradient_error"] = max(found["gradient_error"], gradient_error(net, given))
    return found


def gradient_error(net: Any, given: dict[str, Any]) -> float:
    """The largest difference of a derivative from central differences, over the largest derivative; to every parameter
    and every number that comes in."""
    inputs = {n: given[n].clone().requires_grad_() for n in ("nodes", "points", "offsets", "features")}
    leaves = [*net.parameters(), *inputs.values()]

    def value() -> Any:
        return net(**given | inputs).square().sum()

    slopes = torch.autograd.grad(value(), leaves)
    size, worst, step = max(float(s.abs().max()) for s in slopes), 0.0, 1e-5
    with torch.no_grad():
        for leaf, slope in zip(leaves, slopes, strict=True):
            flat, own = leaf.view(-1), slope.reshape(-1)
            for k in range(len(flat)):
                before, ends = flat[k].item(), []
                for sign in (1, -1):
                    flat[k] = before + sign * step
                    ends.append(float(value()))
                flat[k] = before
                worst = max(worst, abs((ends[0] - ends[1]) / (2 * step) - float(own[k])) / size)
    return worst


if __name__ == "__main__":  # python -m benchmarks._linear_graphs MODEL [FOLDER]: one training, beside others
    torch.set_num_threads(1)
    trained(sys.argv[1], read_statoil(Path(sys.argv[2])) if len(sys.argv) > 2 else None)
