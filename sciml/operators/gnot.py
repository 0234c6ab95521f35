"""GNOT: normalised attention of points to any number of input functions, and experts by place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from sciml import registry
from sciml.errors import positive
from sciml.operators._cloud import CloudOperator
from sciml.operators._points import perceptron
from sciml.operators.layers.attention import HeterogeneousAttention, Source
from sciml.operators.layers.experts import Experts


class Block(nn.Module):
    """h + cross(norm h, sources), + norm(experts), + own(norm h), + norm(experts), with the gates g(s) of the points.

    The sources are the same in all blocks.
    """

    def __init__(
        self, width: int, heads: int, sources: int, located: int, expansion: int, experts: int, top: int | None
    ):
        super().__init__()
        self.before, self.after = (nn.ModuleList(nn.LayerNorm(width) for _ in range(2)) for _ in range(2))
        self.of_sources = nn.ModuleList(nn.LayerNorm(width) for _ in range(sources))
        self.cross, self.own = HeterogeneousAttention(width, heads, sources), HeterogeneousAttention(width, heads)
        self.experts = nn.ModuleList(Experts(width, expansion * width, experts, top) for _ in range(2))
        self.gate = perceptron([located, width, width, experts], "gelu", last=False) if experts > 1 else None

    def forward(
        self,
        h: Float[Tensor, "batch point width"],
        located: Float[Tensor, "batch point number"],
        share: Float[Tensor, "batch point"] | None,
        sources: Sequence[Source],
    ) -> Float[Tensor, "batch point width"]:
        gates = None if self.gate is None else self.gate(located).softmax(-1)
        seen = [(norm(z), s) for norm, (z, s) in zip(self.of_sources, sources, strict=True)]
        h = h + self.cross(self.before[0](h), seen)
        h = h + self.after[0](self.experts[0](h, gates))
        x = self.before[1](h)
        h = h + self.own(x, [(x, share)])
        return h + self.after[1](self.experts[1](h, gates))


@registry.operators.register("gnot")
class GNOT(CloudOperator):
    """General neural operator transformer: points read from all that is given, each from its own source.

    In every block they read from the lifted points themselves, which hold the fields, and from every input function,
    by heterogeneous normalised attention; then from one another. Perceptrons are mixtures of experts, whose gates are
    functions of the place alone. Time and memory go with the number of points.

    Args:
        in_channels, out_channels: channels of the values and of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, dimensions) of every input function.
        width: of a point's vector; a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
        expansion: width of an expert over `width`.
        experts: in each of the two mixtures of a block.
        top: experts that a point takes; None for all.
        frequencies: see `CloudOperator`.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Hao et al., "GNOT: a general neural operator transformer for operator learning", ICML 2023, section 3; there
    the fields at the points are only read from, here they also go into the lifted points.
    """

    name, title = "gnot", "GNOT"
    reads_once: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int,
        n_params: int = 0,
        functions: Sequence[Sequence[int]] = (),
        *,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        expansion: int = 2,
        experts: int = 3,
        top: int | None = None,
        frequencies: int = 4,
    ):
        super().__init__(in_channels, out_channels, dimensions, n_params, functions, width, depth, heads, frequencies)
        self.expansion, self.experts = positive("expansion", expansion), positive("experts", experts)
        self.top = top
        located = dimensions * (1 + 2 * frequencies)
        self.blocks = nn.ModuleList(
            Block(width, heads, 1 + len(self.functions), located, expansion, experts, top) for _ in range(depth)
        )

    def config(self) -> dict[str, Any]:
        return super().config() | {"expansion": self.expansion, "experts": self.experts, "top": self.top}

    def beside(self, h: Tensor, points: Tensor, share: Tensor | None, sources: Sequence[Source]) -> tuple[Any, ...]:
        return self.located(points), share, [(h, share), *sources]
