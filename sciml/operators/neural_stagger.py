"""Any operator on grids, on interleaved coarse fields instead of one fine field."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.contracts import GridBatch, Operator, Signature, build
from sciml.errors import InputError, positive, suggest
from sciml.operators._grid import GridOperator, crop, extend, grid_arguments, grid_coordinates


def split(
    x: Shaped[Tensor, "batch channel *space"], stagger: Sequence[int], steps: int = 1
) -> Shaped[Tensor, "piece batch channel_of_one *coarse"]:
    """Interleaved coarse fields: piece number (t, p₁, ..., p_d) holds the part t of the channels at the points
    (s₁j₁ + p₁, ..., s_d j_d + p_d).

    Args:
        x: (batch, steps · channel, *space), the frames of a window one after another.
        stagger: s, one number an axis of space, in the order of the array's axes.
        steps: parts of the channels.

    Returns:
        (steps · s₁ ··· s_d, batch, channel, *space / s); the last axis of the offsets runs fastest.

    Raises:
        InputError: an axis, or the channels, that so many do not divide.
    """
    batch, channels, *space = x.shape
    d = len(space)
    if len(stagger) != d:
        raise InputError(f"stagger: expected {d} numbers, one an axis of {tuple(space)}, got {tuple(stagger)}")
    if channels % steps or any(n % s for n, s in zip(space, stagger, strict=True)):
        raise InputError(f"stagger: {tuple(stagger)} and {steps} steps do not divide {tuple(x.shape)}")
    shape: list[int] = [batch, steps, channels // steps]
    for n, s in zip(space, stagger, strict=True):
        shape += [n // s, s]
    offsets, places = range(4, 4 + 2 * d, 2), range(3, 3 + 2 * d, 2)
    parts = x.reshape(shape).permute(1, *offsets, 0, 2, *places)
    count, coarse = steps * math.prod(stagger), (n // s for n, s in zip(space, stagger, strict=True))
    return parts.reshape(count, batch, channels // steps, *coarse)


def merge(
    pieces: Shaped[Tensor, "piece batch channel_of_one *coarse"], stagger: Sequence[int], steps: int = 1
) -> Shaped[Tensor, "batch channel *space"]:
    """The inverse of `split`: values are put where they were, none is changed.

    Raises:
        InputError: other pieces than so many.
    """
    count, batch, channels, *coarse = pieces.shape
    d = len(coarse)
    if len(stagger) != d or count != steps * math.prod(stagger):
        expected = f"{steps} · {' · '.join(map(str, stagger))} pieces of {len(stagger)} axes"
        raise InputError(f"pieces: expected {expected}, got {tuple(pieces.shape)}")
    parts = pieces.reshape(steps, *stagger, batch, channels, *coarse)
    order = [1 + d, 0, 2 + d]
    for i in range(d):
        order += [3 + d + i, 1 + i]
    return parts.permute(order).reshape(batch, steps * channels, *(n * s for n, s in zip(coarse, stagger, strict=True)))


@registry.operators.register("neural_stagger")
class NeuralStagger(GridOperator):
    """An operator N on each of s₁ ··· s_d interleaved coarse fields of every frame, put together again:

        y(s j + p) = N(u(s · + p), parameters, positions)(j),    0 ≤ p < s

    Every sub-task is the same problem on a grid s times as coarse, so that a smaller N may do; all of them go through
    it as one batch. `WithPhysics` and constraints see the field that is put together, so that balances tie the pieces
    together where N does not: no piece knows the points between its own. Waves shorter than two points of a piece it
    takes for longer ones, and nothing makes neighbours agree: answers may differ from point to point, as a checkerboard
    does. With one N of convolutions for all pieces this is the same network with all convolutions dilated by s, on the
    whole field, where the grid is periodic and positions are not told.

    In time, `steps` > 1 takes a `Window(n_in=steps, n_out=steps, increments=False)` apart into as many sub-tasks, each
    from its own frame to the one `steps` later: u_t + σ N(u_t), with a learned σ a field.

    Axes that s does not divide are continued by their edge values, or periodically, and cut off again.

    Args:
        in_channels, out_channels, dimensions, n_params, masked: see `GridOperator`.
        periodic, space, residual: see `Signature`; N is told the like of its pieces.
        backbone: registered name of N, any operator on grids.
        settings: options of N.
        stagger: s, one number for all axes or one an axis, in the order of the arrays' axes.
        steps: sub-tasks in time.
        shared: one N for all sub-tasks, or one for each, which can only be applied one after another.

    Raises:
        InputError: an argument out of range, an N that takes no grids, a window that is not of so many frames, tensors
            whose shapes do not fit.

    Source: X. Huang, W. Shi, Q. Meng, Y. Wang, X. Gao, J. Zhang, T.-Y. Liu, "NeuralStagger: accelerating
    physics-constrained neural PDE solver with spatial-temporal decomposition", ICML 2023.
    """

    name, title = "neural_stagger", "NeuralStagger"
    decided: ClassVar = {
        **GridOperator.decided, "masked": "masked", "periodic": "periodic", "space": "space", "residual": "residual",
    }  # fmt: skip

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int = 2,
        n_params: int = 0,
        masked: bool = False,
        periodic: Sequence[bool] = (),
        space: Sequence[int] | None = None,
        residual: bool = False,
        *,
        backbone: str = "fno",
        settings: Mapping[str, Any] | None = None,
        stagger: int | Sequence[int] = 2,
        steps: int = 1,
        shared: bool = True,
    ):
        super().__init__(in_channels, out_channels, dimensions, n_params=n_params, coordinates=False, masked=masked)
        self.periodic = tuple(bool(p) for p in periodic)
        self.space = None if space is None else tuple(positive("space", n) for n in space)
        self.residual, self.backbone, self.shared = bool(residual), backbone, bool(shared)
        several = stagger if isinstance(stagger, Iterable) else [stagger] * dimensions
        self.stagger = tuple(positive("stagger", s) for s in several)
        if len(self.stagger) != dimensions:
            raise InputError(f"stagger: expected a number or {dimensions} numbers, got {self.stagger}")
        self.steps = positive("steps", steps)
        if self.steps > 1 and self.residual:
            raise InputError(
                f"steps: each of {steps} frames adds to its own, expected Window(n_in={steps}, n_out={steps}, "
                "increments=False)"
            )
        if self.out_channels % self.steps or (self.steps > 1 and self.in_channels < self.out_channels):
            raise InputError(
                f"steps: expected Window(n_in={steps}, n_out={steps}, increments=False), got {self.in_channels} "
                f"channels in and {self.out_channels} out"
            )
        if settings is not None and not isinstance(settings, Mapping):
            raise InputError(f"settings: expected options of {backbone} by name, got {settings!r:.80}")
        self.settings = dict(settings or {})
        one = self._signature()
        count = 1 if self.shared else self.steps * math.prod(self.stagger)
        self.pieces = nn.ModuleList(build(_on_grids(backbone), one, self.settings) for _ in range(count))
        # a step of several frames changes a field by a part of its spread, whatever N begins with
        self.gain = nn.Parameter(torch.full((self.out_channels // self.steps,), 0.1)) if self.steps > 1 else None

    def _signature(self) -> Signature:
        """What a sub-task is."""
        static = self.in_channels - self.out_channels if self.steps > 1 else 0
        state = self.in_channels - static
        space = None
        if self.space is not None:
            space = tuple(-(-n // s) for n, s in zip(self.space, self.stagger, strict=True))
        return Signature(
            state // self.steps + static, self.out_channels // self.steps, self.dimensions, n_params=self.n_params,
            masked=self.masked, periodic=self.periodic, space=space, residual=self.residual or self.steps > 1,
        )  # fmt: skip

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are, the backbone as it is for data on the coarse grid."""
        known = {n: getattr(signature, n) for n in ("dimensions", "masked", "periodic", "space", "residual")}
        return cls(**grid_arguments(signature), **known, **options)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "dimensions": self.dimensions,
            "n_params": self.n_params,
            "masked": self.masked,
            "periodic": list(self.periodic),
            "space": None if self.space is None else list(self.space),
            "residual": self.residual,
            "backbone": self.backbone,
            "settings": self.settings,
            "stagger": list(self.stagger),
            "steps": self.steps,
            "shared": self.shared,
        }

    def objective(self) -> Callable[..., Tensor] | None:
        return cast(Operator, self.pieces[0]).objective()

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator; arguments and result as in `GridOperator.forward`."""
        self.check(x, params, mask, coords)
        space = x.shape[2:]
        own = x if self.steps == 1 else x[:, : self.out_channels]
        given = self.split(own, self.steps)
        if own is not x:  # what does not change in time, beside every frame
            static = self.split(x[:, self.out_channels :]).repeat(self.steps, *[1] * x.ndim)
            given = torch.cat((given, static), dim=2)
        if coords is None:
            coords = grid_coordinates(space, "centre", x)[None]
        rest = [None if t is None else self.split(t).repeat(self.steps, *[1] * x.ndim) for t in (mask, coords)]
        found = self.applied(given, params, *rest)
        y = crop(merge(found, self.stagger, self.steps), space)
        if self.gain is None:
            return y
        y = torch.addcmul(own.to(y.dtype), y, self.gain.repeat(self.steps).reshape(-1, *[1] * len(space)))
        return y if mask is None else torch.where(mask > 0, y, torch.zeros((), dtype=y.dtype, device=y.device))

    def split(self, x: Tensor, steps: int = 1) -> Tensor:
        around = [i < len(self.periodic) and self.periodic[i] for i in range(self.dimensions)]
        return split(extend(x, self.stagger, around), self.stagger, steps)

    def applied(
        self, given: Tensor, params: Tensor | None, mask: Tensor | None, coords: Tensor | None
    ) -> Float[Tensor, "piece batch channel_out *coarse"]:
        """N on all pieces (piece, batch, ...): as one batch where it is one, else one after another."""
        count, batch = given.shape[:2]
        for net in self.pieces:
            cast(Operator, net).forgets = self.forgets
        if not self.shared:
            each = [[t if t is None else t[i] for t in (mask, coords)] for i in range(count)]
            return torch.stack([net(given[i], params, *each[i]) for i, net in enumerate(self.pieces)])
        if params is not None:
            params = params.repeat(count, 1)
        flat = [None if t is None else t.expand(-1, batch, *t.shape[2:]).flatten(0, 1) for t in (mask, coords)]
        return self.pieces[0](given.flatten(0, 1), params, *flat).unflatten(0, (count, batch))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stagger={self.stagger}, steps={self.steps}"


def _on_grids(name: str) -> type[Operator]:
    cls = registry.operators.get(name) if isinstance(name, str) else None
    if cls is None or cls.takes is not GridBatch:
        able = [n for n in registry.operators.names() if registry.operators.get(n).takes is GridBatch]
        raise InputError(f"backbone: expected an operator on grids, got {name!r}{suggest(str(name), able)}")
    return cls


__all__ = ["NeuralStagger", "merge", "split"]
