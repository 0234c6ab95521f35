"""From cases to the arrays of a material-point march."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml.errors import InputError
from sciml.geometry import AXES, SIDES, Box
from sciml.materials import Material
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case
from sciml.solver import Start
from sciml.solvers import _mpm_near
from sciml.solvers._mpm_walls import Grip, Scene, Solid, sampled
from sciml.solvers._numerical import Begin

LEAST = 4  # cells along an axis
WHOLE = 0.05  # by which the volume of a frame may differ from that of the matter: lattices of two resolutions do
KNOTS = 16  # of a motion, to begin with: few different numbers, so that few functions are compiled


def spacing_of(box: Box, resolution: int | float) -> tuple[tuple[int, ...], np.ndarray]:
    """(cells, edges of a cell (D,)) along each axis.

    Args:
        resolution: cells along the longest side, or (a float) about how long their edges are, m.
    """
    lengths = np.subtract(box.upper, box.lower)
    edge = lengths.max() / resolution if isinstance(resolution, int) else resolution
    if edge > lengths.max() / LEAST:
        raise InputError(
            f"material_point: resolution is {resolution!r}, the edge of a cell, where the box is {lengths.max():g} "
            f"long; expected at most {lengths.max() / LEAST:g}, or a whole number of cells along it"
        )
    cells = tuple(max(LEAST, round(n)) for n in lengths / edge)
    return cells, lengths / cells


def scene_of(case: Case, cells: tuple[int, ...]) -> Scene:
    problem = _particles(case)
    walls = problem.walls(case)
    sides = tuple(Grip.of(walls[name]) for name in _names(problem))
    bodies = tuple((Grip.of(b.condition), bool(b.motion)) for b in problem.bodies(case))
    return Scene(type(problem.material(case)), cells, sides, bodies)


def beginning(case: Case, edge: float) -> dict[str, np.ndarray]:
    """ "position", "reference", "velocity" (N, D) and "volume" (N,) of a case's own particles, about `edge` apart."""
    found, d = _particles(case).particles(case, edge), case.problem.dimensions
    count = len(found.position)
    if not count:
        raise InputError(f"{case.problem.name}: particles gives none, expected some")
    for name, values, shape in (("position", found.position, (count, d)), ("velocity", found.velocity, (count, d)),
                                ("volume", found.volume, (count,))):  # fmt: skip
        if np.shape(values) != shape:
            raise InputError(f"{case.problem.name}: particles: {name} has shape {np.shape(values)}, expected {shape}")
        if not np.isfinite(values).all():
            raise InputError(f"{case.problem.name}: particles: {name}: expected finite values, got some that are not")
    if not np.all(found.volume > 0):
        raise InputError(f"{case.problem.name}: expected volumes > 0 of particles, got {np.min(found.volume):g}")
    position, velocity = np.array(found.position), np.array(found.velocity)
    gradient = np.zeros((*velocity.shape, position.shape[1]))
    if np.ptp(velocity, axis=0).any():  # without it what turns would turn too slowly
        gradient = _mpm_near.fitted(position, velocity, position)[1]
    return {
        "position": position, "reference": position.copy(), "velocity": velocity, "volume": np.array(found.volume),
        "gradient": gradient,
    }  # fmt: skip


def arrays(
    case: Case, spacing: np.ndarray, state: Mapping[str, np.ndarray], time: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `parameters` and `inputs` of `simulate`, in float64.

    Args:
        spacing: (D,) edges of cells, m.
        state: see `beginning`; and what the material keeps, "kept_<name>" (N, ...), if known.
        time: at which it starts.
    """
    problem = _particles(case)
    walls, box = problem.walls(case), problem.geometry(case)
    material = problem.material(case)
    low, high = np.array(box.extents, np.float64).T
    slack = 1e-6 * float((high - low).max())
    out = np.any((state["position"] < low - slack) | (state["position"] > high + slack), axis=1)
    if out.any():
        where = ", ".join(f"{v:.6g}" for v in state["position"][int(out.argmax())])
        raise InputError(
            f"{problem.name}: {out.sum()} of {len(out)} particles begin outside of the box, the first at ({where})"
        )
    friction = [0.0 if not w.separates else w.friction for w in (walls[name] for name in _names(problem))]
    solids = []
    for body in problem.bodies(case):
        solid = sampled(body, spacing)
        place = body.displacement(time)
        solids.append(_padded(solid._replace(place=place, times=solid.times - time)))
    inputs = {
        **state, "lower": low, "spacing": np.asarray(spacing, np.float64), "friction": np.array(friction),
        "bodies": tuple(solids),
    }  # fmt: skip
    return {**material.numbers, "gravity": np.asarray(problem.gravity(case), np.float64)}, inputs


def from_frame(
    case: Case, start: Start, given: Mapping[str, np.ndarray], edge: float, volume: np.ndarray | None = None
) -> Begin:
    """The state that any frame of particles tells: how these are deformed by a fit through their displacements.

    Args:
        edge: about how far a case's own particles are apart, m.
        volume: (N,) first volumes, where the frame tells them; by default all have as much of the matter.
    """
    d = case.problem.dimensions
    position = np.asarray(start.support.points(), np.float64)
    displacement = np.stack([np.asarray(given[f"displacement_{a}"], np.float64) for a in AXES[:d]], -1)
    velocity = np.stack([np.asarray(given[f"velocity_{a}"], np.float64) for a in AXES[:d]], -1)
    reference = position - displacement
    if volume is None:
        whole = _particles(case).particles(case, edge).volume.sum()
        volume = np.full(len(position), whole / len(position))
    _, strain = _mpm_near.fitted(reference, displacement, reference)
    _, gradient = _mpm_near.fitted(position, velocity, position)
    material = _particles(case).material(case)
    ratio = None
    if "density" in given:  # which is known better
        dense = np.asarray(given["density"], np.float64)
        good = np.isfinite(dense) & (dense > 0)
        if not good.all():
            raise InputError(f"frame: density: expected finite values > 0, got {dense[~good][0]:g}")
        ratio = float(material.density) / dense
    deformation = _deformation(material, np.moveaxis(strain + np.eye(d), 0, -1), ratio)
    kept = {f"kept_{n}": np.moveaxis(v, -1, 0) for n, v in material.deformed(np, deformation).items()}
    state = {
        "position": position, "reference": reference, "velocity": velocity, "volume": np.asarray(volume),
        "gradient": gradient, **kept,
    }  # fmt: skip
    return Begin(state, start.time, settled=False)


def require_whole(case: Case, volume: np.ndarray, edge: float) -> None:
    """Refuse a frame whose particles are not all of a case's matter, as some left out of it are not.

    Args:
        volume: (N,) first volumes.
        edge: about how far a case's own particles are apart, m.

    Raises:
        InputError: says how much there is, and how much there should be.
    """
    whole, found = float(_particles(case).particles(case, edge).volume.sum()), float(np.sum(volume))
    if not abs(found - whole) <= WHOLE * whole:
        unit = f"m{case.problem.dimensions}"
        raise InputError(
            f"frame: its {len(volume)} particles have volumes of {found:.4g} {unit} together, expected those of the "
            f"matter, {whole:.4g} {unit}; without volumes ('node_volume') each stands for an equal share"
        )


def _deformation(material: Material, fit: np.ndarray, ratio: np.ndarray | None) -> np.ndarray:
    """(D, D, N) deformation gradients as `fit`, with the volumes that are known.

    Fits through what has been torn or turned over mean nothing: there only volumes count. Nor do they where matter does
    not remember its shape: of a fluid that has flowed far they give volumes that are far off, and it begins at rest.
    """
    d = len(fit)
    unit = np.broadcast_to(np.eye(d)[..., None], fit.shape)
    sheared = np.eye(d)[..., None] + 0.01 * np.eye(d, k=1)[..., None]
    still = np.zeros((d, d, 1))
    remembered = np.any(material.stress(np, material.deformed(np, sheared), still)[0, 1] != 0)
    volume = np.linalg.det(np.moveaxis(fit, -1, 0))
    whole = (volume > 0.2) & (volume < 5.0) & remembered
    found = np.where(whole, fit, unit)
    if ratio is None:
        return found
    return found * (ratio / np.where(whole, volume, 1.0)) ** (1 / d)


def padded(inputs: Mapping[str, Any], count: int, xp: Any = np) -> dict[str, Any]:
    """The same with so many particles: those added have no volume, and rest inside of the box.

    Args:
        xp: library of the arrays.
    """
    found, extra = dict(inputs), count - inputs["volume"].shape[0]
    for name, values in inputs.items():
        if name in ("velocity", "volume", "gradient"):
            rest = xp.zeros_like(values[:1])
        elif name in ("position", "cells", "reference") or name.startswith("kept_"):
            rest = values[:1]  # what the first particle is like is as good as any
        else:
            continue
        found[name] = xp.concatenate([values, xp.broadcast_to(rest, (extra, *values.shape[1:]))])
    return found


def bucket(count: int) -> int:
    """To how many particles a count is filled up: few different numbers, so that few functions are compiled."""
    eighth = max(2 ** (math.floor(math.log2(count)) - 3), 8)
    return -(-count // eighth) * eighth


def _padded(solid: Solid) -> Solid:
    """The same with a number of knots that is a power of two: the last value held on."""
    have = len(solid.times)
    if have == 1:
        return solid
    extra = max(KNOTS, 2 ** math.ceil(math.log2(have))) - have
    times = np.append(solid.times, solid.times[-1] + np.arange(1, extra + 1))
    return solid._replace(
        times=times, velocity=np.concatenate([solid.velocity, np.repeat(solid.velocity[-1:], extra, 0)])
    )


def _names(problem: ParticleProblem) -> list[str]:
    return [side for side, (axis, _) in SIDES.items() if axis < problem.dimensions]


def _particles(case: Case) -> ParticleProblem:
    assert isinstance(case.problem, ParticleProblem)
    return case.problem
