"""Attacks against their formulas, their limits, and a classifier whose robust accuracy is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.errors import UsageError
from adroit.models.data.pixels import Pixels
from adroit.models.data.preprocessing import CIFAR10, ROUTED, Preprocessing
from adroit.models.metrics.adversarial import Attack, attacked, fgsm, perturbed, right_under, robust_accuracy
from adroit.models.networks.wide_resnet import WideResNet

PIXELS = Pixels(CIFAR10)


def inputs(count: int, side: int = 8) -> Tensor:
    """Preprocessed random images, some pixels at 0 and some at 255."""
    values = np.random.default_rng(0).integers(-60, 316, (count, side, side, 3)).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(CIFAR10.values(values))


@pytest.mark.parametrize("preprocessing", [CIFAR10, ROUTED, Preprocessing(channels="gray", mean=(0.5,), std=(2,))])
def test_pixels_are_where_the_preprocessing_puts_them(preprocessing: Preprocessing) -> None:
    pixels = Pixels(preprocessing)
    values = np.array([0, 1, 77, 255], np.uint8)
    x = torch.from_numpy(preprocessing.values(np.broadcast_to(values[:, None, None, None], (4, 32, 32, 3)).copy()))
    expected = torch.from_numpy(values / 255.0).float()[:, None, None, None].expand_as(x)
    torch.testing.assert_close(pixels.shares(x), expected)
    torch.testing.assert_close(pixels.inputs(expected), x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x[1] - x[0], pixels.unit.expand_as(x[0]), rtol=1e-3, atol=1e-6)


def test_steps_follow_the_formula_in_float64() -> None:
    """Against a linear classifier, whose gradient is W^T (softmax - one-hot)."""
    x = inputs(5).double()
    weight = torch.randn(4, 192, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 0])
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4, bias=False)).double()
    network[1].weight.data = weight
    attack = Attack(epsilon=5.0, step=2.0, steps=4, random_start=False)
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (CIFAR10.mean, CIFAR10.std))
    values = 255.0 * (x * std + mean)
    result = values.clone()
    for _ in range(attack.steps):
        logits = ((result / 255.0 - mean) / std).flatten(1) @ weight.T
        gradient = (logits.softmax(1) - functional.one_hot(y, 4)) @ weight
        result = result + 2.0 * gradient.view_as(x).sign()
        result = result.clamp(values - 5.0, values + 5.0).clamp(0.0, 255.0)
    torch.testing.assert_close(
        attacked(network, x, y, attack, PIXELS), (result / 255.0 - mean) / std, rtol=1e-5, atol=1e-5
    )


def test_fgsm_is_one_step_of_pgd_to_the_border() -> None:
    torch.manual_seed(0)
    network, x, y = WideResNet(10, 1, 10, 0.0, "projection", 2).eval(), inputs(4), torch.arange(4)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(network(x), y), x)
    expected = (x.detach() + 8.0 * PIXELS.unit * gradient.sign()).clamp(PIXELS.low, PIXELS.high)
    result = attacked(network, x.detach(), y, fgsm(8.0), PIXELS)
    assert torch.equal(result, expected)
    assert torch.equal(result, attacked(network, x.detach(), y, Attack(8.0, 8.0, 1, random_start=False), PIXELS))


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("epsilon", [0.5, 8.0, 300.0])
def test_pgd_stays_in_its_ball_and_among_pixel_values_and_raises_the_loss(epsilon: float, random_start: bool) -> None:
    torch.manual_seed(1)
    network, x, y = WideResNet(10, 1, 10, 0.0, "projection", 2).eval(), inputs(6), torch.arange(6)
    attack = Attack(epsilon, epsilon / 4, 10, random_start)
    result = attacked(network, x, y, attack, PIXELS, torch.Generator().manual_seed(0))
    change = (result - x).abs() / PIXELS.unit
    assert 0.5 * epsilon < float(change.max()) or epsilon == 300.0
    assert float(change.max()) <= epsilon * (1 + 1e-4) + 1e-4
    assert bool((result >= PIXELS.low).all()) and bool((result <= PIXELS.high).all())
    with torch.no_grad():
        before, after = (functional.cross_entropy(network(v), y, reduction="none") for v in (x, result))
    assert bool((after > before).all())
    assert not result.requires_grad and all(p.grad is None for p in network.parameters())


def test_the_start_follows_its_generator() -> None:
    network, x, y = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), inputs(2), torch.tensor([0, 1])
    attack = Attack(8.0, 0.0, 1)
    one, same, other = (
        attacked(network, x, y, attack, PIXELS, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_robust_accuracy_of_a_linear_classifier_is_the_share_with_margin_enough() -> None:
    """Under epsilon a margin falls by epsilon times the L1 norm of the weights' difference, in pixel values."""
    x = 0.2 * inputs(64)  # away from 0 and 255
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    with torch.no_grad():
        margins = network(x) @ torch.tensor([1.0, -1.0])
        y = (margins < 0).long()  # all right without attack
        difference = (network[1].weight[0] - network[1].weight[1]).view(3, 8, 8) * PIXELS.unit
        left = margins.abs() - 1.5 * difference.abs().sum()
    expected = float((left > 0).double().mean())
    assert 0.1 < expected < 0.9 and float(left.abs().min()) > 1e-4
    batches = [(x[:40], y[:40]), (x[40:], y[40:])]
    assert robust_accuracy(network, batches, Attack(1.5, 0.5, 12), PIXELS) == pytest.approx(expected)
    assert robust_accuracy(network, batches, fgsm(1.5), PIXELS) == pytest.approx(expected)
    assert robust_accuracy(network, batches, fgsm(0.0), PIXELS) == 1.0


def test_an_attack_can_be_made_on_another_network() -> None:
    """On a copy it is the network's own; on one that answers the other way round it does no harm."""
    x, linear = 0.2 * inputs(64), nn.Linear(192, 2, bias=False)
    network, reversed_one = (
        nn.Sequential(nn.Flatten(), linear),
        nn.Sequential(nn.Flatten(), nn.Linear(192, 2, bias=False)),
    )
    with torch.no_grad():
        reversed_one[1].weight.copy_(linear.weight.flip(0))
        y = network(x).argmax(1)
    attack, shares = Attack(1.5, 0.5, 8), []
    for source in (network, reversed_one):

        def hostile(x: Tensor, y: Tensor, generator: torch.Generator, source: nn.Module = source) -> Tensor:
            return attacked(source, x, y, attack, PIXELS, generator)

        shares.append(float(right_under(network, [(x[:40], y[:40]), (x[40:], y[40:])], hostile).double().mean()))
    assert shares[0] == robust_accuracy(network, [(x, y)], attack, PIXELS) < 1.0 == shares[1]


def test_an_image_is_right_only_where_it_is_right_after_every_restart() -> None:
    x, y = inputs(6), torch.zeros(6, dtype=torch.int64)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].weight[1, 0] = 1.0  # the first pixel alone decides
        network[1].bias.zero_()
    wrong = iter([1, 3])

    def hostile(x: Tensor, _: Tensor, __: torch.Generator) -> Tensor:
        changed = torch.full_like(x, -1.0)
        changed[next(wrong)] = 1.0
        return changed

    assert right_under(network, [(x, y)], hostile, restarts=2).tolist() == [True, False, True, False, True, True]
    with torch.no_grad():
        network[1].weight.normal_(generator=torch.Generator().manual_seed(0))
    near = [(0.2 * x, network(0.2 * x).argmax(1))]
    one, five = (robust_accuracy(network, near, Attack(1.0, 0.0, 1, restarts=n), PIXELS) for n in (1, 5))
    assert five <= one


def test_any_loss_can_be_attacked() -> None:
    x = inputs(2)
    result = perturbed(lambda v: -v.square().sum(), x, Attack(4.0, 1.0, 8, random_start=False), PIXELS)
    assert bool((result.abs() <= x.abs() + 1e-6).all()) and float(result.abs().sum()) < float(x.abs().sum())


def test_no_image_is_refused() -> None:
    with pytest.raises(UsageError, match="no images"):
        robust_accuracy(nn.Linear(1, 1), [], fgsm(), PIXELS)
