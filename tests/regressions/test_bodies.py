"""What a hostile reading of the flow solver with bodies, inflow and outflow found: wrong answers without a word."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

from sciml import Box, Dirichlet, Disc, InputError, InTime, Outflow, Polygon, Samples, Series, data
from sciml._specs import FieldSpec
from sciml.problems import CylinderFlow, LidDrivenCavity
from sciml.problems.cylinder_flow import channel_benchmark
from sciml.solvers import IncompressibleFlow
from sciml.support import Apertures, Grid

REST = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}


class Channel(LidDrivenCavity):
    """[0, 2] × [0, 1] with a uniform stream between walls that go along with it, and perhaps a body."""

    body = None
    inlet = 1.0
    more: ClassVar[dict] = {}

    def geometry(self, case):
        box = Box((0.0, 0.0), (2.0, 1.0))
        return box if self.body is None else box.without(self.body, "body")

    def boundary_conditions(self, case):
        stream = {"u": Dirichlet(self.inlet), "v": Dirichlet(0.0)}
        outlet = {"u": Outflow(), "v": Outflow()}
        return {"x_min": stream, "x_max": outlet, "y_min": stream, "y_max": stream, "body": REST} | self.more

    def streamfunction(self, case, grid):
        return None

    def initial_state(self, case, grid):
        return {"u": np.ones(grid.shape), "v": np.zeros(grid.shape)}


def channel(**attributes):
    made = type("Channel", (Channel,), attributes)()
    if made.body is None:
        plain = made.boundary_conditions
        made.boundary_conditions = lambda case: {k: v for k, v in plain(case).items() if k != "body"}
    return made


@pytest.mark.parametrize("other", [Box((0.25, 0.25), (0.75, 0.75)), Box((0.0, 0.0), (1.0, 0.5))])
def test_the_sides_of_a_union_are_no_walls_of_a_body(other):
    """A union that is the box itself: its lid moves as that of the box."""

    class Same(LidDrivenCavity):
        def geometry(self, case):
            return Box((0.0, 0.0), (1.0, 1.0)) | other

    domain = Same().case().geometry
    found = Apertures.of(domain, Grid.uniform(domain, 8))
    assert all((part == 1).all() for part in (*found.faces, found.volumes))
    solver = IncompressibleFlow(12, dtype="float64")
    same, plain = (solver.solve(p.case(), [0.3]).u.values for p in (Same(), LidDrivenCavity()))
    assert np.allclose(same, plain, rtol=0, atol=1e-12)


def test_an_inner_corner_of_a_union_is_a_wall():
    domain = Box((0.0, 0.0), (2.0, 0.5)) | Box((0.0, 0.0), (1.0, 1.0))
    found = Apertures.of(domain, Grid.uniform(domain, (8, 16)))
    assert found.volumes.sum() == 128 - 32 and found.faces[0][4:, 8:].max() == 0 and found.faces[1][4, 8:].max() == 0
    assert found.faces[1][-1, :8].min() == 1 and found.faces[0][:, 0].min() == 1


def test_frames_of_a_stream_go_back_to_its_faces_at_inlets_and_outlets():
    case, solver = channel().case(viscosity=0.01), IncompressibleFlow((6, 12), dtype="float64")
    _, inputs = solver.arrays(case)
    assert np.allclose(inputs["u_face"], 1, rtol=0, atol=1e-14)
    found = solver.solve(case, [0.1, 0.2])
    again = solver.resume(case, found.isel(time=[0]).drop_vars(["u_face", "v_face"]), [0.2])
    assert np.allclose(again.u_face.values, 1, rtol=0, atol=1e-12)
    assert np.allclose(found.u_face.values, 1, rtol=0, atol=1e-12)


def test_a_wake_goes_on_from_its_cells_as_from_its_faces():
    case, solver = CylinderFlow().case(viscosity=4e-3), IncompressibleFlow((48, 88), dtype="float64")
    found = solver.solve(case, [0.05, 0.06])
    again = solver.resume(case, found.isel(time=[0]).drop_vars(["u_face", "v_face"]), [0.06])
    off = np.abs(again.u.values[0] - found.u.values[1])
    assert off.max() < 0.05 and np.sqrt(np.mean(off**2)) < 2e-3
    changed = found.u.values[1] - found.u.values[0]
    assert np.sqrt(np.mean(off**2)) < 0.2 * np.sqrt(np.mean(changed**2))
    assert off[:, -4:].max() < 1e-3  # no sheet of vorticity at the outlet


def test_a_channel_that_a_body_shuts_is_refused():
    plug = Polygon(((0.9, -0.5), (1.2, -0.5), (1.2, 1.5), (0.9, 1.5)))
    with pytest.raises(InputError, match="through x_min into a region that a body cuts off"):
        IncompressibleFlow((16, 32)).solve(channel(body=plug, more={"y_min": REST, "y_max": REST}).case(), [0.1])


@pytest.mark.parametrize("body", [Disc((1.03125, 0.46875), 0.03), Box((0.7, 0.48), (1.3, 0.52))])
def test_a_body_that_no_corner_of_the_grid_sees_is_refused(body):
    with pytest.raises(InputError, match="is thinner than a cell; expected finer cells"):
        IncompressibleFlow((15, 32) if isinstance(body, Box) else (16, 32)).solve(channel(body=body).case(), [0.1])


@pytest.mark.parametrize("rise", [1e-6, 1e-4])
def test_an_inflow_that_all_but_jumps_leaves_the_flow_whole(rise):
    motion = Series([0.0, 0.05, 0.05 + rise, 1.0], [1.0, 1.0, 2.0, 2.0])
    case = CylinderFlow().case(inlet_motion=motion, viscosity=4e-3)
    found = IncompressibleFlow((24, 44), dtype="float64").solve(case, [0.049, 0.0501, 0.06])
    assert np.abs(found.u.values).max() < 5 and found.attrs["status"] == "ok"
    body = IncompressibleFlow((24, 44)).arrays(case, [0.1])[1]["body"]
    assert np.allclose((found.u_face.values[-1] * body.x).mean(axis=0), 2, rtol=0, atol=1e-10)


def test_what_goes_through_walls_asks_for_the_ends():
    solver = IncompressibleFlow((6, 12))
    case = channel().case()
    with pytest.raises(InputError, match="ends: x_min_u is given, expected the ends too"):
        solver.simulate(*solver.arrays(case), jnp.asarray([0.1]))
    assert np.isfinite(solver.simulate(*solver.arrays(case), jnp.asarray([0.1]), solver.ends(case))["u"]).all()


def test_samples_on_a_line_are_linear_in_between():
    given = Samples([[0.0, 0.0], [0.0, 0.1], [0.0, 1.0]], [0.0, 0.1, 1.0])
    assert np.allclose(given(np.array([[0.0, 0.3], [0.0, 0.05], [0.0, 2.0]])), [0.3, 0.05, 1.0])


def test_values_along_a_side_with_a_body_in_the_box_are_in_order():
    case = channel_benchmark()
    values = case.problem.boundary_values(case, [0.0])["x_min_u"][0]
    y = (np.arange(len(values)) + 0.5) / len(values)
    assert np.allclose(values, 6 * 0.2 * y * (1 - y))


def test_forces_go_by_their_names():
    class Other(CylinderFlow):
        quantities = (FieldSpec("energy", "J m-1"), FieldSpec("force_y", "N m-1"))

    found = IncompressibleFlow((24, 44)).solve(Other().case(), [0.01])
    assert "energy" not in found and "force_y" in found and "force_x" not in found

    class Still(LidDrivenCavity):
        quantities = CylinderFlow.quantities

    assert "force_x" not in IncompressibleFlow(8).solve(Still().case(), [0.01])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"boddy": REST}, "boddy: no boundary is called that; did you mean 'body'"),
        ({"y_min": REST | {"p": Dirichlet(5.0)}}, "p on y_min: expected no pressure but on an open end"),
        ({"x_max": {"u": Outflow(), "v": Outflow(), "p": Dirichlet(5.0)}}, r"p on x_max, which is open"),
    ],
)
def test_conditions_that_nothing_would_act_on_are_refused(more, message):
    with pytest.raises(InputError, match=message):
        IncompressibleFlow((16, 32)).solve(channel(body=Disc((0.7, 0.5), 0.2), more=more).case(), [0.1])


def test_a_function_of_time_needs_the_times():
    problem = channel(inlet=InTime(lambda t: 1 + t))
    with pytest.raises(InputError, match="is a function of time"):
        IncompressibleFlow((6, 12)).arrays(problem.case())


def test_cases_with_and_without_forces_share_a_file(tmp_path):
    case, solver = CylinderFlow().case(), IncompressibleFlow((24, 44))
    told = solver.solve(case, [0.01, 0.02])
    silent = told.drop_vars(["force_x", "force_y"])
    path = tmp_path / "some.h5"
    data.write(data.pack([silent, told, silent]), path)
    with data.open(path) as found:
        assert found.attrs["quantities"] == "force_x force_y"
        forces = [data.case(found, i)[1].force_x.values for i in range(3)]
    assert np.isnan(forces[0]).all() and np.isnan(forces[2]).all()
    assert np.allclose(forces[1], told.force_x.values)
