"""A foundation model that reads frames and the equation that they obey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.contracts import Batch, Operator
from sciml.errors import InputError, positive
from sciml.operators._fusion import Layer, Numbers, Waves, middles, places, there


@dataclass(frozen=True, eq=False)
class EquationBatch(Batch):
    """Frames of several problems on one grid, and their equations. What a sample lacks is masked.

    Args:
        x: (batch, frame, channel, y, x), past frames, the present one last; each channel with mean 0 and spread 1.
        past: (batch, frame), their times before the present, ≤ 0, in spans that the model sees ahead.
        future: (batch, query), times at which it is asked, in the same unit.
        sizes: (batch, channel, 2), of each channel the logarithm of its spread, and its mean over its spread.
        fields: (batch, channel), 1 where a problem has this field.
        frames: (batch, frame), 1 where there is a frame; None where all are.
        mask: (batch or 1, 1, y, x), 1 inside the domain; None where all cells are.
        words: (batch, symbol), whole numbers of words; None for frames alone.
        numbers: (batch, symbol), values of those that are numbers.
        symbols: (batch, symbol), 1 where a symbol is one; None where all are.
    """

    x: Float[Tensor, "batch frame channel y x"]
    past: Float[Tensor, "batch frame"]
    future: Float[Tensor, "batch query"]
    sizes: Float[Tensor, "batch channel 2"]
    fields: Shaped[Tensor, "batch channel"]
    frames: Shaped[Tensor, "batch frame"] | None = None
    mask: Shaped[Tensor, "#batch 1 y x"] | None = None
    words: Int64[Tensor, "batch symbol"] | None = None
    numbers: Float[Tensor, "batch symbol"] | None = None
    symbols: Shaped[Tensor, "batch symbol"] | None = None


@registry.operators.register("prosefd")
class PROSEFD(Operator):
    """Many frames at once from few frames and an equation, whichever problem it is of:

        tokens  = [patches of all past frames; sizes of the fields; symbols]
        z       = fusion(tokens), self-attention over all of them
        û(t)    = patches(decoder(query(t, patch) + z(present frame, patch) → z)), attention to z alone

    A frame is cut into patches; each has the embeddings of its time and of its place, both of real numbers, so that
    neither the number of frames nor the grid is fixed. A symbol has the embedding of its word, of its place in the
    sequence, and, where it is a number, of its value. Queries do not see each other: the answer to the first k times is
    the first k answers. What masks rule out changes no answer.

    The published network has learned tables for times and patches, which end where training did, tells the model the
    sizes of its fields nowhere, and of numbers a sign, three digits and an exponent. Its queries are times and places
    alone, so that attention has to find even the patch that is asked about: `anchored=False`.

    Args:
        channels: fields of all problems together.
        words: of their equations, see `sciml.symbols.vocabulary`.
        width: of a token. 128, and the counts of layers below, are sizes for a few cores.
        heads, hidden: of attention, and of the perceptrons between.
        patch: cells along the side of a patch; grids are multiples of it.
        frame_layers, symbol_layers, fusion_layers, decoder_layers: how many.
        head: channels of the points that patches are opened into.
        anchored: queries begin with what became of their patch of the present frame.

    Raises:
        InputError: an argument out of range, or a grid that patches do not fill.

    Source: Y. Liu, J. Sun, X. He, G. Pinney, Z. Zhang, H. Schaeffer, "PROSE-FD: a multimodal PDE foundation model for
    learning multiple operators for forecasting fluid dynamics", arXiv:2409.09811 (2024).
    """

    name, title = "prosefd", "PROSE-FD"
    takes = EquationBatch
    solver = "foundation_model"
    decided: ClassVar = {"channels": "channels_out", "words": "the equations"}
    #: sizes as published, for grids of 128 × 128 cells: about 1.6e8 weights
    published = {  # noqa: RUF012
        "width": 1024, "heads": 8, "hidden": 2048, "patch": 16, "frame_layers": 2, "symbol_layers": 1,
        "fusion_layers": 8, "decoder_layers": 8, "head": 32, "anchored": False,
    }  # fmt: skip

    def __init__(
        self,
        channels: int,
        words: int,
        *,
        width: int = 128,
        heads: int = 4,
        hidden: int = 256,
        patch: int = 8,
        frame_layers: int = 1,
        symbol_layers: int = 1,
        fusion_layers: int = 2,
        decoder_layers: int = 3,
        head: int = 32,
        anchored: bool = True,
    ):
        super().__init__()
        given = dict(locals())
        sizes = ("channels", "words", "width", "heads", "hidden", "patch", "frame_layers", "symbol_layers",
                 "fusion_layers", "decoder_layers", "head")  # fmt: skip
        least: dict[str, int] = dict.fromkeys(("frame_layers", "symbol_layers", "fusion_layers"), 0)
        self.arguments: dict[str, Any] = {name: positive(name, given[name], least.get(name, 1)) for name in sizes}
        self.arguments["anchored"] = anchored
        self.channels, self.patch = channels, patch

        def layers(count: int, across: bool = False) -> nn.ModuleList:
            return nn.ModuleList(Layer(width, heads, hidden, across) for _ in range(count))

        self.cut = nn.Sequential(nn.Conv2d(channels + 1, width, patch, patch), nn.GELU(), nn.Conv2d(width, width, 1))
        self.size = nn.Linear(3 * channels, width)
        self.word, self.number = nn.Embedding(words, width), Numbers(width)
        self.time, self.asked = Waves(1, width), Waves(1, width)
        self.place, self.where = Waves(2, width, lowest=1.0), Waves(2, width, lowest=1.0)
        self.kind = nn.Parameter(0.02 * torch.randn(3, width))
        self.of_frames, self.of_symbols = layers(frame_layers), layers(symbol_layers)
        self.fusion, self.decoder = layers(fusion_layers), layers(decoder_layers, across=True)
        self.here = nn.Linear(width, width) if anchored else None
        self.last = nn.RMSNorm(width)
        self.open = nn.Sequential(
            nn.ConvTranspose2d(width, head, patch, patch), nn.GELU(), nn.Conv2d(head, head, 1), nn.GELU(),
            nn.Conv2d(head, channels, 1),
        )  # fmt: skip

    def config(self) -> dict[str, Any]:
        return dict(self.arguments)

    def forward(
        self,
        x: Float[Tensor, "batch frame channel y x"],
        past: Float[Tensor, "batch frame"],
        future: Float[Tensor, "batch query"],
        sizes: Float[Tensor, "batch channel 2"],
        fields: Shaped[Tensor, "batch channel"],
        frames: Shaped[Tensor, "batch frame"] | None = None,
        mask: Shaped[Tensor, "#batch 1 y x"] | None = None,
        words: Int64[Tensor, "batch symbol"] | None = None,
        numbers: Float[Tensor, "batch symbol"] | None = None,
        symbols: Shaped[Tensor, "batch symbol"] | None = None,
    ) -> Float[Tensor, "batch query channel y x"]:
        """The channels at the times that are asked for; 0 where a problem has no such field, and outside of masks."""
        self._check(x)
        known, seen = self.read(x, past, sizes, fields, frames, mask, words, numbers, symbols)
        shape = (x.shape[-2] // self.patch, x.shape[-1] // self.patch)
        where = self.where(middles(shape, x))
        token = self.asked(future[..., None])[:, :, None] + where
        if self.here is not None:
            cells = len(where)
            token = token + self.here(known[:, (x.shape[1] - 1) * cells : x.shape[1] * cells])[:, None]
        token = token.flatten(1, 2)
        for layer in self.decoder:
            token = self.through(layer, token, known, seen)
        grid = self.last(token).unflatten(1, (future.shape[1], *shape)).flatten(0, 1).movedim(-1, 1)
        found = self.open(grid).unflatten(0, future.shape) * fields[:, None, :, None, None]
        return found if mask is None else found * mask[:, None]

    def read(
        self, x: Tensor, past: Tensor, sizes: Tensor, fields: Tensor, frames: Tensor | None = None,
        mask: Tensor | None = None, words: Tensor | None = None, numbers: Tensor | None = None,
        symbols: Tensor | None = None,
    ) -> tuple[Float[Tensor, "batch token channel"], Shaped[Tensor, "batch token"]]:  # fmt: skip
        """What is known, as tokens, and which of them are any."""
        batch, count = x.shape[:2]
        inside = x.new_ones(1, 1, *x.shape[-2:]) if mask is None else mask.to(x.dtype)
        present = fields.to(x.dtype)[:, None, :, None, None]
        one = torch.cat([x * present * inside[:, None], inside[:, None].expand(batch, count, -1, -1, -1)], 2)
        patches = self.cut(one.flatten(0, 1)).flatten(2).transpose(1, 2).unflatten(0, (batch, count))
        shape = (x.shape[-2] // self.patch, x.shape[-1] // self.patch)
        token = patches + self.time(past[..., None])[:, :, None] + self.place(middles(shape, x)) + self.kind[0]
        token, cells = token.flatten(1, 2), shape[0] * shape[1]
        seen = there(None if frames is None else frames.repeat_interleave(cells, 1), token)
        for layer in self.of_frames:
            token = self.through(layer, token, None, seen)
        told = torch.cat([sizes * fields[..., None].to(x.dtype), fields[..., None].to(x.dtype)], -1).flatten(1)
        parts = [token, (self.size(told) + self.kind[1])[:, None]]
        masks = [seen, seen.new_ones(batch, 1)]
        if words is not None:
            assert numbers is not None
            symbol, read = self._symbols(words, numbers.to(x.dtype), symbols)
            parts, masks = [*parts, symbol], [*masks, read]
        known, seen = torch.cat(parts, 1), torch.cat(masks, 1)
        for layer in self.fusion:
            known = self.through(layer, known, None, seen)
        return known, seen

    def _symbols(self, words: Tensor, numbers: Tensor, symbols: Tensor | None) -> tuple[Tensor, Tensor]:
        token = self.word(words) + self.number(numbers) + places(words.shape[1], self.kind.shape[1], self.kind)
        seen = there(symbols, token)
        for layer in self.of_symbols:
            token = self.through(layer, token, None, seen)
        return token + self.kind[2], seen

    def _check(self, x: Tensor) -> None:
        if x.ndim != 5 or x.shape[2] != self.channels:
            raise InputError(f"x: expected (batch, frame, {self.channels}, y, x), got {tuple(x.shape)}")
        if any(n % self.patch for n in x.shape[-2:]):
            raise InputError(f"x: a grid of {tuple(x.shape[-2:])} cells is not made of patches of {self.patch} a side")


__all__ = ["PROSEFD", "EquationBatch"]
