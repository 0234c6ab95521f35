"""What a run, or several, show of how far they are."""

import io
import threading
from types import SimpleNamespace

import pytest
from rich.console import Console

from sciml.training import ProgressDisplay


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal is sent."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    return screen


def run(display):
    trainer = SimpleNamespace(step=2, total_steps=4)
    display.on_start(trainer)
    for step, loss in ((3, 0.5), (4, 0.25)):
        trainer.step = step
        display.on_step(trainer, {"step": step, "loss": loss})
    display.on_validation(trainer, {"step": 4, "validation": 0.125})
    display.on_end(trainer)


def test_lines_where_there_is_no_terminal(capsys):
    run(ProgressDisplay("training X", seconds=0.0))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training X: step 2/4, loss –"
    assert lines[-1] == "training X: step 4/4, loss 4.750e-01, validation 1.250e-01, 0 s left"
    run(ProgressDisplay("training X"))  # over before 15 seconds have gone by
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal_ends_with_the_last_figures(terminal):
    run(ProgressDisplay("training X"))
    last = [line for line in terminal.getvalue().splitlines() if "training X" in line][-1]
    assert "4/4" in last and "loss 4.750e-01 · validation 1.250e-01" in last


def test_several_runs_share_a_display(terminal):
    with ProgressDisplay() as display:
        told = [threading.Thread(target=display.show, args=(name, 1, 9, 0.5)) for name in ("one", "two")]
        for thread in told:
            thread.start()
        for thread in told:
            thread.join()
        display.show("one", 3, 9)
    text = terminal.getvalue()
    assert "one" in text and "3/9" in text and "two" in text and "1/9" in text and "loss 5.000e-01" in text
