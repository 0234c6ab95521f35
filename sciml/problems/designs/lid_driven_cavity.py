"""The cases of the lid-driven cavity benchmark: published axes, and random starts and lids.

Published (CFDBench, Luo et al. 2023): a baseline ρ = 1 kg/m³, μ = 10⁻⁵ Pa s, lid speed U = 10 m/s in a square of
L = 0.01 m, and three subsets that each vary one thing,

    bc     U = 1, 2, ..., 50
    prop   ρ ∈ {0.1, 0.5, 1, 2, ..., 10} × μ ∈ {1, 5}·10⁻⁵ ... 10⁻²
    geo    width × height, each of 0.01, 0.02, ..., 0.05

Reynolds numbers run from 1 to 10⁵. A wall layer is about L Re^(−1/2) thick, so that a grid of N cells holds one over as
many cells as 64 cells do at Re 1000 (two, with centre-line errors of a hundredth of U) while Re ≤ 1000 (N/64)²;
beyond 8000 the square cavity has no steady flow in two dimensions. Profile "published" takes the parameters as they
are. Profile "resolved" keeps every axis and raises viscosity: in bc and geo one viscosity for the subset puts its
largest Reynolds number at the limit; in prop the seven viscosities run evenly in their logarithm from the one that does
so to the published largest.

The subset ic is not published: a random divergence-free start and a lid whose speed varies smoothly in time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sciml import registry
from sciml.boundary import Series
from sciml.problem import Case, Problem
from sciml.problems.designs import Design, Request, check
from sciml.problems.designs._published import RANDOM, tabled

SUBSETS = ("bc", "prop", "geo", "ic")
PROFILES = ("resolved", "published")
PUBLISHED_STEP = 0.1  # s
_BASE = {"lid_velocity": 10.0, "density": 1.0, "viscosity": 1e-5, "width": 0.01, "height": 0.01}
_DENSITIES = (0.1, 0.5, *(float(k) for k in range(1, 11)))
_VISCOSITIES = (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2)


def largest_reynolds(resolution: tuple[int, int]) -> float:
    """Largest Reynolds number that a grid resolves (see the module)."""
    return min(1000.0 * (min(resolution) / 64) ** 2, 8000.0)


def published(subset: str, profile: str, limit: float) -> list[dict[str, float]]:
    """Parameters of all cases of subset bc, prop or geo."""
    raised = profile == "resolved"
    if subset == "bc":
        speeds = np.arange(1.0, 51.0)
        mu = speeds[-1] * _BASE["width"] / limit if raised else _BASE["viscosity"]
        return [_BASE | {"lid_velocity": float(u), "viscosity": float(mu)} for u in speeds]
    if subset == "prop":
        reach = _DENSITIES[-1] * _BASE["lid_velocity"] * _BASE["width"]
        viscosities = _VISCOSITIES
        if raised and reach / _VISCOSITIES[-1] < limit:
            viscosities = tuple(float(m) for m in np.geomspace(reach / limit, _VISCOSITIES[-1], len(_VISCOSITIES)))
        elif raised:  # a very coarse grid: the published spacing, moved
            viscosities = tuple(m * reach / limit / _VISCOSITIES[0] for m in _VISCOSITIES)
        return [_BASE | {"density": rho, "viscosity": mu} for rho in _DENSITIES for mu in viscosities]
    sides = [0.01, 0.02, 0.03, 0.04, 0.05]
    mu = _BASE["lid_velocity"] * sides[-1] / limit if raised else _BASE["viscosity"]
    return [_BASE | {"width": w, "height": h, "viscosity": float(mu)} for w in sides for h in sides]


def random_case(number: int, seed: int, limit: float, resolution: tuple[int, int], frames: int, label: str) -> Case:
    """Case `number` of subset ic; depends on (seed, number) and the arguments alone.

    Re is log-uniform in [50, limit]. ψ = sin²(πx/W) sin²(πy/H) Σ a_kl cos(kπx/W) cos(lπy/H), k, l ≤ 4, vanishes at the
    walls with its normal derivative; it is scaled to a largest speed of 0.3 to 1.2 U. The lid starts at ±U times 0 to 1
    and drifts by three sines with periods of 2 to 12 L/U.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x1C, number])))
    low = min(50.0, limit / 2)
    reynolds = low * (limit / low) ** random.uniform()
    speed, width = _BASE["lid_velocity"], _BASE["width"]
    ny, nx = resolution
    y, x = (np.linspace(0, np.pi, n + 1) for n in (ny, nx))
    k = np.arange(5)
    amplitudes = random.standard_normal((5, 5)) / (1 + k[:, None] ** 2 + k[None, :] ** 2)
    psi = np.cos(np.outer(y, k)) @ amplitudes @ np.cos(np.outer(k, x))
    psi = psi * np.sin(y)[:, None] ** 2 * np.sin(x)[None, :] ** 2
    slopes = np.gradient(psi, width / ny, width / nx)
    psi *= random.uniform(0.3, 1.2) * speed / np.sqrt(slopes[0] ** 2 + slopes[1] ** 2).max()

    turnover = width / speed
    knots = np.arange(2 * frames + 1) * 0.125
    periods, phases = np.exp(random.uniform(np.log(2), np.log(12), 3)), random.uniform(0, 2 * np.pi, 3)
    weights = random.standard_normal(3) * 0.5
    motion = random.uniform(-1, 1) + weights @ np.sin(2 * np.pi * knots / periods[:, None] + phases[:, None])
    parameters = _BASE | {"viscosity": float(speed * width / reynolds)}
    lid = Series(knots * turnover, np.clip(motion, -1.5, 1.5))
    return cavity().case(
        **parameters, lid_motion=lid, initial_streamfunction=psi.astype(np.float32), label=label, subset="ic"
    )


def cavity() -> Problem:
    return registry.problems.get("lid_driven_cavity")()


class CavityDesign(Design):
    """See the module. Frames are Δt = 0.25 width/U apart from t = 0 in profile "resolved", 0.1 s apart from t = 0.1 s
    in profile "published"."""

    subsets, profiles, unpublished = SUBSETS, PROFILES, (RANDOM,)

    def cases(self, request: Request) -> list[Case]:
        check(request.subsets, SUBSETS, request.profile, PROFILES)
        ny, nx = request.resolution
        limit, grid = largest_reynolds((ny, nx)), (ny, nx)
        tables = {s: published(s, request.profile, limit) for s in request.subsets if s != RANDOM}
        return tabled(
            cavity(), tables, request.subsets, request.count,
            lambda i: random_case(i, request.seed, limit, grid, request.frames, f"ic{i:04d}"),
        )  # fmt: skip

    def times(self, case: Case, request: Request) -> np.ndarray:
        if request.profile == "published":
            return PUBLISHED_STEP * np.arange(1, request.frames + 1)
        return 0.25 * case.scales.time * np.arange(request.frames)

    def under_resolved(self, cases: Sequence[Case], resolution: tuple[int, ...]) -> dict[str, float]:
        """Cell Reynolds numbers U Δx/ν of the cases beyond `largest_reynolds`."""
        limit = largest_reynolds((resolution[0], resolution[1]))
        found = {}
        for case in cases:
            reynolds = case.density * abs(case.lid_velocity) * case.width / case.viscosity
            if reynolds > limit * (1 + 1e-9):
                found[case.label] = round(reynolds / resolution[1], 3)
        return found
