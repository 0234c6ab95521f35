"""What particles tell of places between them: linear fits through the nearest ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from jaxtyping import Float

NEIGHBOURS = {2: 9, 3: 16}


def fitted(
    places: Float[np.ndarray, "node dimension"],
    values: Float[np.ndarray, "node channel"],
    at: Float[np.ndarray, "point dimension"],
) -> tuple[Float[np.ndarray, "point channel"], Float[np.ndarray, "point channel dimension"]]:
    """Values and gradients at points, of linear functions through the nearest particles by weighted least squares: what
    is linear comes out as it is. Along directions in which the neighbours do not differ the gradient is 0.

    Args:
        places: (N, D) of the particles.
        values: (N, C) at these.
        at: (P, D).
    """
    count = min(NEIGHBOURS[places.shape[1]], len(places))
    distance, index = KDTree(places).query(at, k=count)
    distance, index = distance.reshape(len(at), count), np.asarray(index).reshape(len(at), count)
    reach = np.maximum(distance[:, -1:], 1e-300)
    weight = np.maximum(1 - (distance / (1.5 * reach)) ** 2, 0.0) ** 2
    weight = weight / weight.sum(1, keepdims=True)
    centre = np.einsum("pk,pkd->pd", weight, places[index])
    mean = np.einsum("pk,pkc->pc", weight, values[index])
    apart, rest = places[index] - centre[:, None], values[index] - mean[:, None]
    moments = np.einsum("pk,pkd,pke->pde", weight, apart, apart)
    mixed = np.einsum("pk,pkc,pkd->pcd", weight, rest, apart)
    gradient = mixed @ np.linalg.pinv(moments, rcond=1e-6, hermitian=True)
    return mean + np.einsum("pcd,pd->pc", gradient, at - centre), gradient
