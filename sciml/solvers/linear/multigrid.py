"""Conjugate gradients with a multigrid cycle as preconditioner: coefficients that vary, closed faces, any box.

The cycle coarsens by two in every direction, cells into their sum (`_coarse_grids`). Red and black Gauss-Seidel
sweeps, in reversed order on the way up, keep it symmetric (`_cycle`).

Derivatives are those of the solution, not of the iteration: each is one more solve.

Source: O. Tatebe, in Proc. Copper Mountain Conf. on Multigrid Methods, NASA CP-3224 (1993), 621.
"""

from __future__ import annotations

from sciml.solvers.linear._cycle import Plain, Rules
from sciml.solvers.linear._multigrid_cg import CycleCG


class MultigridCG(CycleCG):
    """Conjugate gradients until ‖f + ∇·(c∇φ)‖ ≤ tolerance · ‖f‖.

    Coefficients that jump from one region to another take some more iterations than constant ones; of many regions that
    touch within the cells of coarse grids, or of coefficients that vary from cell to cell by many powers of ten, more
    than `max_iterations` may be needed, and `Info.converged` says so.

    Args:
        tolerance: None for 1e-9 in float64 and 1e-5 in float32. A residual that rounding hides counts as reached, of up
            to (iterations + 10) ε ‖2 D φ‖/‖f‖ with D the diagonal: in float32 seldom less than 1e-6.
        max_iterations: beyond, the solve is not converged.
        sweeps: of the smoother on either way.
        waits: for each axis (x, y, ...) the number of first grids on which cells are not joined along it: log₂ of how
            much longer they are there than along the shortest axis, for what oscillates along the long sides is hardly
            smoothed; () for none. `fitted` sets it.
        record: keeps the relative residuals in `Info.history` (max_iterations + 1), NaN after the last.
        single: whether cycles are in float32 where all else is in float64: a third less time for each, and no more
            iterations, but for coefficients that jump by 10⁴ between cells that coarse grids join, or gaps of one cell
            (up to a fifth).
    """

    name = "multigrid_cg"

    def __init__(self, tolerance: float | None = None, max_iterations: int = 100, sweeps: int = 1,
        waits: tuple[int, ...] = (), record: bool = False, single: bool = True,
    ):  # fmt: skip
        super().__init__(tolerance, max_iterations, sweeps, waits, record, single)

    @property
    def rules(self) -> Rules:
        return Plain()

    def waiting(self, waits: tuple[int, ...]) -> MultigridCG:
        return MultigridCG(self.tolerance, self.max_iterations, self.sweeps, waits, self.record, self.single)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MultigridCG) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.tolerance, self.max_iterations, self.sweeps, self.waits, self.record, self.single))
