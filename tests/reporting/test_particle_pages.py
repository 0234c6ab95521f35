"""Pages about particles: each is drawn where its displacement puts it, in the plane and in space, and counted."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from moving_clouds import gas, thrown
from PIL import Image

from sciml import data, reporting
from sciml.data import pack
from sciml.errors import InputError
from sciml.reporting import films, particles
from sciml.reporting.blocks import Figures
from sciml.reporting.particles import Shown
from sciml.reporting.sections import pictures
from sciml.reporting.sections.particles import histories
from sciml.reporting.stage import Followed, Stage
from sciml.solver import Restartable, TrainableSolver

SQUARE = Stage(((0.0, 1.0), (0.0, 1.0)), 0.1)
CUBE = Stage(((0.0, 1.0), (0.0, 2.0), (0.0, 1.0)), 0.1)
SCALE = (0.0, 1.0, "viridis")


class Straight(TrainableSolver, Restartable):
    """Particles go straight on: what free flight is without gravity, ½ g t² off after a time t."""

    name, title = "straight", "Straight"
    weights = 1

    def __init__(self, known, fields):
        self.known, self.names = known, fields

    predicted = property(lambda self: self.names)
    settings = property(lambda self: {})
    identity = property(lambda self: {})
    fitted = property(lambda self: True)
    problem = property(lambda self: self.known)
    training = property(lambda self: {"recipe": {"seed": 0}, "seconds": 1.0})

    def supports(self, problem):
        return True

    def fit(self, data, recipe=None, *, split="train", validation="validation", running=None):
        return self

    def save(self, directory):
        raise NotImplementedError

    @classmethod
    def load(cls, directory, device="auto"):
        raise NotImplementedError

    def _solve(self, case, times):
        raise NotImplementedError

    def resume(self, case, frame, times):
        raise NotImplementedError

    def rollout(self, starts, times):
        d = starts[0].case.problem.dimensions
        for k in range(times.shape[1]):
            frames = []
            for s, t in zip(starts, times, strict=True):
                frame = np.array(s.frames[-1])
                frame[:d] += frame[d : 2 * d] * (t[k] - s.time)
                frames.append(frame)
            yield frames


def study_of(solutions, details=True):
    packed = pack(solutions, ["train"] * (len(solutions) - 2) + ["validation", "test"])
    case = data.case(packed, 0)[0]
    return reporting.compare(Straight(case.problem, tuple(data.schema.field_names(packed))), packed, details=details,
                             steps=4)  # fmt: skip


@pytest.fixture(scope="module")
def study():
    speeds = [(0.5 + 0.1 * k, 1.0) for k in range(4)]
    return study_of([thrown(s, obstacle_radius=0.1, obstacle_x=0.8) for s in speeds])


@pytest.fixture(scope="module")
def page(study, tmp_path_factory):
    return reporting.write_page(study, tmp_path_factory.mktemp("page") / "a.html").read_text()


def test_particles_of_the_prediction_are_where_its_displacements_put_them(study):
    (sample,) = study.samples
    followed, made = sample.followed, sample.predictions["Straight"]
    assert followed.stage.spacing == pytest.approx(0.025) and followed.stage.up == 1
    true = followed.at(sample.truth, 4)
    np.testing.assert_allclose(true, sample.support.points(), atol=1e-7)
    fallen = 0.5 * 9.81 * 0.2**2
    np.testing.assert_allclose(followed.at(made, 4) - true, np.broadcast_to([0, fallen], true.shape), atol=1e-6)
    np.testing.assert_allclose(followed.off(made, sample.truth, 4), fallen / 0.025, rtol=1e-5)
    inside = followed.stage.body(np.array([[0.8, 0.05], [0.8, 0.15]]), 0.0)
    assert inside.tolist() == [True, False]


def test_the_page_says_how_particles_are_treated_and_what_they_come_to(study, page):
    assert "each is at its first position plus the displacement" in page and "stay where they are" not in page
    assert "off by 7.8 spacings of 0.025 m" in page
    assert 'id="particles"' in page and "Matter as a whole" in page and "Volume fraction" in page
    assert "what the laws of matter say" in page and ">momentum</" in page
    assert page.count('class="film"') == 1 and "Grey: bodies in the way" in page
    # free flight: the centre is off by as much as each particle, and all energy is lost that gravity takes
    (row,) = [e for e in study.statistics["particle_errors"]["entries"] if e["row"] == "Straight" and e["rollout"] == 0]
    np.testing.assert_allclose(row["position_error"], 0.5 * 9.81 * (0.05 * np.arange(1, 5)) ** 2 / 0.025, rtol=1e-4)


def test_particles_in_space_and_in_a_periodic_box():
    made = [thrown((0.1 * k, 1.0, 0.2), spacing=0.05, dimensions=3, obstacle_radius=0.2) for k in range(4)]
    found = [block for block in pictures.fields(study_of(made)) if isinstance(block, Figures)]
    assert "Particles in a slab across z alone" in found[1].caption and "It is the mean along z." in found[2].caption
    assert len(found[2].items) == 3 and all(item.startswith("<svg") for block in found for item in block.items)
    around = study_of([gas(seed=k) for k in range(4)])
    told = "".join(getattr(b, "text", getattr(b, "caption", "")) for b in pictures.fields(around))
    assert "off by" in told and "bodies in the way" not in told
    (film,) = pictures.film(around)
    assert film.frames == 5 and film.titles == ["Truth", "Straight", "Error"]
    courses = "".join(histories(around)[-1].items)
    assert "Centre of mass, x" in courses and "Potential energy" not in courses


def test_pixels_show_the_nearest_particle_and_what_is_in_the_way():
    points = np.array([[0.25, 0.25], [0.75, 0.75], [np.nan, 0.5]])
    found = particles.pixels(SQUARE, Shown(points, np.array([1.0, 2.0, 3.0]), SCALE), 40)
    assert found.shape == (40, 40) and found[10, 10] == 1 and found[30, 30] == 2
    radius = 0.7 * 0.1 * 40 + 0.25
    assert np.isfinite(found).sum() == pytest.approx(2 * np.pi * radius**2, rel=0.1)
    assert not (found == 3).any()
    near = particles.pixels(SQUARE, Shown(np.array([[0.45, 0.5], [0.55, 0.5]]), np.array([1.0, 2.0]), SCALE), 40)
    assert np.nanmax(near[:, :20]) == 1 and np.nanmin(near[:, 20:]) == 2  # each side its own
    stage = Stage(SQUARE.extents, 0.1, body=lambda p, t: p[:, 0] > 0.9 - t)
    assert np.isinf(particles.pixels(stage, Shown(points, np.zeros(3), SCALE, 0.4), 40)[5, 22:]).all()


@pytest.mark.parametrize("up", [0, 1, 2])
def test_space_is_turned_not_mirrored_and_what_is_near_hides_what_is_far(up):
    stage = Stage(CUBE.extents, 0.1, up)
    middle = np.array([0.5, 1.0, 0.5])
    axes = np.stack([np.column_stack(stage.seen(middle + e[None]))[0] for e in [*map(np.asarray, np.eye(3))]], axis=1)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    assert axes[0, up] == pytest.approx(0.0) and axes[1, up] > 0.9 and axes[2, up] > 0  # upright, seen from above
    toward = axes.T @ [0, 0, 0.3]  # to the eye
    both = np.stack([middle, middle + toward])
    found = particles.pixels(stage, Shown(both, np.array([1.0, 2.0]), SCALE), 80)
    assert (found[np.isfinite(found)] == 2).all() and np.isfinite(found).any()


def test_a_slab_holds_what_is_in_the_middle():
    points = np.array([[0.1, 0.2, 0.5], [0.3, 0.4, 0.55], [0.5, 0.6, 0.9]])
    assert CUBE.slab(points).tolist() == [True, True, False]
    np.testing.assert_array_equal(CUBE.flat(points), points[:, :2])
    assert CUBE.cut().extents == ((0.0, 1.0), (0.0, 2.0))
    body = Stage(CUBE.extents, 0.1, 1, lambda p, t: (np.abs(p - [0.5, 1.0, 0.5]) < 0.2).all(1))
    assert body.cut().body(np.array([[0.5, 1.0], [0.5, 1.3]]), 0.0).tolist() == [True, False]


@pytest.mark.parametrize("d", [2, 3])
def test_a_lattice_fills_its_cells(d):
    h = 0.05
    axes = [(np.arange(20) + 0.5) * h] * d
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, d)
    stage = Stage(((0.0, 1.0),) * d, h)
    grid, filled = Followed(stage, points, np.full(len(points), 1 / len(points)), (False,) * d).counted(points)
    assert grid.shape == (5, 5)
    np.testing.assert_allclose(filled, 1.0, atol=1e-12)


def test_a_film_has_a_frame_a_time_and_refuses_others(tmp_path):
    frames = [Shown(np.full((1, 2), 0.2 + 0.2 * k), np.ones(1), SCALE) for k in range(3)]
    out = particles.film(tmp_path / "a.webp", SQUARE, {"truth": frames, "made": frames}, ["0 s", "1 s", "2 s"], dpi=40)
    with Image.open(out) as read:
        assert read.n_frames == 3
        first = np.asarray(read.convert("RGB")).copy()
        read.seek(2)
        assert np.abs(np.asarray(read.convert("RGB")).astype(int) - first).max() > 50
    with pytest.raises(InputError, match="panels: 'truth' has 3 frames, expected 1"):
        particles.film(tmp_path / "b.webp", SQUARE, {"truth": frames}, ["0 s"])


def test_solutions_are_drawn_and_filmed_as_they_are(tmp_path):
    true, other = thrown(), thrown((0.0, 1.0), spacing=0.05)  # of other particles, too
    out = particles.film_of(tmp_path / "a.gif", {"truth": true, "other": other}, every=2, dpi=40)
    with Image.open(out) as read:
        assert read.n_frames == 3
    figure = particles.snapshots({"truth": true, "other": other}, [0, -1], "a block")
    assert [a.get_title(loc="left") for a in figure.axes[:4]] == [
        "truth, t = 0 s",
        "other",
        "truth, t = 0.2 s",
        "other",
    ]
    fine, coarse = (figure.axes[k].collections[0].get_sizes()[0] for k in (0, 1))
    assert coarse == pytest.approx(4 * fine)  # dots as large as particles
    drawn = figure.axes[2].collections[0].get_offsets()
    np.testing.assert_allclose(
        np.sort(drawn, 0), np.sort(np.stack([true[a].values[-1] for a in "xy"], 1), 0), rtol=1e-6
    )
    for given, message in (
        ({}, "expected one at least"), ({"a": true.drop_vars("velocity_x")}, "'a' has no 'velocity_x'"),
        ({"a": true, "b": true.isel(time=[0, 1])}, "'b' is at other times than the first"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            particles.film_of(tmp_path / "b.gif", given)
    with pytest.raises(InputError, match="frames: expected numbers below 5, got 5"):
        particles.snapshots({"truth": true}, [5])


def test_a_view_is_cut_where_much_of_the_box_is_empty():
    low = np.array([[0.0, 0.0], [1.0, 0.2], [np.nan, 3.0]])
    assert SQUARE.near([low, low]).window() == ((0.0, 1.0), (0.0, pytest.approx(0.28)))
    assert SQUARE.near([np.array([[0.5, 0.5]])]).window() == pytest.approx(np.array([[0.42, 0.58]] * 2))
    assert SQUARE.near([np.array([[0.1, 0.1], [0.9, 0.9]])]).window() == SQUARE.extents
    assert SQUARE.near([np.full((1, 2), np.nan)]) is SQUARE and CUBE.near([np.zeros((1, 3))]) is CUBE


def test_strips_tell_nothing_from_bodies():
    frames = np.array([[[0.0, np.nan], [np.inf, 1.0]]])
    uri = films.strip(frames, SCALE)
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as read:
        seen = np.asarray(read.convert("RGB"))
    assert seen[1, 1].tolist() == [0xD5, 0xD9, 0xDE] and seen[0, 0].tolist() == [0x5B, 0x64, 0x70]
    np.testing.assert_allclose(seen[1, 0], [68, 1, 84], atol=1)
    np.testing.assert_allclose(seen[0, 1], [253, 231, 37], atol=1)
