"""What cannot be captured is refused by one message: the module, the user's line, and what to do."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adroit.deploy.reference.capture import CapturedInput, capture
from adroit.deploy.reference.interpret import StoredProgram
from adroit.errors import UnsupportedModel, UsageError
from tests.deploy.reference.conftest import capture_image

X = torch.zeros(1, 3, 16, 20)


class Stage(nn.Module):
    """The layer at fault, one level down in the user's network."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)
        self.drop = 0.5
        self.alpha = nn.Parameter(torch.tensor(0.3))
        self.register_buffer("seen", torch.zeros(()))
        self.table = nn.Parameter(torch.zeros(1, 4, 16, 20))
        # PyTorch keeps the lines of `forward` methods only.
        self.step = types.FunctionType(
            step.__code__.replace(co_name="forward"), step.__globals__, closure=step.__closure__
        )

    def forward(self, x: Tensor) -> object:
        return self.step(self, self.conv(x))


class Network(nn.Module):
    def __init__(self, step: Any) -> None:
        super().__init__()
        self.stages = nn.ModuleList([Stage(step)])

    def forward(self, x: Tensor) -> object:
        return self.stages[0](x)


def branch_on_value(stage: Stage, y: Tensor) -> Tensor:
    if y.mean() > 0:
        return y * 2
    return y


def python_number(stage: Stage, y: Tensor) -> Tensor:
    return y * float(stage.alpha)


def through_numpy(stage: Stage, y: Tensor) -> Tensor:
    return torch.from_numpy(np.abs(y.detach().numpy()))


def data_shaped(stage: Stage, y: Tensor) -> Tensor:
    return y[y > 0]


def fourier(stage: Stage, y: Tensor) -> Tensor:
    return torch.fft.rfft2(y).abs()


def noise(stage: Stage, y: Tensor) -> Tensor:
    return y + torch.randn_like(y)


def dropout_always(stage: Stage, y: Tensor) -> Tensor:
    return F.dropout(y, 0.5)


def random_attention(stage: Stage, y: Tensor) -> Tensor:
    t = y.flatten(2)
    return F.scaled_dot_product_attention(t, t, t, dropout_p=stage.drop)


def wrong_shape(stage: Stage, y: Tensor) -> Tensor:
    return stage.head(y)  # type: ignore[no-any-return]


def one_size(stage: Stage, y: Tensor) -> Tensor:
    return y + stage.table


def linspace_of_a_size(stage: Stage, y: Tensor) -> Tensor:
    return y * torch.linspace(0, 1, y.shape[3])


def flattened(stage: Stage, y: Tensor) -> Tensor:
    return F.linear(y.flatten(1), torch.ones(2, 4 * 16 * 20))


def keeps_a_count(stage: Stage, y: Tensor) -> Tensor:
    stage.seen += 1  # type: ignore[operator]
    return y * stage.seen


def branch_on_the_batch(stage: Stage, y: Tensor) -> Tensor:
    return y * 2 if y.shape[0] == 1 else y


def no_tensor(stage: Stage, y: Tensor) -> object:
    return {"features": y, "count": 3}


def half_by_autocast(stage: Stage, y: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return stage.conv(y[:, :3])  # type: ignore[no-any-return]


def complex_numbers(stage: Stage, y: Tensor) -> Tensor:
    return torch.view_as_real(torch.complex(y, y))


FAULTS: Sequence[tuple[Any, str, str, str]] = (
    # step, what the message says, what its hint says, text of the line that it names ("" where it names none)
    (branch_on_value, "branches on a tensor's value", "adroit.nn.Gated", "if y.mean() > 0:"),
    (python_number, "into a Python number", "keep it a tensor", "float(stage.alpha)"),
    (through_numpy, "cannot capture", "no NumPy", "np.abs(y"),
    (data_shaped, "depends on the data", "torch.where", "y[y > 0]"),
    (fourier, "does not know the operator aten.fft_rfft2", "torch.nn.functional", "torch.fft.rfft2"),
    (noise, "does not know the operator aten.randn_like", "", "torch.randn_like(y)"),
    (dropout_always, "training mode", "self.training", "F.dropout(y, 0.5)"),
    (random_attention, "dropout is random", "if self.training else 0.0", "dropout_p=stage.drop"),
    (wrong_shape, "fails on an input of 2x3x16x20", "right shape", "stage.head(y)"),
    (one_size, "one size only", "fixed size", "y + stage.table"),
    (linspace_of_a_size, "one size only", "fixed size", ""),
    (flattened, "does not take other sizes", "fixed size", "F.linear(y.flatten(1)"),
    (keeps_a_count, "changes its own weight or buffer", "no state", ""),
    (branch_on_the_batch, "does not compute what the network computes", "size of the batch", ""),
    (no_tensor, "count is int, not a tensor", "tensors only", ""),
    (half_by_autocast, "autocast", "adroit chooses the types", ""),
    (complex_numbers, "aten.complex", "", "torch.complex(y, y)"),
)


@pytest.mark.parametrize(("step", "message", "hint", "line"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_a_fault_names_module_line_and_remedy(
    step: Callable[[Stage, Tensor], object],
    message: str,
    hint: str,
    line: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        capture_image(Network(step), X)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    if line:
        assert caught.value.facts["module"].startswith("stages.0")
        assert named_line(str(caught.value.facts["source"])).find(line) >= 0
    assert len(str(caught.value).splitlines()) < 12  # never the exporter's dump
    assert capfd.readouterr() == ("", "")


def named_line(source: str) -> str:
    """The text of this file's line that a message names, as `test_faults.py:34, in step`."""
    file, number = source.split(",")[0].split(":")
    assert file.endswith("test_faults.py")
    with open(__file__, encoding="utf-8") as lines:
        return lines.read().splitlines()[int(number) - 1]


def test_the_network_keeps_its_modes() -> None:
    network = Network(lambda stage, y: y.relu()).train()
    network.stages[0].conv.eval()  # type: ignore[union-attr, operator]
    capture_image(network, X)
    assert network.training and network.stages[0].training
    assert not network.stages[0].conv.training  # type: ignore[union-attr]
    assert next(network.parameters()).requires_grad


@pytest.fixture(scope="module")
def program() -> StoredProgram:
    """Branches on its input's sizes."""

    def step(stage: Stage, y: Tensor) -> Tensor:
        if y.shape[2] % 2 == 0:
            y = y * 2
        return y[:, :, : math.ceil(y.shape[2] / 3)] if y.shape[3] >= 20 else y

    return capture_image(Network(step), X)


class TestSizes:
    """A branch on a size is captured one way; at another size the reference refuses."""

    def test_a_size_of_the_same_branch_runs(self, program: StoredProgram) -> None:
        assert program(torch.zeros(1, 3, 22, 31))["output0"].shape == (1, 4, 8, 31)

    @pytest.mark.parametrize(("size", "needs"), [((17, 20), "height"), ((16, 19), "width")])
    def test_another_branch_is_refused(self, program: StoredProgram, size: tuple[int, int], needs: str) -> None:
        with pytest.raises(UsageError, match="another branch") as caught:
            program(torch.zeros(1, 3, *size))
        assert needs in str(caught.value.facts["needs"])
        assert str(caught.value.facts["source"]).startswith("test_faults.py:")

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ([], "takes 1 inputs"),
            ([torch.zeros(1, 4, 16, 20)], "expected"),
            ([torch.zeros(3, 16, 20)], "expected"),
            ([torch.zeros(1, 3, 16, 20, dtype=torch.int64)], "expected torch.float32"),
        ],
    )
    def test_wrong_inputs_are_refused(self, program: StoredProgram, given: list[Tensor], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            program(*given)

    def test_one_name_is_one_size(self) -> None:
        class Sum(nn.Module):
            def forward(self, a: Tensor, b: Tensor) -> Tensor:
                return a.sum(1) + b.mean(1)

        inputs = [CapturedInput(name, torch.zeros(2, 5), {0: "batch"}) for name in ("a", "b")]
        program = capture(Sum(), inputs)
        with pytest.raises(UsageError, match="the input b is"):
            program(torch.zeros(2, 5), torch.zeros(1, 5))


def test_tied_weights_are_stored_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))  # type: ignore[no-any-return]

    program = capture(Tied(), [CapturedInput("x", torch.zeros(2, 5), {0: "batch"})])
    assert [weight.name for weight in program.program.weights] == ["first.weight", "first.bias", "second.bias"]
