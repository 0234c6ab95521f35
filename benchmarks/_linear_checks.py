"""What must hold whatever a network has learned: the flexible method with a network that gives back the residual is
plain conjugate gradients, iteration for iteration, and one that inverts exactly needs a single step.
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
    ledger.check(
        "identity_network_equals_cg_iterations", worst, "a step differs",
        note=f"the most by which iterations to {TOLERANCE:g} differ with 1, 2 and 4 directions, constant coefficients "
        f"and obstacles, in 2-D and 3-D; of jumps by 100 and log-normal ones, where rounding decides, by {rounding}",
    )  # fmt: skip
