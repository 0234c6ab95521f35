"""Plates of random shape under random heating."""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml.geometry import Box, Geometry, Polygon
from sciml.problem import Case, Problem
from sciml.problems._holes import drawn
from sciml.problems.designs import RandomDesign, Request, waves

EDGE, INSIDE = 48, 144  # points at which functions are given


class HeatPlateDesign(RandomDesign):
    """Rectangles of width 1 m and height 0.5 to 1 m, and in a third of all cases polygons of 5 to 8 corners, with one
    to three holes, round or not.

    The conductivity k is log-uniform in 20 to 100 W/(m K) and increases by up to 0.1 % a kelvin. The edge temperature
    is a sum of waves of up to 100 K; source and profile are smooth functions at 144 points, of up to k · 500 K/m² and
    between ½ and 2; the holes bring up to k · 30 K/m in or out. Those of profile "transient" begin from a temperature
    of up to 50 K above or below that of the surroundings; their frames are 0.02 of the time scale apart.
    """

    profiles = ("standard", "transient")
    step = 0.02

    def posed(self, problem: Problem, profile: str) -> Problem:
        family: Any = type(problem)
        return family(steady=False) if profile == "transient" else problem

    def cases(self, request: Request) -> list[Case]:
        posed = self.posed(self.problem, request.profile)
        return RandomDesign.cases(type(self)(posed), request)

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        width, height = 1.0, float(random.uniform(0.5, 1.0))
        plate: Geometry = Box((0.0, 0.0), (width, height))
        inputs: dict[str, Any] = {}
        along = (np.arange(EDGE) + 0.5) / EDGE
        if random.uniform() < 1 / 3:
            outline = corners(random, width, height)
            plate = Polygon(tuple(map(tuple, outline.tolist())))
            inputs |= {"outline": outline, "edge_points": around(outline, along)}
        else:
            inputs["edge_points"] = np.stack([np.zeros(EDGE), height * along], axis=1)
        inputs["edge_temperature"] = 100.0 * random.uniform(0.3, 1.0) * waves(random, along)
        inputs["holes"] = drawn(random, plate, int(random.integers(1, 4)), (0.05, 0.11), 0.05)
        conductivity = float(np.exp(random.uniform(np.log(20.0), np.log(100.0))))
        for name, size in (("source", 5e2 * conductivity), ("profile", np.log(2.0))):
            points = random.uniform((0.0, 0.0), (width, height), (INSIDE, 2))
            values = size * random.uniform(0.2, 1.0) * bumps(random, points)
            inputs |= {f"{name}_points": points, name: np.exp(values) if name == "profile" else values}
        if not self.problem.steady:
            inputs["initial_temperature"] = float(random.uniform(-50.0, 50.0))
        return self.problem.case(
            width=width, height=height, conductivity=conductivity, conductivity_slope=float(random.uniform(0.0, 1e-3)),
            hole_flux=30.0 * conductivity * float(random.uniform(-1.0, 1.0)), **inputs,
        )  # fmt: skip


def corners(random: np.random.Generator, width: float, height: float) -> np.ndarray:
    """(5 to 8, 2) corners, anticlockwise around the middle of a rectangle, within it."""
    count = int(random.integers(5, 9))
    turn = 2 * np.pi * (np.arange(count) + random.uniform(-0.3, 0.3, count) + random.uniform()) / count
    radius = random.uniform(0.8, 1.0, count)
    return np.stack([width / 2 * (1 + radius * np.cos(turn)), height / 2 * (1 + radius * np.sin(turn))], axis=1)


def around(outline: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Points on the edge of a polygon, by their share of its length."""
    closed = np.concatenate([outline, outline[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    return np.stack([np.interp(shares * length[-1], length, closed[:, k]) for k in range(2)], axis=1)


def bumps(random: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """A smooth function at points: six plane waves of random directions, with a largest value of 1."""
    direction, phase = random.normal(0.0, 4.0, (2, 6)), random.uniform(0, 2 * np.pi, 6)
    values = np.cos(points @ direction + phase) @ random.standard_normal(6)
    return values / np.abs(values).max()
