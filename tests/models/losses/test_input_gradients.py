"""Input gradients and IGAM's terms against their formulas in float64, and by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.models.losses.input_gradients import (
    Differentiated,
    discriminator_loss,
    gradient_difference,
    input_gradient,
    normalized_gradient,
)
from adroit.models.networks.discriminator import GradientDiscriminator
from adroit.models.networks.wide_resnet import WideResNet


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_of_a_linear_network_is_its_formula() -> None:
    """Of the loss: W^T (p - e_y). Of the probability: p_y (w_y - W^T p)."""
    x, weight, y = random(3, 2, 4, 4).requires_grad_(), random(5, 32, seed=1), torch.tensor([0, 4, 2])
    logits = x.flatten(1) @ weight.T
    p = logits.detach().softmax(1)
    of_loss = (p - functional.one_hot(y, 5)) @ weight
    of_probability = p.gather(1, y[:, None]) * (weight[y] - p @ weight)
    for of, expected in (("loss", of_loss), ("probability", of_probability)):
        result = input_gradient(x.flatten(1) @ weight.T, x, y, of)  # type: ignore[arg-type]
        torch.testing.assert_close(result.flatten(1), expected)
        assert not result.requires_grad


def test_a_normalized_gradient_is_centered_and_of_length_1() -> None:
    gradient = random(4, 3, 5, 5) + 7.0
    result = normalized_gradient(gradient)
    torch.testing.assert_close(result.flatten(1).mean(1), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(result.flatten(1).norm(dim=1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(normalized_gradient(1e-6 * gradient), result)
    one = gradient[2].flatten()
    expected = (one - one.mean()) / (one - one.mean()).square().sum().sqrt()
    torch.testing.assert_close(result[2].flatten(), expected)


@pytest.mark.parametrize("floor", [1e-6, 1e-12])
def test_a_gradient_below_the_floor_is_divided_by_the_floor(floor: float) -> None:
    """As the code's x / sqrt(max(sum of x^2, 1e-12)), of which 1e-6 is the default."""
    gradient = 1e-9 * (random(4, 3, 5, 5) + 7.0)
    centered = gradient - gradient.mean((1, 2, 3), keepdim=True)
    squares = centered.square().sum((1, 2, 3), keepdim=True)
    expected = centered / squares.clamp_min(floor**2).sqrt()
    given = {} if floor == 1e-6 else {"floor": floor}
    torch.testing.assert_close(normalized_gradient(gradient, **given), expected)
    lengths = normalized_gradient(gradient, floor).flatten(1).norm(dim=1)
    assert bool((lengths < 0.02).all()) if floor == 1e-6 else bool((lengths > 0.999).all())


@pytest.mark.parametrize("epsilon", [1e-3, 1e-5])
def test_the_discriminators_norms_have_the_codes_epsilon(epsilon: float) -> None:
    """Restated: 4 x 4 convolutions of stride 2, norms over the batch, leaky ReLU 0.1, a linear layer."""
    given = {} if epsilon == 1e-3 else {"epsilon": epsilon}
    discriminator = GradientDiscriminator((16, 16), 2, 4, **given).double()
    x = normalized_gradient(random(6, 3, 16, 16))
    h = x
    for index in (0, 3):
        convolution = discriminator.layers[index]
        h = functional.conv2d(h, convolution.weight, convolution.bias, 2, 1)
        mean, variance = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), unbiased=False, keepdim=True)
        h = (h - mean) / (variance + epsilon).sqrt()
        h = torch.where(h < 0, 0.1 * h, h)
    torch.testing.assert_close(discriminator(x), discriminator.fc(h.flatten(1)))


def test_a_constant_gradient_becomes_0_and_stays_differentiable() -> None:
    flat = torch.full((1, 3, 4, 4), 0.25, requires_grad=True)
    result = normalized_gradient(flat)
    result.sum().backward()
    assert not result.any() and flat.grad is not None and bool(flat.grad.isfinite().all())


def test_the_difference_is_a_mean_over_images() -> None:
    a, b = random(4, 3, 2, 2), random(4, 3, 2, 2, seed=1)
    total = sum(float(((x - y) ** 2).sum()) for x, y in zip(a, b, strict=True))
    assert float(gradient_difference(a, b)) == pytest.approx(total / 4)


def test_the_discriminators_loss_counts_students_as_0_and_teachers_as_1() -> None:
    student, teacher, weight = random(3, 1, 2, 2), random(3, 1, 2, 2, seed=1), random(2, 4, seed=2)
    expected = 0.0
    for gradients, truth in ((student, 0), (teacher, 1)):
        for one in gradients.flatten(1):
            unit = (one - one.mean()) / (one - one.mean()).norm()
            expected -= float((weight @ unit).log_softmax(0)[truth]) / 6
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).double()
    discriminator[1].weight.data = weight
    assert float(discriminator_loss(discriminator, student, teacher).detach()) == pytest.approx(expected)


def along(loss: Callable[[], Tensor], parameters: list[nn.Parameter], step: float) -> tuple[float, float]:
    """The derivative along one random direction: by autograd, and by central differences."""
    directions = [random(*p.shape, seed=i + 10) for i, p in enumerate(parameters)]
    gradients = torch.autograd.grad(loss(), parameters)
    exact = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    values = []
    for sign in (1.0, -2.0, 1.0):  # there, to the other side, and back
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p += sign * step * d
        values.append(float(loss().detach()))
    return exact, (values[0] - values[1]) / (2.0 * step)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("of", ["loss", "probability"])
def test_second_order_gradients_of_the_students_loss_by_finite_differences(of: Differentiated, training: bool) -> None:
    """Cross entropy - beta * discriminator's + gamma * difference, along a direction of all weights."""
    torch.manual_seed(0)
    student = WideResNet(10, 1, 4, 0.1, "projection", 1).double().train(training)
    discriminator = GradientDiscriminator((16, 16), 3, 4).double()
    x, y, teacher = random(4, 3, 16, 16).requires_grad_(), torch.arange(4), 0.1 * random(4, 3, 16, 16, seed=3)

    def term(weights: tuple[float, float, float]) -> Callable[[], Tensor]:
        def loss() -> Tensor:
            logits = student(x)
            gradient = input_gradient(logits, x, y, of, create_graph=True)
            terms = (
                functional.cross_entropy(logits, y),
                -discriminator_loss(discriminator, gradient, teacher),
                gradient_difference(gradient, teacher),
            )
            return torch.stack([w * t for w, t in zip(weights, terms, strict=True)]).sum()

        return loss

    for weights in ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 2.0, 10.0)):
        exact, numeric = along(term(weights), list(student.parameters()), 1e-6)
        assert exact == pytest.approx(numeric, rel=1e-4, abs=1e-7)
        assert abs(exact) > 1e-4
