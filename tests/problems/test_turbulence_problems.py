"""Random fields and the problems that begin with them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sciml
from sciml.errors import InputError
from sciml.metrics import energetics
from sciml.problems import IsotropicTurbulence, KolmogorovFlow, TaylorGreen3D
from sciml.solvers import PseudoSpectral, _fourier
from sciml.solvers.references import reference


def start(case, n):
    grid = sciml.Grid.uniform(case.geometry, n)
    found = case.problem.initial_state(case, grid)
    return np.stack([found[name] for name in case.problem.velocity])


CASES = {
    "cube": IsotropicTurbulence().case(peak=2.0, velocity=0.7, length=3.0, seed=4),
    "given": IsotropicTurbulence().case(initial_spectrum=np.array([0.3, 0.0, 0.2, 0.1, 0.05, 0.02, 0.01]), seed=1),
    "square": KolmogorovFlow().case(peak=3.0, velocity=1.7, length=1.0, seed=9),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_random_fields_have_the_spectrum_that_is_asked_for(case):
    """Shell by shell to rounding, without divergence, in whole shells up to a third of the cells."""
    n, d = 24, case.problem.dimensions
    u = start(case, n)
    found = energetics(u, [case.length] * d)
    if isinstance(case.problem, IsotropicTurbulence):
        wanted = case.problem.spectrum(case)[:7]
        assert wanted.sum() == pytest.approx(case.problem.spectrum(case).sum(), rel=1e-6)
    else:
        s = np.arange(1, 8)
        wanted = s**4 * np.exp(-2 * (s / 3.0) ** 2)
        wanted = 1.7**2 / 2 * wanted / wanted.sum()
    np.testing.assert_allclose(found.spectrum[1 : len(wanted) + 1], wanted, rtol=1e-4, atol=1e-14)
    if isinstance(case.problem, IsotropicTurbulence):
        np.testing.assert_allclose(found.spectrum[1 : len(wanted) + 1], wanted, rtol=1e-12, atol=1e-14)
    assert float(found.spectrum[0]) < 1e-28
    assert float(found.strain) == pytest.approx(float(found.enstrophy), rel=1e-12)  # where ∇·u = 0, and nowhere else


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_seed_is_one_field_at_all_resolutions(case):
    fine, d = start(case, 24), case.problem.dimensions
    modes = np.fft.rfftn(fine, axes=range(-d, 0))
    coarse = start(case, 12)  # holds the shells 1, 2, 3
    m = [np.fft.fftfreq(24, 1 / 24)] * (d - 1) + [np.fft.rfftfreq(24, 1 / 24)]
    shell = np.rint(np.sqrt(sum(a**2 for a in np.meshgrid(*m, indexing="ij"))))
    low = np.fft.irfftn(np.where(shell <= 3, modes, 0), (24,) * d, axes=range(-d, 0))
    with jax.enable_x64(True):
        for c in range(d):
            values = jnp.asarray(coarse[c])
            for axis in range(d):
                values = _fourier.refit(values, 24, axis, 0.5, 0.5)
            np.testing.assert_allclose(np.asarray(values), low[c], rtol=0, atol=1e-13)
    assert np.abs(low).max() > 0.1


def test_seeds_differ_and_repeat():
    one, other = (start(IsotropicTurbulence().case(seed=s), 12) for s in (1, 2))
    assert np.abs(one - other).max() > 0.1
    np.testing.assert_array_equal(one, start(IsotropicTurbulence().case(seed=1), 12))
    with pytest.raises(InputError, match=r"seed: expected a whole number, got 1\.5"):
        start(IsotropicTurbulence().case(seed=1.5), 12)
    with pytest.raises(InputError, match="initial_spectrum: expected energies >= 0"):
        start(IsotropicTurbulence().case(initial_spectrum=np.array([1.0, -1.0])), 12)
    points = sciml.Points(np.zeros((4, 3)))
    with pytest.raises(InputError, match="on a uniform grid alone"):
        IsotropicTurbulence().initial_state(IsotropicTurbulence().case(), points)


def test_scales_and_features():
    case = IsotropicTurbulence().case(velocity=0.5, peak=4.0, length=math.pi, viscosity=1e-3, forcing=0.1)
    scales = case.scales
    assert scales.velocity == pytest.approx(0.5, rel=1e-12)
    energies = case.problem.spectrum(case)
    k = 2 * np.arange(1, len(energies) + 1)
    assert scales.length == pytest.approx(math.pi / (2 * 0.25) * (energies / k).sum())
    assert case.problem.features(case, 0.0, 0.1)["forcing"] == pytest.approx(0.1 * scales.time)
    vortices = TaylorGreen3D().at_reynolds(1600.0, velocity=2.0, density=0.5, length=3.0)
    assert vortices.problem.reynolds(vortices) == pytest.approx(1600.0)
    for wrong in (0.0, -1.0, math.nan, "many"):
        with pytest.raises(InputError, match="reynolds: expected a number > 0"):
            TaylorGreen3D().at_reynolds(wrong)
    with pytest.raises(InputError, match="follows from the Reynolds number"):
        TaylorGreen3D().at_reynolds(100.0, viscosity=1.0)


def test_kolmogorov_s_steady_flow_stays():
    """u = F/(νk² + α) sin ky: nothing changes to rounding, and a march stays to the accuracy of its steps (a constant
    force is not what the exact decay is exact for). A mean flow along x dies away with the drag alone."""
    nu, drag, force, m, length, n = 0.05, 0.3, 1.5, 2, 3.0, 24
    k = 2 * math.pi * m / length
    y = np.linspace(0, length, n + 1)
    size = force / (nu * k**2 + drag)
    psi = np.broadcast_to(-size / k * np.cos(k * y)[:, None], (n + 1, n + 1))
    given = {"viscosity": nu * 1.3, "density": 1.3, "drag": drag, "force": force, "wavenumber": m, "length": length}
    solver = PseudoSpectral(n, cfl=0.5)
    found = solver.solve(KolmogorovFlow().case(**given, initial_streamfunction=psi), [0.0, 0.5])
    expected = size * np.sin(k * found["y"].values)[:, None] * np.ones(n)
    np.testing.assert_allclose(found["u"].values[1], expected, rtol=0, atol=1e-7)
    assert max(float(np.abs(found[f"{c}_tendency"].values[0]).max()) for c in "uv") < 1e-10
    moved = solver.solve(KolmogorovFlow().case(**given, initial_streamfunction=psi + 0.7 * y[:, None]), [0.0, 0.5])
    assert float(moved["u"].values[1].mean()) == pytest.approx(0.7 * math.exp(-drag * 0.5), rel=1e-12)


@pytest.mark.parametrize("problem", [TaylorGreen3D(), IsotropicTurbulence(), KolmogorovFlow()])
def test_the_spectral_solver_is_their_reference(problem):
    counts = (16,) * problem.dimensions
    solver = reference(problem, counts)
    assert isinstance(solver, PseudoSpectral) and solver.supports(problem) and solver.resolution == counts


def test_designs_make_cases_and_data(tmp_path):
    from sciml.solvers import generate

    for problem, label in ((IsotropicTurbulence(), "seed"), (KolmogorovFlow(), "seed"), (TaylorGreen3D(), "viscosity")):
        from sciml.problems.designs import Request

        design = problem.design()
        counts = (32,) * problem.dimensions
        cases = design.cases(Request(("random",), 3, "standard", counts, 2, 0))
        assert len({case.parameters[label] for case in cases}) == 3
        assert all(min(design.cells(case, counts)) >= 32 for case in cases)
    path = tmp_path / "flow.h5"
    generate("kolmogorov_flow", path, cases=2, frames=3, resolution=16, progress=False)
    data = sciml.data.open(path)
    case, solution = sciml.data.case(data, 1)
    assert case.problem.name == "kolmogorov_flow" and solution["u"].shape == (3, 16, 16)
    assert np.isfinite(solution["u"].values).all()


def test_cases_come_back_from_files(tmp_path):
    case = CASES["given"]
    solution = PseudoSpectral(12).solve(case, [0.0])
    packed = sciml.data.pack([solution])
    back, _ = sciml.data.case(packed, 0)
    assert back == case
    np.testing.assert_array_equal(back.initial_spectrum, case.initial_spectrum)
