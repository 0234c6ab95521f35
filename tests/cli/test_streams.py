"""What a terminal or a file cannot show ends no command."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import sciml

from .conftest import run


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    case = sciml.problems.LidDrivenCavity().case(label="Größe é 日本")
    x = (np.arange(4) + 0.5) / 4
    fields = {k: (("time", "y", "x"), np.ones((2, 4, 4))) for k in ("u", "v")}
    path = tmp_path_factory.mktemp("wörk") / "d日.h5"
    made = sciml.data.solution(case, [0.0, 1.0], fields, {"x": x, "y": x}, solver="made up")
    sciml.data.write(sciml.data.pack([made]), path)
    return path


BOTH = """
import sys
from sciml.cli import main
for words in (["info", sys.argv[1]], ["info", sys.argv[1], "--json"]):
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, end.code
    sys.stdout.buffer.write(b"=====")
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "gbk", "latin-1"])
def test_characters_that_cannot_be_shown_are_replaced(small_file, encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", BOTH, small_file]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0 and b"internal error" not in done.stderr, done.stderr
    shown, facts, _ = done.stdout.split(b"=====")
    assert b"a data set" in shown
    assert json.loads(facts.decode("ascii"))["path"] == str(small_file)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(small_file, closed):
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m sciml.cli info "{small_file}" {closed}'], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"error" not in done.stderr and b"error" not in done.stdout
    assert (b"a data set" in done.stdout) == (not closed.startswith(">"))


def test_names_that_are_no_text(tmp_path):
    done = run("info", tmp_path / "\udcff.h5")
    assert done.returncode == 2 and "internal error" not in done.stderr
