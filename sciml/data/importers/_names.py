"""Words of foreign files: names that a problem takes, units in brackets, what names are used for what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sciml.problems.own_data import _NAME, _TAKEN

if TYPE_CHECKING:
    from sciml.data.importers._source import Source

_GREEK = dict(zip("αβγδεζηθικλμνξοπρστυφχψωµ", (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi "
    "psi omega mu"
).split(), strict=True))  # fmt: skip
_UNIT = re.compile(r"\s*(?:\[([^\[\]]*)\]|\(([^()]*)\)|,\s*in\s+(\S+))\s*\Z")
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TOLD = re.compile(rf"(?:\A|(?<=[\W_]))([A-Za-zΑ-ω][A-Za-zΑ-ω]*)(?:\s*=\s*|_)?({NUMBER})(?=\Z|[\W_])")

TIMES = ("t", "tt", "time", "times", "ts", "tspan", "t_span", "timesteps", "time_steps", "t_eval", "tlist", "t_star",
         "t_coordinate", "t_coord", "seconds")  # fmt: skip
STEPS = ("dt", "delta_t", "deltat", "time_step", "timestep", "step")
POINTS = ("points", "point", "coords", "coord", "coordinates", "coordinate", "pos", "position", "positions", "nodes",
          "node", "vertices", "verts", "mesh_pos", "xy", "xyz", "xyz_coords", "mesh_points", "node_coords",
          "node_positions", "x_star", "locations", "mesh_coords", "world_pos", "p_nodes")  # fmt: skip
CELLS = ("cells", "cell", "triangles", "triangle", "tri", "tris", "elements", "elems", "elem", "faces", "connectivity",
         "conn", "quads", "quadrilaterals", "tets", "tetrahedra", "hexahedra", "hexes", "simplices",
         "element_nodes")  # fmt: skip
PARAMETERS = ("params", "parameters", "param", "parameter", "mu", "mus", "theta", "thetas", "p_params", "par", "pars",
              "design", "designs", "samples_params")  # fmt: skip
PARAMETER_NAMES = ("param_names", "parameter_names", "params_names", "names", "parameters_names", "mu_names")
INPUTS = ("a", "k", "kappa", "coeff", "coeffs", "coefficient", "coefficients", "perm", "permeability", "conductivity",
          "f", "source", "sources", "forcing", "rhs", "sdf", "input", "inputs", "porosity", "geometry", "diffusivity",
          "bc", "material", "materials", "u0", "initial", "init", "ic", "initial_condition")  # fmt: skip
INITIAL = ("u0", "initial", "init", "ic", "initial_condition")
MASKS = ("mask", "fluid", "inside", "domain", "valid", "node_mask", "is_fluid", "fluid_mask", "domain_mask")
SOLIDS = ("solid", "obstacle", "outside", "body", "is_solid", "solid_mask", "obstacle_mask")
AXES = {
    axis: (axis, axis * 2, f"{axis}s", f"{axis}_grid", f"grid_{axis}", f"{axis}_coord", f"{axis}_coords",
           f"{axis}_coordinate", f"{axis}c", f"{axis}_coordinates", f"{axis}_mesh", f"{axis}_star", f"{axis}i",
           f"{axis}list")
    for axis in "xyz"
}  # fmt: skip
SPLITS = {
    "train": "train", "training": "train", "tr": "train", "trn": "train", "valid": "validation", "val": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test", "tst": "test", "te": "test",
}  # fmt: skip


def name(text: str, taken: Iterable[str] = ()) -> str:
    """A word that a field, parameter or input can be called by, as close to what is written as may be."""
    plain = "".join(f" {_GREEK[c]} " if c in _GREEK else c for c in text.strip()).strip()
    word = re.sub(r"\W+", "_", plain, flags=re.ASCII).strip("_")[:100] or "value"
    if not word[0].isalpha():
        word = f"v_{word}"
    others = set(taken)
    made, k = word if word not in _TAKEN else f"{word}_value", 1
    while made in others:
        k += 1
        made = f"{word}_{k}"
    assert _NAME.match(made)
    return made


def problem(source: Source) -> str:
    """What a problem is called after its file or folder; not as one of this package's own is."""
    from sciml.registry import problems

    made = name(source.root.name if source.is_folder else source.root.stem)
    return f"{made}_data" if made in problems.names() else made


def unit_of(text: str) -> tuple[str, str]:
    """What is called something, and in which unit: "u [m/s]" is ("u", "m/s"); "" where no unit is written."""
    found = _UNIT.search(text)
    if found is None or not text[: found.start()].strip():
        return text.strip(), ""
    unit = next(g for g in found.groups() if g is not None).strip()
    return text[: found.start()].strip(), "1" if unit in ("-", "–", "1", "/") else unit


def split_of(text: str) -> tuple[str, str]:
    """The part of a split that a name speaks of, and the rest of the name: "x_train" is ("train", "x")."""
    for word in re.split(r"[_\-.\s]", text):
        part = SPLITS.get(word.lower())
        if part and len(word) > 2:
            rest = re.sub(rf"(?:\A|(?<=[_\-.\s])){re.escape(word)}(?=\Z|[_\-.\s])", "", text, count=1)
            return part, re.sub(r"[_\-.\s]{2,}", "_", rest).strip("_-. ")
    return "", text


def told_in(path: str) -> dict[str, float]:
    """Numbers that a path names: "Re=100/nu_0.01.npz" is {"Re": 100, "nu": 0.01}."""
    stem = re.sub(r"\.[A-Za-z]\w*\Z", "", path)
    found: dict[str, float] = {}
    for part in stem.split("/"):
        for word, number in _TOLD.findall(part):
            if word.lower() not in ("case", "run", "sim", "sample", "frame", "data", "file", "part", "traj", "v", "t",
                                    "trajectory", "example", "simulation", "id", "no", "n", "b", "e"):  # fmt: skip
                found[word] = float(number)
    return found


def told_by_sign(paths: Sequence[str]) -> dict[str, str]:
    """Words that all paths follow by "=" and a number, which differs between them; each is its own value."""
    numbers = [told_in(p) for p in paths]
    common = [w for w in numbers[0] if all(w in n for n in numbers)] if len(paths) > 1 else []
    return {
        w: w for w in common
        if len({n[w] for n in numbers}) > 1 and all(re.search(rf"(?<![^\W_]){re.escape(w)}\s*=", p) for p in paths)
    }  # fmt: skip
