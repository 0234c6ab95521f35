"""What data keep where nobody has written down their law: bounds, constant integrals, and how free of divergence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sciml.derivatives import central
from sciml.support import Grid, Support

CONSTANT = 1e-3  # drift of an integral, as a share of the integral of |field|, up to which it counts as kept
MARGIN = 2.0  # on the largest drift and on none of the others: it comes from a finite number of cases


@dataclass(frozen=True)
class Observed:
    """What the training data keep: audits hold predictions against it.

    Args:
        bounds: field -> (least, largest) value seen.
        conserved: fields whose integral over the domain stayed as it was in every case, up to `tolerance` of its mean
            absolute value.
        tolerance: the largest drift seen among these, with a margin.
        divergence: root mean square divergence of the velocity in the data, over velocity scale and length; None where
            there is no velocity on a grid.
    """

    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    conserved: tuple[str, ...] = ()
    tolerance: float = 0.0
    divergence: float | None = None


def observe(
    supports_times_frames: Iterable[tuple[Support, Any, np.ndarray]],
    fields: Sequence[str],
    velocity: Sequence[str] = (),
) -> Observed:
    """What all these cases have in common.

    A field is conserved if in every case of more than one frame max_t |∫u(t) − ∫u(0)| ≤ 10⁻³ · mean_t ∫|u(t)|, and if
    it changes at all: the integral of a field that stands still says nothing.

    Args:
        supports_times_frames: for each case where its values live, its times (T,), and its frames
            (T, field, *shape) in physical units; one frame where the problem is steady.
        fields: names, in the order of the frames.
        velocity: which of them are the components of a velocity, in the order x, y, z; () where there is none.
    """
    names = list(fields)
    components = [names.index(v) for v in velocity if v in names]
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    drift, moved = np.zeros(len(names)), np.zeros(len(names), bool)
    kept, several = np.ones(len(names), bool), False
    square, count = 0.0, 0
    for support, _, frames in supports_times_frames:
        u = np.asarray(frames, dtype=np.float64)
        flat = u.reshape(*u.shape[:2], -1)
        inside = support.inside
        if inside is not None:
            flat = flat[..., inside.reshape(-1)]
        low, high = np.minimum(low, flat.min(axis=(0, 2))), np.maximum(high, flat.max(axis=(0, 2)))
        if len(flat) > 1:
            several = True
            w = support.weights().reshape(-1)
            w = w if inside is None else w[inside.reshape(-1)]
            size = (np.abs(flat) * w).sum(-1).mean(0)
            total = (flat * w).sum(-1)
            found = np.abs(total - total[:1]).max(0) / np.where(size > 0, size, 1.0)
            drift = np.maximum(drift, found)
            kept &= found <= CONSTANT
            moved |= np.abs(flat - flat[:1]).max(axis=(0, 2)) > CONSTANT * np.abs(flat).max(axis=(0, 2))
        if isinstance(support, Grid) and len(components) == support.dimensions:
            parts = np.moveaxis(u[:, components], 1, 0)
            scale = central.rate(parts, support)
            divergence = central.divergence(parts, support)
            divergence = divergence[np.isfinite(divergence)]
            if scale > 0 and divergence.size:
                square += float(np.sum((divergence / scale) ** 2))
                count += divergence.size
    chosen = [i for i in range(len(names)) if several and kept[i] and moved[i]]
    return Observed(
        {
            n: (float(a), float(b))
            for n, a, b in zip(names, low, high, strict=True)
            if np.isfinite(a) and np.isfinite(b)
        },
        tuple(names[i] for i in chosen),
        MARGIN * float(max((drift[i] for i in chosen), default=0.0)),
        float(np.sqrt(square / count)) if count else None,
    )
