"""Random series whose statistics are known."""

import numpy as np


def autoregressive(phi: float, steps: int, count: int, seed: int) -> np.ndarray:
    """(count, steps) of x_t = φ x_{t−1} + e_t, started from its stationary distribution."""
    noise = np.random.default_rng(seed).standard_normal((steps, count))
    x = np.empty_like(noise)
    x[0] = noise[0] / np.sqrt(1 - phi**2)
    for t in range(1, steps):
        x[t] = phi * x[t - 1] + noise[t]
    return x.T
