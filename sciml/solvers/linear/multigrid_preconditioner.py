"""The multigrid cycle as a preconditioner of solvers on the host, and for torch."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import torch
from jaxtyping import Float

from sciml.errors import InputError
from sciml.solvers.linear._arrays import NUMPY, Arrays
from sciml.solvers.linear._coarse_grids import total
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._cycle import Plain, Rules, cycle, levels
from sciml.solvers.linear._preconditioner import Apply, Preconditioner
from sciml.solvers.linear._settings import check_counts, check_waits
from sciml.solvers.linear._system import LinearSystem
from sciml.solvers.linear.grid_system import GridSystem

TORCH = Arrays(
    torch, lambda values, like: torch.as_tensor(np.array(values), dtype=like.dtype, device=like.device), torch.matmul
)


class Multigrid(Preconditioner):
    """z = B r with one V cycle B ≈ A⁻¹ on a grid, the cycle of `MultigridCG`: linear, symmetric and positive.

    Args:
        sweeps: of the smoother on either way.
        waits: as in `MultigridCG`.
        rules: how coarse grids are made; None as `MultigridCG` does it, `LearnedMultigrid().rules` as that does.

    Raises:
        InputError: settings out of range.

    Source: O. Tatebe, in Proc. Copper Mountain Conf. on Multigrid Methods, NASA CP-3224 (1993), 621.
    """

    name = "multigrid"

    def __init__(self, sweeps: int = 1, waits: tuple[int, ...] = (), rules: Rules | None = None):
        check_counts(self.name, sweeps=sweeps)
        check_waits(self.name, waits)
        if rules is not None and not isinstance(rules, Rules):
            raise InputError(f"{self.name}: rules: expected rules such as LearnedMultigrid().rules, got {rules!r:.60}")
        self.sweeps, self.waits, self.rules = int(sweeps), waits, Plain() if rules is None else rules

    def supports(self, system: LinearSystem) -> bool:
        return isinstance(system, GridSystem)

    def set_up(self, concrete: Concrete) -> tuple[Apply, int | None]:
        system = concrete.system
        if not isinstance(system, GridSystem):
            raise InputError(f"{self.name}: expected a GridSystem, got {type(system).__name__}")
        conductances = [np.asarray(c, np.float64) for c in system.conductances(np)]
        grids, bottom = levels(NUMPY, conductances, system.ends, system.shape, self.waits, self.rules)

        def apply(r: np.ndarray) -> np.ndarray:
            right = concrete.scatter(concrete.project(r))
            z = cycle(NUMPY, grids, bottom, system.ends, right, self.sweeps, self.waits)
            return concrete.project(concrete.gather("z", z))

        return apply, sum(a.nbytes for a in jax.tree.leaves((grids, bottom)))

    def on_tensors(
        self, system: GridSystem, like: torch.Tensor, coefficients: tuple[torch.Tensor, ...] | None = None
    ) -> Callable[[Float[torch.Tensor, " *cells"]], Float[torch.Tensor, " *cells"]]:
        """r -> B r on tensors of the grid's shape, on any device, differentiable by r and by coefficients.

        Args:
            system: which one; with a null space of constants both sides lose their mean over live cells.
            like: a tensor whose type and device it works in.
            coefficients: in place of the system's, as tensors.
        """
        if not isinstance(system, GridSystem):
            raise InputError(f"{self.name}: expected a GridSystem, got {type(system).__name__}")
        if coefficients is None:
            conductances = [TORCH.constant(np.array(c), like) for c in system.conductances(np)]
        else:
            plain = GridSystem(system.shape, system.ends, system.spacing)
            conductances = [c.to(like) * TORCH.constant(np.array(w), like)
                            for c, w in zip(coefficients, plain.conductances(np), strict=True)]  # fmt: skip
        grids, bottom = levels(TORCH, conductances, system.ends, system.shape, self.waits, self.rules)
        live = (total(conductances) > 0).to(like)
        share = live / live.sum() if system.closed else None

        def centred(values: torch.Tensor) -> torch.Tensor:
            return live * values if share is None else live * (values - (share * values).sum())

        def apply(r: torch.Tensor) -> torch.Tensor:
            if tuple(r.shape) != system.shape:
                raise InputError(f"{self.name}: expected a tensor of shape {system.shape}, got {tuple(r.shape)}")
            return centred(cycle(TORCH, grids, bottom, system.ends, centred(r), self.sweeps, self.waits))

        return apply

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Multigrid) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.name, self.sweeps, self.waits, self.rules))
