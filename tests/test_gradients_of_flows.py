"""The drag of a cylinder, and its derivative by reverse mode through `simulate`, by what the flow and the body are.

On a grid so coarse that only the discrete answer matters, in double precision, against differences so narrow that no
number of steps changes and no face opens. Of a probe in a cavity and of two fluids the solvers' own tests do the same.
"""

import jax
import numpy as np
import pytest

from benchmarks._gradients_flows import Drag
from benchmarks._gradients_solved import Solved


@pytest.mark.compiled_quickly
def test_drag_by_flow_profile_radius_and_place_is_what_differences_say(step=1e-5):
    asked = Drag((16, 28))
    asked.times = Drag.times[:7]
    u = np.array([low + 0.37 * (high - low) for low, high in asked.spans.values()])
    solved = Solved(asked)
    value, slope, taken = solved.gradient(u)
    assert taken > 3 and np.isfinite(value)

    def again(at):  # by the same program
        with jax.enable_x64(True):
            return float(solved.slopes_of(*solved.arrays(at))[0][0])

    way = step * asked.sizes * np.random.default_rng(1).choice([-1.0, 1.0], len(u))  # all numbers at once
    near, far = (again(u + s * way) - again(u - s * way) for s in (1, 2))
    theirs = (8 * near - far) / 12
    assert abs(float(slope @ way) / theirs - 1) < 1e-7
