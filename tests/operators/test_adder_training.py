"""The adder convolution as CPUs train it (models/operators/native.py) against torch's own operations in float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from adroit.deploy.parity.tolerance import compare, rounding_limit
from adroit.errors import UsageError
from adroit.models.layers.adder import AdderConv2d
from adroit.models.operators import native
from adroit.models.operators.adder_conv2d import adder_conv2d
from tests.operators.test_adder_conv2d import BY_NAME, Case

needs_library = pytest.mark.skipif(native.training_library() is None, reason="libadroit_training.so was not built")


def _tensors(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """X, W and the gradient by Y."""
    source = torch.Generator().manual_seed(len(case.name))
    x = torch.randn(case.x, generator=source)
    weight = torch.randn(case.filters, case.x[1], *case.kernel, generator=source)
    y = adder_conv2d(x, weight, case.stride, case.padding)
    return x, weight, torch.randn(y.shape, generator=source)


def _by(convolve: object, x: Tensor, weight: Tensor, gradient: Tensor, case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Y, dL/dX and dL/dW."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = convolve(x, weight, case.stride, case.padding)  # type: ignore[operator]
    y.backward(gradient)
    assert x.grad is not None and weight.grad is not None
    return y.detach(), x.grad, weight.grad


@needs_library
@BY_NAME
def test_outputs_and_both_gradients_are_the_operators(case: Case) -> None:
    x, weight, gradient = _tensors(case)
    exact = _by(adder_conv2d, x.double(), weight.double(), gradient.double(), case)
    found = _by(native.trained_adder_conv2d, x, weight, gradient, case)
    window, pixels = weight[0, 0].numel(), gradient[0, 0].numel()
    # Of each: how large its terms are in sum, at most, and how many they are.
    largest = float(x.abs().max() + weight.abs().max())
    of_output, of_filter = gradient.abs().sum(1).max().item(), gradient.abs().sum((0, 2, 3)).max().item()
    sizes = [
        (exact[0].abs().max().item(), weight[0].numel()),
        (largest * of_output * window, case.filters * window),
        (largest * of_filter, case.x[0] * pixels),
    ]
    for name, got, expected, (magnitude, terms) in zip(("Y", "dX", "dW"), found, exact, sizes, strict=True):
        value = expected.numpy()
        assert compare(got.numpy(), value, rounding_limit(value, magnitude, terms)).passed, name


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@needs_library
def test_threads_change_no_bit(two_threads: None) -> None:
    case = Case("threads", (8, 32, 16, 16), 32, (3, 3), 1, 1)
    tensors = _tensors(case)
    by_two = _by(native.trained_adder_conv2d, *tensors, case)
    torch.set_num_threads(1)
    by_one = _by(native.trained_adder_conv2d, *tensors, case)
    assert torch.equal(by_two[0], by_one[0]) and torch.equal(by_two[1], by_one[1])


@needs_library
def test_views_that_are_not_contiguous_are_read_right() -> None:
    case = Case("views", (2, 20, 9, 7), 5, (3, 3), 1, 1)
    x, weight, gradient = _tensors(case)
    expected = _by(native.trained_adder_conv2d, x, weight, gradient, case)
    views = (each.to(memory_format=torch.channels_last) for each in (x, weight, gradient))
    found = _by(native.trained_adder_conv2d, *views, case)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


@needs_library
def test_only_layers_in_training_use_it() -> None:
    """Evaluation is the reference of parity checks, which the kernels under check must not be part of."""
    layer, x = AdderConv2d(3, 4, 3), torch.randn(1, 3, 5, 5)
    assert "TrainedAdderConv2d" in type(layer(x).grad_fn).__name__
    assert "TrainedAdderConv2d" not in type(layer.eval()(x).grad_fn).__name__
    in_float64 = AdderConv2d(3, 4, 3).double()
    assert "TrainedAdderConv2d" not in type(in_float64(x.double()).grad_fn).__name__


@needs_library
def test_mixed_precision_sums_in_float32() -> None:
    layer, x = AdderConv2d(3, 4, 3), torch.randn(1, 3, 5, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.float32 and torch.equal(y, layer(x.float()))
    y.sum().backward()
    assert layer.weight.grad is not None and torch.isfinite(layer.weight.grad).all()


def test_without_the_library_torch_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("no library", (2, 6, 9, 7), 5, (3, 3), 2, 1)
    tensors = _tensors(case)
    expected = _by(adder_conv2d, *tensors, case)
    monkeypatch.setattr(native, "training_library", lambda: None)
    assert all(map(torch.equal, _by(native.trained_adder_conv2d, *tensors, case), expected))


@needs_library
def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(UsageError, match="3 channels, W expects 2"):
        native.trained_adder_conv2d(torch.zeros(1, 3, 5, 5), torch.zeros(4, 2, 3, 3), 1, 1)


def test_a_batch_at_once_as_on_other_devices_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from adroit.models.operators import adder_conv2d as operator

    case = Case("at once", (3, 6, 9, 7), 5, (3, 3), 2, 1)
    tensors = [each.double() for each in _tensors(case)]
    one_by_one = _by(adder_conv2d, *tensors, case)
    monkeypatch.setattr(operator, "_images", lambda x: (x,))
    at_once = _by(adder_conv2d, *tensors, case)
    for found, expected in zip(at_once, one_by_one, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
