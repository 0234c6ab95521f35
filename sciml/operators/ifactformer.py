"""IFactFormer: axial attention of one shared block, iterated in pseudo-time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sciml import registry
from sciml.errors import InputError, positive
from sciml.operators._axial import AxialOperator
from sciml.operators.layers.axial_attention import AxialAttention


@registry.operators.register("ifactformer")
class IFactFormer(AxialOperator):
    """Implicit factorised transformer: L steps of size 1/L of one block of axial attention.

        u₀ = P(x) + F(position),   u_{l+1} = u_l + A(u_l)/L,   y = Q(u_L)

    A is that of `AxialAttention`; with `parallel` (IFactFormer-m) the kernels of the axes act side by side, without
    (IFactFormer-o) one upon the other. The number of weights does not depend on L. The cost goes with the number of
    points times the number of points an axis; any grid size works with the same weights, and sums over points are
    quadratures by the widths of cells, so that answers converge under refinement, on stretched grids too.

    Args:
        in_channels, out_channels: channels of input and output.
        width: channels of u.
        heads, head_width: of the attention; head_width None for `width`.
        iterations: L.
        parallel: see above.
        n_params: scalar parameters a sample; they modulate the block.
        dimensions: 1 to 3 axes.
        expansion, gain, rotation, waves, features, scale, periodic: see `AxialOperator`.
        masked, sampling: see `GridOperator`.

    As published, but for these: no quadrature weights there; q and k begin at a fiftieth of Xavier's weights there
    (`gain`), which with weights Σ w = 1 would leave y below the ε of its norm; a window of several frames is lifted
    frame by frame there, here by one map. With 3 channels in and out, 3 axes, the sizes by default and
    `periodic=False` it has the published numbers of weights, 1,163,331 (-m) and 1,071,171 (-o).

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Yang, Li, Wang, Peng, Yuan, Wang, "Implicit factorized transformer approach to fast prediction of turbulent
    channel flows", arXiv:2412.18840 (2024).
    """

    name, title = "ifactformer", "IFactFormer"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 96,
        heads: int = 5,
        head_width: int | None = None,
        iterations: int = 10,
        parallel: bool = True,
        n_params: int = 0,
        *,
        dimensions: int = 3,
        expansion: int = 3,
        gain: float = 1.0,
        rotation: float = 64.0,
        waves: int = 8,
        features: int | None = None,
        scale: float = 8.0,
        periodic: bool | Sequence[bool] = False,
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__(
            in_channels, out_channels, width, heads, head_width, n_params, dimensions, expansion, gain, rotation, waves,
            features, scale, periodic, masked, sampling,
        )  # fmt: skip
        if not isinstance(parallel, bool):
            raise InputError(f"parallel is {parallel!r}, expected True (-m) or False (-o)")
        self.iterations, self.parallel = positive("iterations", iterations), parallel
        self.attention = self.block(self.parallel)

    def config(self) -> dict[str, Any]:
        return super().config() | {"iterations": self.iterations, "parallel": self.parallel}

    def steps(self) -> tuple[list[AxialAttention], float]:
        return [self.attention] * self.iterations, 1 / self.iterations
