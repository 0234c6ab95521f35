"""Pages about flows in space: slices between walls, a film, and what is drawn of statistics."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from _channel import FIELDS, VISCOSITY, Channel, Damped, dataset, flow, grid
from _synthetic import small

from sciml.evaluation import (
    Correlations,
    EnergyHistory,
    Profiles,
    ShellSpectra,
    Spectra,
    evaluate,
    statistics_for,
    statistics_of,
)
from sciml.problem import Case
from sciml.reporting import compare, images, write_page
from sciml.reporting.blocks import Figures, Film, Note, Table, Tabs
from sciml.reporting.results import results
from sciml.reporting.sections.pictures import fields, film
from sciml.reporting.sections.turbulence import statistics
from sciml.support import Grid


@pytest.fixture(scope="module")
def study():
    wanted = [
        EnergyHistory(viscosity=VISCOSITY), Profiles(fold=True, viscosity=VISCOSITY, friction_velocity=1.0),
        Spectra(y_over_h=(0.1,)), Correlations(y_over_h=(0.5,)),
    ]  # fmt: skip
    return compare([Damped()], dataset(cells=(8, 16, 8)), steps=6, details=True, statistics=wanted)


def flat(blocks):
    for block in blocks:
        if isinstance(block, Tabs):
            for _, inner in block.items:
                yield from flat(inner)
        else:
            yield block


def test_slices_between_walls_stand_upright_and_lie_near_the_wall():
    where = grid((8, 16, 6))
    p = where.points()
    cuts = images.slices(where)
    assert [names for _, names, _, _ in cuts] == [("x", "y"), ("x", "z"), ("z", "y")]
    for title, names, index, plane in cuts:
        normal = next(a for a in "xyz" if a not in names)
        at = images.taken(p[..., "xyz".index(normal)], index, names)
        assert at.shape == plane.shape and np.ptp(at) == 0
        for axis, name in enumerate(names):
            found = images.taken(p[..., "xyz".index(name)], index, names)
            np.testing.assert_allclose(plane.points()[..., axis], found)
        if normal == "y":
            assert "near the wall" in title and "−" in title and abs(at.flat[0] + 0.9) < 0.1


def test_each_field_has_three_stacks_of_truth_prediction_and_error(study):
    figures = [b for b in flat(fields(study)) if isinstance(b, Figures)]
    assert len(figures) == 3 and all(len(f.items) == 3 for f in figures)
    first = figures[0].items[0]
    assert first.count("<svg") == 1
    label = re.search(r'aria-label="([^"]*)"', first).group(1)
    scales = re.findall(r"(truth|Damped|error) from (\S+) to (\S+)", label)
    assert [s[0] for s in scales] == ["truth", "Damped", "error"] and scales[0][1:] == scales[1][1:]
    assert float(scales[2][1]) == -float(scales[2][2])


def test_the_film_is_of_the_plane_near_the_wall(study):
    (found,) = film(study)
    assert isinstance(found, Film) and found.frames == 7 and "near the wall" in found.caption
    box = grid((8, 16, 8))
    cube = Grid(box.faces, (True, True, True))
    sample = replace(study.samples[0], support=cube)
    (found,) = film(replace(study, samples=[sample]))
    assert "on the plane z =" in found.caption


def test_statistics_are_drawn_and_told(study):
    blocks = list(flat(statistics(study)))
    assert isinstance(blocks[0], Note) and "averages" in blocks[0].text
    energy, profile = (b for b in blocks if isinstance(b, Table))
    assert energy.head[:3] == ["row", "rollouts", "diverged"]
    names = [cells[0].text for _, cells in profile.rows]
    assert names[0] == "truth" and "Damped" in names and "persistence" in names
    row = next(cells for _, cells in profile.rows if cells[0].text == "Damped")
    text = {name: cell.text for name, cell in zip(profile.head, row, strict=True)}
    assert float(text["rms of u"]) > 0.1 and text["left out"] == "–"
    pages = " ".join(item for b in blocks if isinstance(b, Figures) for item in b.items)
    for title in ("Law of the wall", "Mean velocity", "Reynolds shear stress", "u along x", "Kinetic energy",
                  "Fluctuations of w", "Dissipation"):  # fmt: skip
        assert f">{title}<" in pages, title
    assert "Moser et al. (1999)" in pages
    words = next(b.caption for b in blocks if isinstance(b, Figures) and "friction velocity" in b.caption)
    assert "Re_τ = 178.1" in words and "(given)" in words


def test_statistics_of_the_page_are_those_of_the_evaluation(study):
    found = {s["kind"]: s for s in results(study)["statistics"].values()}
    entries = {e["row"]: e for e in found["Profiles"]["entries"]}
    data = dataset(cells=(8, 16, 8))
    again = evaluate([Damped()], data, steps=6, every_frame=False, statistics=[Profiles(fold=True)])
    mine = {e["row"]: e for e in again.summary["statistics"]["profiles"]["entries"]}
    assert mine["Damped"]["rms"]["u"] == entries["Damped"]["rms"]["u"]
    taken = compare([Damped()], data, steps=6, statistics=again)
    assert taken.statistics == again.summary["statistics"]
    # the truth of the made-up channel: 6 frames, of which the variances are known
    uu = np.array(entries["truth"]["covariance"]["uu"]["value"])
    truth = flow(grid((8, 16, 8)), 9, seed=3).astype(np.float32)[1:]
    whole = (truth[:, 0] - truth[:, 0].mean((0, 1, 3))[:, None]) ** 2
    assert entries["truth"]["frames"] == 8
    np.testing.assert_allclose(uu, (whole.mean((0, 1, 3)) + whole.mean((0, 1, 3))[::-1])[:8] / 2, rtol=1e-4)


def test_a_page_of_a_channel_has_statistics_of_itself(tmp_path):
    study = compare([Damped()], dataset(cells=(8, 16, 8)), steps=3, details=True)
    assert [type(s).__name__ for s in statistics_for(study_case())] == [
        "EnergyHistory", "Profiles", "Spectra", "Correlations",
    ]  # fmt: skip
    assert set(study.statistics) == {"energy_history", "profiles", "spectra", "correlations"}
    few = {k: study.statistics[k] for k in ("energy_history", "profiles")}  # to draw the rest takes a while
    page = write_page(replace(study, statistics=few), tmp_path / "page.html").read_text()
    assert 'id="statistics"' in page and "Statistics of the flow" in page
    assert "Law of the wall" not in page  # own data do not know their viscosity
    assert "nan" not in re.sub(r"<style.*?</style>|<script.*?</script>|[^<>]*(?=<)", "", page).lower().split()


def study_case(periodic=(True, False, True), knows=False) -> Case:
    where = grid((8, 16, 8))
    where = Grid(where.faces, periodic)
    problem = (Channel if knows else Channel.__base__)("made_up", FIELDS, dimensions=3, periodic=periodic)
    return Case(problem, {}, {}, "", "", where.extents).on(where)


def test_which_statistics_a_flow_has():
    assert statistics_for(study_case(knows=True))[2].wanted.y_plus == (5.0, 15.0, 100.0)
    assert statistics_for(study_case())[2].wanted.y_over_h == (0.1, 0.5, 1.0)
    few = statistics_for(study_case().on(grid((8, 3, 8))))  # whose plane of 0.5 is that of 0.1
    assert few[2].wanted.y_over_h == few[3].wanted.y_over_h == (0.1, 1.0)
    assert [s.name for s in statistics_for(study_case((False, False, True)))] == ["energy_history"]
    assert [s.name for s in statistics_for([study_case(), study_case((True, True, True))])] == []
    assert statistics_for(study_case(), ("u", "v")) == [] and statistics_for([]) == []
    assert [s.name for s in statistics_for(study_case((True,) * 3))] == ["energy_history"]  # unequal cells along y
    assert statistics(small()) == []


def test_rows_that_have_gone_are_drawn_until_then_and_counted():
    where = grid((8, 16, 8))
    values = flow(where, 6)
    wild = values.copy()
    wild[3:] = np.nan
    wanted = EnergyHistory(), Profiles(), Spectra(y_over_h=(0.5,)), ShellSpectra()
    case = study_case()
    for name, frames in (("truth", values), ("Damped", wild)):
        statistics_of(((0.1 * k, f) for k, f in enumerate(frames)), wanted[:3], case=case, support=where, fields=FIELDS,
                      name=name)  # fmt: skip
    gathered = {s.name: s.result() for s in wanted}
    made = replace(compare([Damped()], dataset(cells=(8, 16, 8)), steps=2), statistics=gathered)
    blocks = list(flat(statistics(made)))
    energy, profile = (b for b in blocks if isinstance(b, Table))
    assert [c.text for c in energy.rows[1][1]][:4] == ["Damped", "1", "1", "4, not finite"]
    assert [c.text for c in profile.rows[1][1]][:3] == ["Damped", "3", "3"]
    assert ">y/h<" in next(b for b in blocks if isinstance(b, Figures) and "planes" in b.caption).items[0]
