"""The cases of the cylinder benchmark: published axes, and random starts and inflows.

Published (CFDBench, Luo et al. 2023): a baseline ρ = 10 kg/m³, μ = 10⁻³ Pa s, inflow U = 1 m/s past a cylinder of
D = 0.02 m in [-0.06, 0.16] × [-0.06, 0.06] m, and three subsets that each vary one thing,

    bc     U = 0.1, 0.2, ..., 5
    prop   47 densities × 5 viscosities, those with 20 ≤ Re ≤ 1000
    geo    D = 0.01 ... 0.05, and how far the four sides are, one at a time

The paper counts 115 cases in prop; of the axes as they are known 105 are within the range of Re. In geo the four values
of each of five axes other than the baseline's make the 20 cases of the paper, which does not list them.

Reynolds numbers run from 20 to 1000. A layer at the cylinder is about D Re^(−1/2) thick; cases are solved with two
cells across it and at least 16 across the cylinder, and stored as means over the cells that are asked for.

The subset ic is not published: a random disturbance of the start, and an inflow that varies smoothly in time.
"""

from __future__ import annotations

import math

import numpy as np

from sciml import registry
from sciml.boundary import Series
from sciml.problem import Case, Problem
from sciml.problems.designs import Design, Request, check
from sciml.problems.designs._published import RANDOM, Table, tabled

SUBSETS = ("bc", "prop", "geo", "ic")
PROFILES = ("resolved", "published")
PUBLISHED_STEP = 0.001  # s
LEAST_ACROSS = 16  # cells across the cylinder
_BASE = {
    "inlet_velocity": 1.0, "density": 10.0, "viscosity": 1e-3, "radius": 0.01, "x_min": -0.06, "x_max": 0.16,
    "y_min": -0.06, "y_max": 0.06,
}  # fmt: skip
_DENSITIES = (
    *(k / 10 for k in range(1, 11)), 1.5, 2.5, 3.5, 4.5, *(float(k) for k in range(5, 11)),
    *(float(k) for k in range(20, 251, 10)), 300.0, 400.0, 500.0,
)  # fmt: skip
_VISCOSITIES = (1e-4, 5e-4, 1e-3, 5e-3, 1e-2)


def published(subset: str) -> Table:
    """Parameters of all cases of subset bc, prop or geo."""
    if subset == "bc":
        return [_BASE | {"inlet_velocity": k / 10} for k in range(1, 51)]
    if subset == "prop":
        pairs = [(rho, mu) for rho in _DENSITIES for mu in _VISCOSITIES]
        inside = [(rho, mu) for rho, mu in pairs if 20 * (1 - 1e-9) <= rho * 0.02 / mu <= 1000 * (1 + 1e-9)]
        return [_BASE | {"density": rho, "viscosity": mu} for rho, mu in inside]
    near = (0.02, 0.04, 0.08, 0.1)
    axes = {
        "radius": (0.005, 0.015, 0.02, 0.025),
        "x_min": tuple(-d for d in near),
        "y_min": tuple(-d for d in near),
        "y_max": near,
        "x_max": (0.12, 0.14, 0.18, 0.2),
    }
    return [_BASE | {name: value} for name, values in axes.items() for value in values]


def random_case(number: int, seed: int, resolution: tuple[int, int], frames: int, label: str) -> Case:
    """Case `number` of subset ic; depends on (seed, number) and the arguments alone.

    Re is log-uniform in [20, 400]. ψ = sin²(πx/W) sin²(πy/H) Σ a_kl cos(kπx/W) cos(lπy/H), k, l ≤ 6, vanishes at the
    sides with its normal derivative; it is scaled to a largest speed of 0.2 to 0.8 U. The inflow is U times 1 with a
    drift of three sines with periods of 2 to 12 D/U, within [0.3, 1.7].
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0xC71, number])))
    reynolds = 20 * 20 ** random.uniform()
    speed, diameter = _BASE["inlet_velocity"], 2 * _BASE["radius"]
    width, height = _BASE["x_max"] - _BASE["x_min"], _BASE["y_max"] - _BASE["y_min"]
    ny, nx = resolution
    y, x = (np.linspace(0, np.pi, n + 1) for n in (ny, nx))
    k = np.arange(7)
    amplitudes = random.standard_normal((7, 7)) / (1 + k[:, None] ** 2 + k[None, :] ** 2)
    psi = np.cos(np.outer(y, k)) @ amplitudes @ np.cos(np.outer(k, x))
    psi = psi * np.sin(y)[:, None] ** 2 * np.sin(x)[None, :] ** 2
    slopes = np.gradient(psi, height / ny, width / nx)
    psi *= random.uniform(0.2, 0.8) * speed / np.sqrt(slopes[0] ** 2 + slopes[1] ** 2).max()

    turnover = diameter / speed
    knots = np.arange(2 * frames + 1) * 0.125
    periods, phases = np.exp(random.uniform(np.log(2), np.log(12), 3)), random.uniform(0, 2 * np.pi, 3)
    weights = random.standard_normal(3) * 0.25
    motion = 1 + weights @ np.sin(2 * np.pi * knots / periods[:, None] + phases[:, None])
    parameters = _BASE | {"viscosity": float(_BASE["density"] * speed * diameter / reynolds)}
    inlet = Series(knots * turnover, np.clip(motion, 0.3, 1.7))
    return cylinder().case(
        **parameters, inlet_motion=inlet, initial_streamfunction=psi.astype(np.float32), label=label, subset=RANDOM
    )


def cylinder() -> Problem:
    return registry.problems.get("cylinder_flow")()


class CylinderDesign(Design):
    """See the module. Frames are Δt = 0.25 D/U apart from t = 0 in profile "resolved", 0.001 s apart from t = 0.001 s
    in profile "published"."""

    subsets, profiles, unpublished = SUBSETS, PROFILES, (RANDOM,)

    def cases(self, request: Request) -> list[Case]:
        check(request.subsets, SUBSETS, request.profile, PROFILES)
        tables = {s: published(s) for s in request.subsets if s != RANDOM}
        ny, nx = request.resolution
        return tabled(
            cylinder(), tables, request.subsets, request.count,
            lambda i: random_case(i, request.seed, (ny, nx), request.frames, f"ic{i:04d}"),
        )  # fmt: skip

    def times(self, case: Case, request: Request) -> np.ndarray:
        if request.profile == "published":
            return PUBLISHED_STEP * np.arange(1, request.frames + 1)
        return 0.25 * case.scales.time * np.arange(request.frames)

    def cells(self, case: Case, resolution: tuple[int, ...]) -> tuple[int, ...]:
        motion = case.inputs.get("inlet_motion")
        fastest = float(np.abs(motion.values).max()) if isinstance(motion, Series) else 1.0
        diameter = 2 * case.radius
        reynolds = case.density * case.inlet_velocity * fastest * diameter / case.viscosity
        across = max(LEAST_ACROSS, 2 * math.sqrt(reynolds))
        sides = (case.y_max - case.y_min, case.x_max - case.x_min)
        return tuple(
            n * math.ceil(across * side / n / diameter - 1e-9) for side, n in zip(sides, resolution, strict=True)
        )
