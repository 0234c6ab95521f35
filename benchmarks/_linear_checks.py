"""What must hold whatever a network has learned: the flexible method with a network that gives back the residual is
plain conjugate gradients, iteration for iteration, and one that inverts exactly needs a single step. And what any
coarse correction could give at best beside the sweeps of the multigrid cycle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks._ledger import Ledger
from sciml.solvers import linear
from sciml.solvers.linear import families

KINDS: dict[str, families.Family] = {
    "constant": families.Constant(), "jumps": families.Jumps(100.0), "log-normal": families.LogNormal(1.0, 0.2),
    "obstacles": families.Obstacles(),
}  # fmt: skip
TOLERANCE = 1e-6
#: kinds whose counts rounding does not decide; of the others, which take hundreds of iterations, they are rows alone
JUDGED = ("constant", "obstacles")

BOUNDED: dict[str, families.Family] = {
    "constant": families.Constant(), "jumps": families.Jumps(1e4), "log-normal": families.LogNormal(),
    "obstacles": families.Obstacles(ends=((linear.End.OPEN, linear.End.OPEN),) * 2),
}  # fmt: skip


def conditions(system: linear.GridSystem) -> dict[str, float]:
    """λ_max/λ_min of B A with the classical cycle, with the learned one, and the least that any coarse space allows.

    With E_s = (I − M⁻ᵀA)(I − M⁻¹A) the error after sweeps on either way and λ₁ ≤ λ₂ ≤ ... the eigenvalues of I − E_s in
    the A-product (J. Xu, L. Zikatanov, Algebraic multigrid methods, Acta Numerica 26 (2017), 591, on optimal coarse
    spaces): on the components that a correction of n_c unknowns does not reach B A is I − E_s, so that
    λ_min ≤ λ_{n_c+1} (Courant, Fischer); and λ_max ≥ 1, since the error of one red and black sweep, of rank half the
    unknowns at most, leaves some component nothing. So the condition is 1/λ_{n_c+1} at least, n_c a quarter of them.
    """
    live = np.flatnonzero(system.live(np).ravel())
    A = system.matrix().toarray()[np.ix_(live, live)]
    root = np.linalg.cholesky(A)

    def spectrum(apply: Any) -> np.ndarray:
        whole = np.zeros(system.size)
        columns = []
        for k in live:
            whole[k] = 1.0
            columns.append((apply @ whole)[live])
            whole[k] = 0.0
        return np.linalg.eigvalsh(root.T @ np.stack(columns, 1) @ root)

    red = (np.indices(system.shape).sum(0) % 2 == 0).ravel()[live]
    order = np.concatenate([np.flatnonzero(red), np.flatnonzero(~red)])
    lower = np.tril(A[np.ix_(order, order)])
    back = np.argsort(order)
    sweep = np.linalg.inv(lower)[np.ix_(back, back)]
    smoothed = np.eye(len(live)) - root.T @ sweep @ root
    kept = 1 - np.linalg.eigvalsh(smoothed.T @ smoothed)
    least = 1 / np.sort(kept)[len(live) // 4]
    found = {}
    for name, rules in (("classical", None), ("learned", linear.LearnedMultigrid().rules)):
        values = spectrum(linear.Multigrid(rules=rules).operator(system))
        found[name] = float(values[-1] / values[0])
    return found | {"least": float(least)}


def needed(condition: float) -> int:
    """Steps after which 2 ((√κ − 1)/(√κ + 1))ⁿ, the bound of conjugate gradients, is below 10⁻⁶."""
    root = np.sqrt(condition)
    return int(np.ceil(np.log(1e-6 / 2) / np.log((root - 1) / (root + 1))))


def measure(ledger: Ledger, work: Any) -> None:
    """Rows, and the check of the identity."""
    ledger.seeds(0)
    worst = rounding = 0
    for kind, family in KINDS.items():
        for shape in ((24, 24),) if work.quick else ((48, 48), (14, 14, 14)):
            system = family.draw(0, shape)
            b = np.random.default_rng(1).standard_normal(system.shape) * system.live(np)
            x, plain = linear.ConjugateGradient(None, tolerance=TOLERANCE).prepare(system)(b)
            size = np.abs(x).max()
            for directions in (1, 2, 4):
                same = linear.FromOperator(lambda r: r.copy(), linear=False)
                solver = linear.ConjugateGradient(same, tolerance=TOLERANCE, directions=directions, patience=10_000)
                y, info = solver.prepare(system)(b)
                off = abs(int(info.iterations) - int(plain.iterations))
                if kind in JUDGED:
                    worst = max(worst, off)
                rounding = max(rounding, off)
                ledger.row(section="identity", system=kind, cells=" × ".join(map(str, shape)), directions=directions,
                           iterations=int(info.iterations), plain=int(plain.iterations),
                           difference=float(np.abs(y - x).max() / size))  # fmt: skip
            solve = linear.SparseDirect().prepare(system)
            exact = linear.FromOperator(lambda r, s=solve: s(r)[0].ravel(), linear=False)
            _, info = linear.ConjugateGradient(exact, tolerance=TOLERANCE).prepare(system)(b)
            ledger.row(section="exact inverse", system=kind, cells=" × ".join(map(str, shape)),
                       iterations=int(info.iterations))  # fmt: skip
    for kind, family in BOUNDED.items():
        system = family.draw(1000, (16, 16) if work.quick else (32, 32))
        several = conditions(system)
        ledger.row(section="condition", system=kind, cells=" × ".join(map(str, system.shape)), **several,
                   **{f"iterations_{name}": needed(value) for name, value in several.items()})  # fmt: skip
    ledger.check(
        "identity_network_equals_cg_iterations", worst, "a step differs",
        note=f"the most by which iterations to {TOLERANCE:g} differ with 1, 2 and 4 directions, constant coefficients "
        f"and obstacles, in 2-D and 3-D; of jumps by 100 and log-normal ones, where rounding decides, by {rounding}",
    )  # fmt: skip
