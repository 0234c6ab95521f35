"""The pressures in a pore network as a linear system."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.problems.networks import PoreNetwork
from sciml.solvers.linear.matrix_system import MatrixSystem
from sciml.support import Points


class PoreSystem(MatrixSystem):
    """L_ff p_f = −L_fg p_g: the Laplacian of a pore network between the pores f where no pressure is given, with those
    that are given, g, brought to the right. Symmetric and positive definite.

    Args:
        pores: which network.

    Attributes:
        rhs: (n,) m³/s, the right-hand side.
    """

    def __init__(self, pores: PoreNetwork):
        if not isinstance(pores, PoreNetwork):
            raise InputError(f"pores: expected a PoreNetwork, got {type(pores).__name__}")
        self.pores, self.free = pores, ~pores.fixed
        rows = pores.laplacian()[self.free]
        super().__init__(rows[:, self.free], support=Points(pores.points[self.free]))
        self.rhs: np.ndarray = -(rows @ pores.given)

    def pressure(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " pore"]:
        """(pores,) Pa of all pores, from a solution of the system."""
        found = self.pores.given
        found[self.free] = np.asarray(x, np.float64)
        return found
