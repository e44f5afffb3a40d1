"""What a training shows, and what it logs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from adroit.deploy.cli import training_progress
from adroit.deploy.cli.training_progress import open_progress
from adroit.models.training.loop import Epoch
from adroit.models.training.options import StepDone


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def tell(log: Path | None = None) -> None:
    with open_progress(log) as progress:
        progress.begin(2, 4)
        progress.step(StepDone(3, 4, 0.75, 0.5))
        progress.step(StepDone(4, 4, 0.5, 0.25))
        progress.epoch(Epoch(2, 2, 0.625, 0.875))


def test_elsewhere_than_on_a_terminal_an_epoch_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell()
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "resumed after step 2 of 4\nepoch 2/2  loss 0.6250  accuracy 87.50%\n"


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(training_progress.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    tell()
    shown = terminal.getvalue()
    assert "4/4" in shown and "loss 0.5000" in shown and "epoch 2/2  loss 0.6250" in shown


def test_figures_go_to_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tell(tmp_path / "log")
    events = accumulator.EventAccumulator(str(tmp_path / "log")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(3, 0.75), (4, 0.5)]
    assert [(e.step, e.value) for e in events.Scalars("share of the learning rate")] == [(3, 0.5), (4, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("accuracy")] == [(4, 0.875)]
