"""The data of the table of operators: five sets of others, as this package stores them, and two of its own.

Splits. Of the sets of others those of the goals: the elastic block trains on its first 400 cases (of which every tenth
chooses weights) and is tested on its last 50; Graetz is tested on its last 30, unsteady heat on its last 20, and every
eighth of the others chooses; the back step learns from 20 evenly spread cases, of which three choose, and is tested on
the other 80. The afterburner is one trajectory of 200 frames, of which the first 120 are trained on, the next 20 choose
and the last 60 are the test. Of the sets of our own 400 cases train or choose, and 400 are the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sciml import data
from sciml.problem import InputSpec, ParameterSpec
from sciml.problems import DataProblem
from sciml.solvers import generate
from sciml.support import Mesh

OWN = 800  # cases of a set of our own, half of them held out
SIDES = 40  # of cells along such a plate


@dataclass(frozen=True)
class Set:
    """A set of data.

    Args:
        make: writes it to a file, from the folder of others' files (None: where that is not needed).
        title: in the table.
        groups: of fields; the error of a case is the mean over groups of ‖û − u‖/‖u‖, with the fields of a group as
            one vector.
        steady: whether there is no time.
        given: whether others have made it.
        history: frames that what goes from frame to frame is given: as many as tell the next one.
        linear_in: parameters in which its solutions are linear, and rows may be told so.
        patience: by which the minutes of every row are multiplied.
        seeds: that the best rows are trained with: several where a single training is too near the goal to tell.
    """

    make: Callable[[Path, Path | None, bool], None]
    title: str
    groups: tuple[tuple[str, ...], ...]
    steady: bool = True
    given: bool = True
    history: int = 1
    linear_in: tuple[str, ...] = ()
    patience: float = 1.0
    seeds: int = 1


def _parts(count: int, test: Any, every: int = 8) -> list[str]:
    """Names of splits: `test` (numbers of cases), of the others every so many for validation, the rest for training."""
    found = np.array(["train"] * count, dtype="<U10")
    found[np.asarray(test, dtype=int)] = "test"
    others = np.flatnonzero(found == "train")
    found[others[every // 2 :: every]] = "validation"
    return found.tolist()


def _solutions(
    problem: DataProblem, meshes: Callable[[int], Mesh], parameters: np.ndarray, fields: dict[str, np.ndarray],
    times: Any = None, inputs: Any = None, attributes: Any = None,
) -> Iterator[Any]:  # fmt: skip
    """(case, ...) arrays, one solution a case."""
    for i in range(len(next(iter(fields.values())))):
        mesh = meshes(i)
        values = dict(zip((p.name for p in problem.parameters), parameters[i].tolist(), strict=True))
        case = problem.case(**values, **({} if inputs is None else inputs(i))).on(mesh)
        dims = ("node",) if times is None else ("time", "node")
        arrays = {n: (dims, np.asarray(v[i], np.float32)) for n, v in fields.items()}
        yield data.solution(case, times, arrays, mesh, node_attributes=attributes)


def elastic_block(out: Path, source: Path | None, quick: bool) -> None:
    """Displacements u1, u2 of a block of eight parts with stiffnesses of their own, under three loads."""
    assert source is not None
    z = np.load(source / "elastic_block.npz")
    mesh = Mesh(z["coords"], {"triangle": z["triangles"]})
    stiff = [ParameterSpec(f"stiffness_{k + 1}", "1", 1.0, 0.0, open_minimum=True, logarithmic=True) for k in range(8)]
    loads = [ParameterSpec(f"load_{k + 1}", "1", 0.0) for k in range(3)]
    problem = DataProblem("elastic_block", ["u1", "u2"], [*stiff, *loads], 2, steady=True)
    n = len(z["params"])
    split = ["unused"] * n
    split[:400] = _parts(400, [], 10)
    split[n - 50 :] = ["test"] * 50
    solutions = _solutions(problem, lambda i: mesh, z["params"], {k: z[k] for k in ("u1", "u2")})
    data.write(data.pack(solutions, split), out)


def graetz(out: Path, source: Path | None, quick: bool) -> None:
    """Temperature in a channel by two parameters, each from 0.04 to 10. The file has nodes of each case, said to move
    with a parameter; they are the same in all cases up to the rounding of float32, so that one mesh does for all."""
    assert source is not None
    z = np.load(source / "graetz.npz")
    moved = float(np.abs(z["points"] - z["coords"]).max())
    if moved > 1e-6:
        raise ValueError(f"graetz.npz: nodes move by {moved:.1e}, expected those of one mesh")
    mesh = Mesh(z["coords"], {"triangle": z["triangles"]})
    both = [ParameterSpec(f"parameter_{k}", "1", 1.0, 0.0, open_minimum=True, logarithmic=True) for k in (1, 2)]
    problem = DataProblem("graetz", ["T"], both, 2, steady=True)
    solutions = _solutions(problem, lambda i: mesh, z["params"], {"T": z["T"]})
    data.write(data.pack(solutions, _parts(160, range(130, 160))), out)


def back_step(out: Path, source: Path | None, quick: bool) -> None:
    """Steady flow over a backward-facing step by the speed at the inlet: 20 of 100 cases to learn from."""
    assert source is not None
    z = np.load(source / "back_step_navier_stokes.npz")
    mesh = Mesh(z["coords"], {"triangle": z["triangles"]})
    names = ("vx", "vy", "p")
    problem = DataProblem("back_step", names, [ParameterSpec("inlet_velocity", "1", 1.0, 0.0)], 2, steady=True)
    order = np.argsort(z["params"][:, 0])
    learned = order[np.round(np.linspace(0, 99, 20)).astype(int)]
    split = np.array(["test"] * 100, dtype="<U10")
    split[learned] = "train"
    split[learned[[5, 10, 15]]] = "validation"
    solutions = _solutions(problem, lambda i: mesh, z["params"], {k: z[k] for k in names})
    data.write(data.pack(solutions, split.tolist()), out)


def unsteady_heat(out: Path, source: Path | None, quick: bool) -> None:
    """Temperature of a square in time, by two parameters: 80 cases of 100 frames."""
    assert source is not None
    z = np.load(source / "unsteady_heat.npz")
    mesh = Mesh(z["coords"], {"triangle": z["triangles"]})
    problem = DataProblem("unsteady_heat", ["T"], ["parameter_1", "parameter_2"], 2)
    last = 12 if quick else 100
    solutions = _solutions(problem, lambda i: mesh, z["params"], {"T": z["T"][:, :last]}, times=np.arange(last) / 100)
    data.write(data.pack(solutions, _parts(80, range(60, 80))), out)


def afterburner(out: Path, source: Path | None, quick: bool) -> None:
    """Temperature in an afterburner: one trajectory, in three parts; the type of a node is a static input."""
    assert source is not None
    z = np.load(source / "afterburner_meshgraphnets_layout.npz")
    mesh = Mesh(z["mesh_pos"][0].astype(float), {"triangle": z["cells"][0]})
    wall = (z["node_type"][0, :, 0] != 0).astype(float)
    problem = DataProblem("afterburner", ["T"], [], 2, inputs=[InputSpec("wall", "1", "coefficient", ("node",))])
    cuts = ((0, 40), (120, 130), (140, 160)) if quick else ((0, 120), (120, 140), (140, 200))
    found = []
    for a, b in cuts:
        case = problem.case(wall=wall).on(mesh)
        arrays = {"T": (("time", "node"), z["temperature"][a:b, :, 0].astype(np.float32))}
        found.append(data.solution(case, np.arange(a, b, dtype=float), arrays, mesh))
    data.write(data.pack(found, ["train", "validation", "test"]), out)


def _own(problem: str) -> Callable[[Path, Path | None, bool], None]:
    def make(out: Path, source: Path | None, quick: bool) -> None:
        count = 40 if quick else OWN
        whole = out.with_suffix(".whole.h5")
        if not whole.exists():
            generate(problem, whole, cases=count, resolution=16 if quick else SIDES)
        dataset = data.open(whole).load()
        solved = np.flatnonzero(np.asarray(dataset["status"].values) == 0) if "status" in dataset else np.arange(count)
        split = np.array(["unused"] * dataset.sizes["case"], dtype="<U10")
        half = len(solved) // 2
        split[solved] = _parts(len(solved), range(half, len(solved)))
        attrs = data.schema.flag_attrs(data.schema.SPLITS, "part of the split")
        data.write(dataset.assign(split=(("case",), data.splits.codes(split), attrs)), out)

    return make


SETS = {
    "elastic_block": Set(
        elastic_block, "elastic block", (("u1", "u2"),), linear_in=("load_1", "load_2", "load_3"), seeds=3
    ),
    "graetz": Set(graetz, "Graetz", (("T",),)),
    "back_step": Set(back_step, "back step, 20 cases", (("vx", "vy"), ("p",))),
    "unsteady_heat": Set(unsteady_heat, "unsteady heat", (("T",),), steady=False, history=3),
    "afterburner": Set(afterburner, "afterburner", (("T",),), steady=False, patience=2.0),
    "heat_plate": Set(_own("heat_plate"), "heat in plates with holes", (("T",),), given=False),
    "elastic_plate": Set(_own("elastic_plate"), "plates with a hole under load", (("u", "v"),), given=False),
}
