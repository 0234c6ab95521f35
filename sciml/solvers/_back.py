"""From an operator's tensors to physical arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sciml.problem import Case
from sciml.support import Support
from sciml.training.encoding import Encoding, Given


class Back:
    """From normalised tensors (case, field, *) to physical arrays, one a case.

    Args:
        asked: what one case is given where its support is points that were asked for: the last of all, where points
            else are the first. There is nothing where its mask rules one out.
    """

    def __init__(
        self, e: Encoding, cases: Sequence[Case], supports: Sequence[Support], device: torch.device, *,
        asked: Given | None = None,
    ):  # fmt: skip
        self.e, self.supports, self.asked = e, supports, asked is not None
        multiplier, offset = e.factors(cases)
        self.multiplier, self.offset = (t.to(device, e.torch_dtype) for t in (multiplier, offset))
        self.inside = [s.inside for s in supports]
        self.limits = {
            e.fields.index(name): (_inner(low, np.inf, e.dtype), _inner(high, -np.inf, e.dtype))
            for c in e.constraints for name, (low, high) in c.limits().items()
        }  # fmt: skip
        if asked is not None and asked.mask is not None:
            self.inside = [asked.mask[0, 0, -supports[0].size :].cpu().numpy() > 0]

    def __call__(self, values: torch.Tensor) -> list[np.ndarray]:
        physical = torch.addcmul(self.offset, values.to(self.multiplier.dtype), self.multiplier).cpu().numpy()
        for k, (low, high) in self.limits.items():  # which numbers that were normalised meet to rounding
            np.clip(physical[:, k], low, high, out=physical[:, k])
        found = []
        for one, support, inside in zip(physical, self.supports, self.inside, strict=True):
            if self.e.flat:
                one = one[:, -support.size :] if self.asked else one[:, : support.size]
                one = one.reshape(len(one), *support.shape)
            found.append(one if inside is None else np.where(inside, one, np.zeros((), one.dtype)))
        return found


def _inner(bound: float, towards: float, dtype: str) -> np.floating:
    """The number of this kind next to a bound that does not go beyond it."""
    found = np.dtype(dtype).type(bound)
    beyond = float(found) < bound if towards > 0 else float(found) > bound
    return np.nextafter(found, found.dtype.type(towards)) if beyond else found
