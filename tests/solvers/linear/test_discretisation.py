"""Systems handed out of cases: what solves them is what the scheme finds itself."""

import numpy as np
import pytest
import scipy.sparse.linalg
from scipy.sparse import csc_array

import sciml
from sciml.boundary import Dirichlet, Flux, Neumann, Robin
from sciml.errors import InputError
from sciml.expressions import Balance
from sciml.geometry import Box
from sciml.problem import FieldSpec, ParameterSpec, PDEProblem, Scales
from sciml.problems import Darcy, ElasticPlate, Poisson
from sciml.solvers import FiniteElements, FiniteVolume
from sciml.solvers.linear import End, GridSystem, Info, MatrixSystem, system


def direct(found) -> np.ndarray:
    """x by SuperLU; of singular systems the one without what lies in the null space."""
    matrix, null = found.system.matrix(), found.system.null_space()
    rhs = np.asarray(found.rhs).ravel()
    if null is None:
        return scipy.sparse.linalg.spsolve(csc_array(matrix), rhs).reshape(found.system.shape)
    return (np.linalg.pinv(matrix.toarray(), rcond=1e-11) @ rhs).reshape(found.system.shape)


def close(found, expected, rtol=1e-9):
    for name in found.data_vars:
        a, b = found[name].values, expected[name].values
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(np.abs(b).max(), 1e-300), err_msg=name)
    assert set(found.data_vars) == set(expected.data_vars) and found.sizes == expected.sizes


def permeability(n, seed=0):
    return np.exp(1.5 * np.random.default_rng(seed).standard_normal((n, n)))


class Block(PDEProblem):
    """−∇·∇q + reaction q = source in a cube, with a different condition on each pair of sides."""

    name, title, dimensions, steady = "block", "A block", 3, True
    fields = (FieldSpec("q", "1"),)
    parameters = (ParameterSpec("reaction", "m-2", 0.0), ParameterSpec("source", "m-2", 1.0))

    def geometry(self, case):
        return Box((0, 0, 0), (1, 1.5, 0.75))

    def boundary_conditions(self, case):
        fixed, loose = {"q": Dirichlet(1.0)}, {"q": Neumann(0.0)}
        return {"x_min": fixed, "x_max": {"q": Robin(1.0, 1.0, 2.0)}, "y_min": loose, "y_max": loose,
                "z_min": {"q": Dirichlet(-2.0)}, "z_max": {"q": Neumann(0.5)}}  # fmt: skip

    def equations(self, q, d, theta, x):
        return {"heat": Balance(flux=-1.0 * d.grad(q.q), source=theta.source - theta.reaction * q.q, unit="m-2")}

    def scales(self, case):
        return Scales(1.0, 1.0, {"q": 1.0})


class Carried(PDEProblem):
    """∂t q + ∂x(speed q − ∂x q) + ... : carried and diffused in a box."""

    name, title, dimensions, steady = "carried", "Carried and diffused", 2, False
    fields = (FieldSpec("q", "1"),)
    parameters = (ParameterSpec("speed", "m s-1", 0.0),)

    def geometry(self, case):
        return Box((0, 0), (1, 1))

    def boundary_conditions(self, case):
        return {"x_min": {"q": Dirichlet(1.0)}, "x_max": {"q": Dirichlet(0.0)},
                "y_min": {"q": Neumann(0.0)}, "y_max": {"q": Flux(0.25)}}  # fmt: skip

    def equations(self, q, d, theta, x):
        return {"heat": Balance(storage=q.q, flux=d.vector(theta.speed * q.q, 0.0) - d.grad(q.q), unit="s-1")}

    def initial_state(self, case, support):
        at = support.points()
        return {"q": np.cos(3 * at[..., 0] + at[..., 1])}

    def scales(self, case):
        return Scales(1.0, 1.0, {"q": 1.0})


class Insulated(Poisson):
    name = "insulated"

    def boundary_conditions(self, case):
        return {b: {"p": Neumann(0.0)} for b in ("x_min", "x_max", "y_min", "y_max")}


STEADY = [
    (Poisson().case(), FiniteElements(12), True),
    (Poisson().case(), FiniteElements(6, order=2), True),
    (Poisson().case(amplitude=2.0), FiniteVolume((10, 9)), True),
    (Poisson().case(), FiniteVolume(10, stretching=1.0), True),
    (Darcy().case(permeability=permeability(10)), FiniteElements(10), True),
    (Darcy().case(permeability=permeability(10)), FiniteVolume(10), False),  # wall fluxes of second order
    (Darcy("closed").case(permeability=np.tile(permeability(8)[:1], (8, 1)), pressure_left=1.0), FiniteVolume(8), True),
    (ElasticPlate().case(), FiniteElements(10), True),
    (Block().case(), FiniteElements(5), True),
    (Block().case(), FiniteVolume((5, 6, 7)), True),
    (Block().case(reaction=3.0), FiniteVolume((5, 6, 7)), True),
]


@pytest.mark.parametrize(("case", "scheme", "symmetric"), STEADY)
def test_what_solves_the_system_is_what_the_scheme_finds(case, scheme, symmetric):
    found = system(case, scheme=scheme)
    assert found.system.symmetric == symmetric
    matrix = found.system.matrix()
    if symmetric:
        values = np.linalg.eigvalsh(matrix.toarray())
        assert values[0] > 0
    else:
        assert np.linalg.eigvals(matrix.toarray()).real.min() > 0
    assert found.system.null_space() is None
    close(found.solution(direct(found), Info(0, 0.0, True)), scheme.solve(case))
    assert found.support.same(scheme.grid(case)) if isinstance(scheme, FiniteVolume) else True


def test_constant_coefficients_on_cells_are_a_grid_system():
    for case, scheme, shape in ((Poisson().case(), FiniteVolume((10, 9)), (10, 9)),
                                (Block().case(), FiniteVolume((5, 6, 7)), (5, 6, 7))):  # fmt: skip
        found = system(case, scheme=scheme).system
        assert isinstance(found, GridSystem) and found.shape == shape
    assert found.ends == ((End.OPEN, End.OPEN), (End.WALL, End.WALL), (End.OPEN, End.WALL))
    # a sink in every cell is no conductance, cells of several sizes are no grid of one
    assert isinstance(system(Block().case(reaction=1.0), scheme=FiniteVolume((5, 6, 7))).system, MatrixSystem)
    assert isinstance(system(Poisson().case(), scheme=FiniteVolume(10, stretching=1.0)).system, MatrixSystem)


def test_what_is_given_is_told():
    case = Block().case()
    found = system(case, scheme=FiniteElements(4))
    given = {g.boundary: g for g in found.given}
    assert {g.condition for g in found.given} == {"Dirichlet", "Robin", "Neumann"}
    x_min = given["x_min"]
    assert np.all(x_min.points[:, 0] == 0) and np.all(x_min.values == 1.0)
    assert len(x_min.numbers) == len(x_min.points) and given["x_max"].numbers is None
    nodes = found.support.size
    assert len(found.rhs) == nodes - len(np.unique(np.r_[x_min.numbers, given["z_min"].numbers]))
    sides = {g.boundary: g for g in system(case, scheme=FiniteVolume((5, 6, 7))).given}
    assert np.all(sides["z_min"].values == -2.0) and sides["z_min"].points.shape == (42, 3)
    np.testing.assert_allclose(sides["z_min"].points[:, 2], 0)


@pytest.mark.parametrize("scheme", [FiniteElements(8), FiniteVolume(9)], ids=lambda s: s.name)
def test_without_any_level_the_constants_are_the_null_space(scheme):
    source = np.cos(np.pi * (np.arange(8) + 0.5) / 8) * np.ones((8, 1))
    case = Insulated().case(
        source=source
        if scheme.name == "finite_elements"
        else np.cos(np.pi * (np.arange(9) + 0.5) / 9) * np.ones((9, 1))
    )
    found = system(case, scheme=scheme)
    null = found.system.null_space()
    assert null.shape == (found.system.size, 1) and np.ptp(null) < 1e-14
    assert found.system.symmetric and np.linalg.eigvalsh(found.system.matrix().toarray())[1] > 1e-6
    x = direct(found)
    rest = found.system.matrix() @ x.ravel() - np.asarray(found.rhs).ravel()
    assert np.abs(rest).max() <= 1e-10 * np.abs(found.rhs).max()


def test_a_free_plate_moves_and_turns():
    class Free(ElasticPlate):
        name = "free_plate"

        def boundary_conditions(self, case):
            free = {"u": Flux(0.0), "v": Flux(0.0)}
            return super().boundary_conditions(case) | {"x_min": free, "x_max": free}

    found = system(Free().case(), scheme=FiniteElements(8)).system
    values = np.linalg.eigvalsh(found.matrix().toarray())
    assert found.null_space().shape[1] == 3
    assert values[2] <= 1e-9 * values[-1] < 1e3 * values[3]


IN_TIME = [
    (FiniteElements(8, method="theta", theta=1.0, time_step=0.01), 0.01),
    (FiniteElements(8, method="theta", theta=0.5, time_step=0.01), 0.01),
]


@pytest.mark.parametrize("speed", [0.0, 5.0])
@pytest.mark.parametrize(("scheme", "last"), IN_TIME)
def test_a_step_of_one_stage_is_what_the_march_takes(scheme, last, speed):
    case = Carried().case(speed=speed)
    found = system(case, scheme=scheme, time=0.0)
    assert found.system.symmetric == (speed == 0)
    after = found.solution(direct(found))
    close(after, scheme.solve(case, [last]))
    # and from there on
    again = system(case, scheme=scheme, state=after)
    close(again.solution(direct(again)), scheme.resume(case, after, [2 * last]))


@pytest.mark.parametrize("speed", [0.0, 5.0])
def test_the_first_stage_on_cells_is_a_step_of_its_length(speed):
    # to the first stage the scheme is implicit Euler: storage(q) − storage(q⁰) + γτ A(q) = 0, checked by its own rate
    case, scheme = Carried().case(speed=speed), FiniteVolume(8, time_step=0.02)
    found = system(case, scheme=scheme)
    after = found.solution(direct(found))
    begin = sciml.problem.beginning(case, scheme.grid(case), ("q",))["q"]
    length = float(after.time[0])
    assert length == pytest.approx((1 - 1 / np.sqrt(2)) * 0.02)
    np.testing.assert_allclose(after.q.values[0], begin + length * after.q_tendency.values[0], atol=1e-10)
    assert isinstance(found.system, MatrixSystem)  # of mass and flow, which no conductances give
    assert np.linalg.eigvals(found.system.matrix().toarray()).real.min() > 0


def test_around_a_hole_solid_cells_are_no_unknowns():
    from sciml.geometry import Disc

    class Pierced(Poisson):
        name = "pierced"

        def geometry(self, case):
            return Box((0, 0), (1, 1)).without(Disc((0.5, 0.5), 0.2), "hole")

        def boundary_conditions(self, case):
            return super().boundary_conditions(case) | {"hole": {"p": Dirichlet(1.0)}}

    case, scheme = Pierced().case(), FiniteVolume(16)
    found = system(case, scheme=scheme)
    assert found.system.size < 16**2
    close(found.solution(direct(found)), scheme.solve(case))


def test_defaults_are_the_reference_of_the_problem():
    assert system(Poisson().case(), (10, 9)).system.shape == (10, 9)
    assert system(ElasticPlate().case(), 8).support.same(FiniteElements(8).grid(ElasticPlate().case()))
    assert system(Poisson().case(), 8, FiniteElements).support.size == 81


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: system(Poisson().case(), 8, FiniteElements(8)), "resolution: finite_elements has its own"),
        (lambda: system(Poisson().case(), "fine"), "resolution: expected a count"),
        (lambda: system(Poisson().case(), scheme="elements"), "scheme: expected a numerical solver"),
        (lambda: system(Poisson().case(), time=1.0), "poisson is steady, expected neither"),
        (lambda: system(Carried().case(), scheme=FiniteVolume(8), time=1.0), "without a state"),
        (lambda: system(Poisson().case(), (10, 9)).solution(np.zeros(3)), "x: expected an array of shape"),
        (lambda: system(sciml.problems.Burgers().case(), scheme=FiniteVolume(16)), "is not linear in u"),
        (lambda: system(sciml.problems.Burgers().case(), scheme=FiniteElements(16)), "is not linear in u|periodic"),
        (lambda: system(sciml.problems.PorousMedium().case(), scheme=FiniteVolume(16)), "is not linear in"),
        (lambda: system(sciml.problems.Burgers().case(), 16, sciml.solvers.PseudoSpectral), "hands out no linear"),
    ],
)  # fmt: skip
def test_what_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_what_did_not_converge_says_so():
    found = system(Poisson().case(), (10, 9))
    told = found.solution(np.zeros((10, 9)), Info(7, 0.5, False)).attrs["status"]
    assert told == "not converged: residual 5.0e-01 after 7 iterations"
