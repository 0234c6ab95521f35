"""Centre-line velocities of the lid-driven cavity as published.

The square cavity with U = L = 1: u along x = 0.5 and v along y = 0.5 at Reynolds numbers 100, 400 and 1000, computed on
129 × 129 points. The tables carry errors of their own, of about 0.01 (compare O. Botella, R. Peyret, Computers & Fluids
27, 421 (1998) for Re 1000). One entry is left out: v at x = 0.9063 for Re 400, printed as −0.23827, lies 0.15 off the
curve through its neighbours and off every accurate solution.

Source: U. Ghia, K. N. Ghia, C. T. Shin, J. Comput. Phys. 48, 387 (1982), tables I and II.
"""

from __future__ import annotations

import numpy as np

SOURCE = "Ghia et al. (1982)"
_Y = (0.0, 0.0547, 0.0625, 0.0703, 0.1016, 0.1719, 0.2813, 0.4531, 0.5, 0.6172, 0.7344, 0.8516, 0.9531, 0.9609, 0.9688,
      0.9766, 1.0)  # fmt: skip
_U = {
    100: (0.0, -0.03717, -0.04192, -0.04775, -0.06434, -0.10150, -0.15662, -0.21090, -0.20581, -0.13641, 0.00332,
          0.23151, 0.68717, 0.73722, 0.78871, 0.84123, 1.0),
    400: (0.0, -0.08186, -0.09266, -0.10338, -0.14612, -0.24299, -0.32726, -0.17119, -0.11477, 0.02135, 0.16256,
          0.29093, 0.55892, 0.61756, 0.68439, 0.75837, 1.0),
    1000: (0.0, -0.18109, -0.20196, -0.22220, -0.29730, -0.38289, -0.27805, -0.10648, -0.06080, 0.05702, 0.18719,
           0.33304, 0.46604, 0.51117, 0.57492, 0.65928, 1.0),
}  # fmt: skip
_X = (0.0, 0.0625, 0.0703, 0.0781, 0.0938, 0.1563, 0.2266, 0.2344, 0.5, 0.8047, 0.8594, 0.9063, 0.9453, 0.9531, 0.9609,
      0.9688, 1.0)  # fmt: skip
_V = {
    100: (0.0, 0.09233, 0.10091, 0.10890, 0.12317, 0.16077, 0.17507, 0.17527, 0.05454, -0.24533, -0.22445, -0.16914,
          -0.10313, -0.08864, -0.07391, -0.05906, 0.0),
    400: (0.0, 0.18360, 0.19713, 0.20920, 0.22965, 0.28124, 0.30203, 0.30174, 0.05186, -0.38598, -0.44993, float("nan"),
          -0.22847, -0.19254, -0.15663, -0.12146, 0.0),
    1000: (0.0, 0.27485, 0.29012, 0.30353, 0.32627, 0.37095, 0.33075, 0.32235, 0.02526, -0.31966, -0.42665, -0.51550,
           -0.39188, -0.33714, -0.27669, -0.21388, 0.0),
}  # fmt: skip
REYNOLDS = tuple(_U)


def u(reynolds: int) -> tuple[np.ndarray, np.ndarray]:
    """(y, u/U) along x = 0.5."""
    return np.array(_Y), np.array(_U[reynolds])


def v(reynolds: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, v/U) along y = 0.5."""
    values = np.array(_V[reynolds])
    return np.array(_X)[np.isfinite(values)], values[np.isfinite(values)]
