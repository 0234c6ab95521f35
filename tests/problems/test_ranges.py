"""Cases drawn from ranges."""

import numpy as np
import pytest

from sciml.errors import InputError
from sciml.problem import ParameterSpec
from sciml.problems import Burgers, DataProblem, Diffusion, Poisson
from sciml.problems.designs import Request
from sciml.problems.designs.ranges import Ranges


def request(count, frames=4, seed=0):
    return Request(("random",), count, "standard", (16,), frames, seed)


def test_parameters_are_spread_as_their_kind_asks():
    problem = DataProblem(
        "own", ["u"], [ParameterSpec("a", "1", 1.0), ParameterSpec("k", "1", 1.0, logarithmic=True), "c"]
    )
    design = Ranges(problem, {"a": (2.0, 4.0), "k": (1e-4, 1e2)})
    cases = [design.draw(np.random.default_rng(i), (16,)) for i in range(2000)]
    a, k = (np.array([c.parameters[n] for c in cases]) for n in "ak")
    for values, low, high in ((a, 2.0, 4.0), (np.log10(k), -4.0, 2.0)):
        assert low <= values.min() and values.max() <= high
        share = (np.sort(values) - low) / (high - low)
        assert np.abs(share - (np.arange(2000) + 0.5) / 2000).max() < 1.63 / np.sqrt(2000)  # Kolmogorov-Smirnov, 1 %
    assert {c.parameters["c"] for c in cases} == {0.0}


def test_fewer_cases_are_the_first_of_more_and_frames_end_at_the_last_time():
    design = Ranges(Burgers(), {"viscosity": (0.01, 0.1)}, last=2.0)
    many, few = design.cases(request(6)), design.cases(request(3))
    assert many[:3] == few and len({c.viscosity for c in many}) == 6
    assert design.cases(request(3, seed=1)) != few
    np.testing.assert_allclose(design.times(many[0], request(6, 5)), [0.0, 0.5, 1.0, 1.5, 2.0])
    scaled = Ranges(Burgers(), {"viscosity": (0.01, 0.1)})
    assert np.diff(scaled.times(many[0], request(6)))[0] == pytest.approx(0.05 * many[0].scales.time)
    assert Ranges(Poisson(), {}, last=1.0).times(Poisson().case(), request(1)) is None


@pytest.mark.parametrize(
    ("spans", "last", "words"),
    [
        ({"speed": (0, 1)}, None, "no parameter 'speed'"),
        ({"viscosity": (1.0, 1.0)}, None, "least and the largest"),
        ({"viscosity": (1.0, float("nan"))}, None, "least and the largest"),
        ({"viscosity": (0.1, 1.0)}, 0.0, "expected a time > 0"),
    ],
)
def test_ranges_that_are_none(spans, last, words):
    with pytest.raises(InputError, match=words):
        Ranges(Burgers(), spans, last)


def test_the_designs_of_conservation_laws_are_ranges():
    design = Diffusion.design()
    values = [c.diffusivity for c in design.cases(request(50))]
    assert 1.0 <= min(values) and max(values) <= 5.0 and np.ptp(values) > 3.0
