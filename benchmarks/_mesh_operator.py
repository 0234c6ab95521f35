"""The operator on moving meshes: errors of one step and of rollouts beside those of the same network without a mover.

Rows, all trained for the same processor time on one thread, with the same recipe:

    one mesh            a single branch and the linear part, as many parameters as the whole of the last row
    two, not moved      both branches on the same mesh
    two, random steps   the second branch on a mesh that is moved by the same smooth steps for all fields, as large in
                        the root mean square as those that the last row has learned
    two, learned steps  the second branch on a mesh that follows the fields

The rows with two branches are the same network but for the mover. Data are made by our own solvers: Burgers' equation
in a plane (Fourier modes, 192²) at the nodes of an irregular mesh of triangles, and the flow past a cylinder at
Reynolds numbers of 100 to 220 (132 × 72 cells), where vortices leave it, at the nodes of a mesh around it.

    python -m benchmarks._mesh_operator [--quick] [--minutes 1]

Data and trained models are kept in benchmarks/work/mesh, each once it is whole, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import WORK, Ledger
from benchmarks._runs import digest, done, file_name
from sciml import Recipe, data, load
from sciml.boundary import Periodic
from sciml.contracts import Signature, build
from sciml.expressions import Balance
from sciml.geometry import Box
from sciml.operators import MovingMeshOperator
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Scales
from sciml.problems import CylinderFlow, DataProblem
from sciml.solvers import FiniteElements, IncompressibleFlow, PseudoSpectral, Surrogate
from sciml.support import Mesh
from sciml.training import AdamW, Autoregressive, OneCycle, ProcessorMinutes, Running
from sciml.training.augmentations import Noise
from sciml.training.losses import Nmse
from sciml.training.objectives import Supervised
from sciml.training.samples import open_data, table

FOLDER = WORK / "mesh"
SEEDS = (0, 1, 2)
LEARNED, STATIC = "two, learned steps", "one mesh"
ROWS = (STATIC, "two, not moved", "two, random steps", LEARNED)
NOISE = 0.01  # on frames that go in, in units of the scales of the fields
NETWORK = {"width": 32, "layers": 4}


class PlaneBurgers(PDEProblem):
    """∂t u + ∂x(u²/2) + ∂y(u²/2) = ν ∇²u on a periodic unit square."""

    name, title, dimensions = "plane_burgers", "Burgers equation in a plane", 2
    fields = (FieldSpec("u", "m s-1"),)
    parameters = (ParameterSpec("viscosity", "m2 s-1", 5e-3, 0.0, open_minimum=True),)
    inputs = (InputSpec("initial_velocity", "m s-1", "initial", ("y", "x")),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0, 0.0), (1.0, 1.0), (True, True))

    def boundary_conditions(self, case: Case) -> Any:
        return {f"{axis}_{end}": {"u": Periodic()} for axis in "xy" for end in ("min", "max")}

    def equations(self, q: Any, d: Any, theta: Any, x: Any) -> dict[str, Balance]:
        flux = d.vector(q.u**2 / 2, q.u**2 / 2) - theta.viscosity * d.grad(q.u)
        return {"momentum": Balance(storage=q.u, flux=flux, unit="m s-2")}

    def scales(self, case: Case) -> Scales:
        return Scales(1.0, 1.0, {"u": 1.0}, velocity=1.0)

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        return {}

    def initial_state(self, case: Case, grid: Any) -> dict[str, np.ndarray]:
        return {"u": case.input_on("initial_velocity", grid)}


def square(sides: int) -> Mesh:
    """Triangles between irregular nodes of the unit square."""
    from scipy.spatial import Delaunay

    x = np.linspace(0, 1, sides + 1)
    points = np.stack(np.meshgrid(x, x, indexing="xy"), -1).reshape(-1, 2)
    inner = ((points > 0) & (points < 1)).all(1)
    points[inner] += np.random.default_rng(0).uniform(-0.3, 0.3, (int(inner.sum()), 2)) / sides
    return Mesh(points, {"triangle": Delaunay(points).simplices})


def burgers(quick: bool) -> Iterator[tuple[Any, str]]:
    """Hills that run into each other and steepen: 1 to 3 Gaussians, gone before they reach the other side."""
    mesh, counts = square(10 if quick else 24), (3, 1, 1) if quick else (24, 4, 8)
    solver, source = PseudoSpectral(48 if quick else 192, "float32", cfl=0.8), PlaneBurgers()
    problem = DataProblem("burgers_on_triangles", ["u"], [], 2)
    times = np.linspace(0, 0.5, 5 if quick else 21)
    rng, n = np.random.default_rng(17), solver.resolution
    assert isinstance(n, int)
    x = (np.arange(n) + 0.5) / n
    for split in _splits(counts):
        u = np.zeros((n, n))
        for _ in range(rng.integers(1, 4)):
            centre, width, top = rng.uniform(0.3, 0.6, 2), rng.uniform(0.06, 0.1), rng.uniform(0.4, 1.0)
            across, along = ((x - c + 0.5) % 1 - 0.5 for c in centre)
            u += top * np.exp(-(across[None] ** 2 + along[:, None] ** 2) / (2 * width**2))
        case = source.case(viscosity=0.02 if quick else 5e-3, initial_velocity=u)
        found = solver.solve(case, times, points=mesh.points())
        fields = {"u": (("time", "node"), found["u"].values.astype(np.float32))}
        yield data.solution(problem.case().on(mesh), times, fields, mesh), split


def cylinder(quick: bool) -> Iterator[tuple[Any, str]]:
    """Vortices behind a cylinder, of flows that began with a disturbance."""
    flow = CylinderFlow()
    mesh = FiniteElements(12 if quick else 32).grid(flow.case())
    assert isinstance(mesh, Mesh)
    counts = (2, 1, 1) if quick else (10, 2, 4)
    solver = IncompressibleFlow((24, 44) if quick else (72, 132), tendencies=False)
    problem = DataProblem("cylinder_on_triangles", ["u", "v"], [ParameterSpec("reynolds", "1", 100.0)], 2)
    times = 0.4 + 0.01 * np.arange(5 if quick else 41)
    rng = np.random.default_rng(17)
    for split in _splits(counts):
        reynolds = float(rng.uniform(100, 220))
        y, x = (np.linspace(0, 1, k + 1) for k in solver.resolution)
        psi = sum(a * np.outer(np.sin(np.pi * y) ** 2, np.sin(k * np.pi * x) ** 2) for k, a in
                  enumerate(rng.normal(size=3), 1))  # fmt: skip
        case = flow.case(viscosity=0.2 / reynolds, initial_streamfunction=4e-3 * psi / np.abs(psi).max())
        found = solver.solve(case, times, points=mesh.points())
        fields = {f: (("time", "node"), found[f].values.astype(np.float32)) for f in ("u", "v")}
        yield data.solution(problem.case(reynolds=reynolds).on(mesh), times - times[0], fields, mesh), split


def _splits(counts: tuple[int, int, int]) -> list[str]:
    return [s for s, n in zip(("train", "validation", "test"), counts, strict=True) for _ in range(n)]


@dataclass(frozen=True)
class Set:
    """A set of data: what makes it, its title, and its channels and parameters."""

    make: Callable[[bool], Iterator[tuple[Any, str]]]
    title: str
    channels: int
    n_params: int


SETS = {
    "burgers": Set(burgers, "Burgers, 625 nodes", 1, 0),
    "cylinder": Set(cylinder, "flow past a cylinder on triangles", 2, 1),
}


def made(name: str, quick: bool) -> Path:
    """The file of a set; written once it is whole."""
    path = FOLDER / f"{name}{'-quick' if quick else ''}.h5"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        solutions, splits = zip(*SETS[name].make(quick), strict=True)
        data.write(data.pack(solutions, list(splits)), path)
    return path


def options(row: str, kind: Set, size: float) -> dict[str, Any]:
    """What the operator of a row is made with."""
    if row == STATIC:
        signature = Signature(kind.channels, kind.channels, 2, n_params=kind.n_params)
        goal = parameters(build(MovingMeshOperator, signature, NETWORK))
        widths = range(NETWORK["width"], 2 * NETWORK["width"])
        found = {w: parameters(build(MovingMeshOperator, signature, NETWORK | {"mover": "none", "width": w}))
                 for w in widths}  # fmt: skip
        width = next(w for w in widths if found[w] >= goal)
        return NETWORK | {"mover": "none", "width": width}
    mover = {"two, not moved": "still", "two, random steps": "random", LEARNED: "potential"}[row]
    return NETWORK | {"mover": mover} | ({"size": size} if mover == "random" else {})


def parameters(operator: Any) -> int:
    return sum(p.numel() for p in operator.parameters())


def recipe(minutes: float, seed: int) -> Recipe:
    """One step, from frames with a little noise."""
    return Recipe(
        length=ProcessorMinutes(minutes), batch=4, objective=Supervised(Nmse()),
        augmentations=(Noise(NOISE),), optimiser=AdamW(lr=2e-3, average=0.99), schedule=OneCycle(), seed=seed,
        validate_every=100, validation_items=24, keep="best",
    )  # fmt: skip


def trained(name: str, row: str, seed: int, minutes: float, quick: bool, size: float) -> Path:
    """The folder of a trained row."""
    path, chosen, how = made(name, quick), options(row, SETS[name], size), recipe(minutes, seed)
    key = digest(json.dumps([chosen, how.to_json(), seed], sort_keys=True), digest(path.read_bytes().hex()))
    folder = FOLDER / f"{name}-{file_name(row)}-{seed}-{key}"
    if not done(folder):
        model = Surrogate(MovingMeshOperator, Autoregressive(), device="cpu", **chosen)
        model.fit(path, how, running=Running(folder, resume=True, device="cpu", progress=False))
        model.save(folder)
        print(f"{name}, {row}, seed {seed}: trained, {model.fitted_as.record['steps']} steps", flush=True)  # type: ignore[union-attr]
    return folder


def errors(folder: Path, path: Path) -> dict[str, float]:
    """Of the test cases: ‖û − u‖/‖u‖, fields as one vector, of one step from each true frame and of whole rollouts;
    and what the mover does. Kept beside the model."""
    kept = folder / "errors.json"
    if kept.exists():
        return json.loads(kept.read_text())
    model: Any = load(folder)
    dataset = open_data(path)[0]
    held = table(dataset, "test", None)
    steps, rollouts, ends, persistence = [], [], [], []
    before, after, shares, sizes = [], [], [], []
    for i in range(len(held.cases)):
        case, truth = data.case(dataset, int(held.number[i]))
        weights, times = held.support(i).weights(), truth["time"].values
        exact = np.stack([truth[f].values for f in held.fields], 1).astype(float)  # (T, F, N)

        def relative(answer: Any, true: np.ndarray, weights: np.ndarray = weights) -> float:
            return float(np.sqrt((weights * (answer - true) ** 2).sum() / (weights * true**2).sum()))

        def ask(k: int, until: int, case: Any = case, truth: Any = truth, times: Any = times) -> np.ndarray:
            found = model.resume(case, truth.isel(time=[k]), times[k + 1 : until])
            return np.stack([found[f].values for f in held.fields], 1)

        for k in range(len(times) - 1):
            steps.append(relative(ask(k, k + 2)[0], exact[k + 1]))
            persistence.append(relative(exact[k], exact[k + 1]))
        whole = ask(0, len(times))
        rollouts.append(float(np.mean([relative(whole[k], exact[k + 1]) for k in range(len(whole))])))
        ends.append(relative(whole[-1], exact[-1]))
        if model.operator.mover is not None:
            for k in (0, len(times) // 2, len(times) - 1):
                one = movement(model, case, held.support(i), exact[k])
                for several, value in zip((before, after, shares, sizes), one, strict=True):
                    several.append(value)
    found = {"one_step": float(np.mean(steps)), "rollout": float(np.mean(rollouts)), "last_frame": float(np.mean(ends)),
             "one_step_of_persistence": float(np.mean(persistence)), "parameters": parameters(model.operator),
             "steps_of_training": int(model.fitted_as.record["steps"])}  # fmt: skip
    if before:
        found |= {"unevenness_before": float(np.mean(before)), "unevenness_after": float(np.mean(after)),
                  "safeguard_least": float(np.min(shares)), "step_size": float(np.sqrt(np.mean(np.square(sizes)))),
                  "parameters_of_mover": parameters(model.operator.mover)}  # fmt: skip
    kept.write_text(json.dumps(found, indent=1) + "\n")
    return found


def movement(model: Any, case: Case, support: Any, frame: np.ndarray) -> tuple[float, float, float, float]:
    """At a frame: unevenness before and after, the share of the steps that was gone, and their root mean square in
    units of the extents."""
    import torch

    encoding, found = model.encoding, {}

    class Asked(torch.nn.Module):
        def forward(self, **batch: Any) -> Any:
            uneven = model.operator.unevenness(**batch)
            size = (model.operator.moved(**batch) - batch["points"]).square().sum(1).mean().sqrt()
            found["all"] = (*uneven, float(size))
            return batch["nodes"][:, : encoding.channels_out]

    with torch.no_grad():
        state = torch.from_numpy(encoding.normalise(case, frame, support))[None, None]
        given = encoding.given([case], [support])
        encoding.applied(Asked(), state, given, torch.from_numpy(encoding.params(case, np.zeros(1))), None)
    return found["all"]


def measure(ledger: Ledger, work: Any) -> None:
    """Rows and the check."""
    rows = found_rows(work)
    for row in rows:
        ledger.row(**row)
    told = ", ".join(
        f"{r['set']} {r['figure']} {r['over_one_mesh']:.3f}"
        for r in rows
        if r["section"] == "operator means" and r["row"] == LEARNED
    )
    seeds = len({r["seed"] for r in rows if r["section"] == "operator"})
    note = f"geometric mean of {told}; {seeds} seeds, {rows[0]['processor_minutes']:g} min of a processor a training"
    ledger.check("mm_pde_error_over_static", over_static(rows), note, note=note)


def found_rows(settings: Any) -> list[dict[str, Any]]:
    """A row for each set, kind and seed, and one for the mean over seeds with its spread.

    Args:
        settings: has `quick`; `minutes` of training a run, 1 where there is none.
    """
    quick = bool(settings.quick)
    minutes = 0.02 if quick else float(getattr(settings, "minutes", None) or 1.0)
    seeds = SEEDS[:1] if quick else SEEDS
    rows: list[dict[str, Any]] = []
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed in seeds:
        for name in SETS:
            size = 0.03  # until there is a learned one
            for row in (LEARNED, *(r for r in ROWS if r != LEARNED)):
                first = found.get((name, LEARNED))
                size = round(first[0]["step_size"], 4) if first else size
                folder = trained(name, row, seed, minutes, quick, size)
                one = errors(folder, made(name, quick))
                found.setdefault((name, row), []).append(one)
                rows.append({"section": "operator", "set": name, "title": SETS[name].title, "row": row, "seed": seed,
                             "processor_minutes": minutes, **one})  # fmt: skip
                print(json.dumps(rows[-1]), flush=True)
    for (name, row), each in found.items():
        for figure in ("one_step", "rollout"):
            values = [e[figure] for e in each]
            base = [e[figure] for e in found[name, STATIC]]
            rows.append({
                "section": "operator means", "set": name, "title": SETS[name].title, "row": row, "figure": figure,
                "mean": statistics.mean(values), "least": min(values), "most": max(values),
                "over_one_mesh": statistics.mean(values) / statistics.mean(base), "seeds": len(values),
            })  # fmt: skip
    return rows


def over_static(rows: list[dict[str, Any]]) -> float:
    """`mm_pde_error_over_static`: the geometric mean, over sets and figures, of the error on moving meshes over that
    on one mesh."""
    ratios = [r["over_one_mesh"] for r in rows if r["section"] == "operator means" and r["row"] == LEARNED]
    return math.exp(statistics.mean(math.log(r) for r in ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="very little of all")
    parser.add_argument("--minutes", type=float, default=None, help="processor time of a training")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import torch

    torch.set_num_threads(1)
    rows = found_rows(parser.parse_args())
    for row in rows:
        if row["section"] == "operator means":
            print(json.dumps(row), flush=True)
    print(f"mm_pde_error_over_static {over_static(rows):.4f}", flush=True)


if __name__ == "__main__":
    main()
