"""Plain softmax attention between all points: the control for operators that go without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.errors import positive
from sciml.operators._cloud import CloudOperator
from sciml.operators.layers.attention import Source, bias, merge, split
from sciml.operators.layers.block import Block


class SoftmaxAttention(nn.Module):
    """y_m = Σ_n s_n exp(q_m·k_n/√d) v_n / Σ_n s_n exp(q_m·k_n/√d)"""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "batch point width"], bias: Float[Tensor, "batch 1 1 point"] | None
    ) -> Float[Tensor, "batch point width"]:
        q, k, v = (split(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        return self.mix(merge(F.scaled_dot_product_attention(q, k, v, attn_mask=bias)))


@registry.operators.register("point_transformer")
class PointTransformer(CloudOperator):
    """A plain transformer whose tokens are the points: every point attends to every other one.

    Time goes with the square of the number of points, memory with the number.

    Args:
        in_channels, out_channels: channels of the values and of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, dimensions) of every input function.
        width: of a point's vector; a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
        expansion: width of a block's perceptron over `width`.
        frequencies: see `CloudOperator`.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017, equation (1), with pre-norm blocks.
    """

    name, title = "point_transformer", "Point transformer"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int,
        n_params: int = 0,
        functions: Sequence[Sequence[int]] = (),
        *,
        width: int = 64,
        depth: int = 6,
        heads: int = 4,
        expansion: int = 2,
        frequencies: int = 4,
    ):
        super().__init__(in_channels, out_channels, dimensions, n_params, functions, width, depth, heads, frequencies)
        self.expansion = positive("expansion", expansion)
        self.blocks = nn.ModuleList(Block(width, SoftmaxAttention(width, heads), expansion) for _ in range(depth))

    def config(self) -> dict[str, Any]:
        return super().config() | {"expansion": self.expansion}

    def beside(self, h: Tensor, points: Tensor, share: Tensor | None, sources: Sequence[Source]) -> tuple[Any, ...]:
        return (bias(share),)
