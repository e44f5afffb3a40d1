"""The generic perceptual loss against its formula, and what its random network does to distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.losses.generic_perceptual import (
    LEVELS,
    MAPS,
    PAPER_GAIN,
    RECOMMENDED_LAYOUT,
    VGG16_LAYOUT,
    VGG19_LAYOUT,
    GenericPerceptualLoss,
    RandomVgg,
    one_hot_map,
    score_map,
)
from tests.models.losses.direct import Array, convolution, max_pooling, numeric_gradient, softmax, some_places


def maps(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return first, second


def direct_loss(network: RandomVgg, levels: str, a: Array, b: Array) -> float:
    """Sum over levels of the mean squared difference of embeddings, of [N,C,H,W]."""
    weights = {name: w.numpy().astype(np.float64) for name, w in network.named_buffers()}
    squares: dict[tuple[int, int], list[Array]] = {}
    for first, second in zip(a, b, strict=True):
        pair = [first, second]
        for block, convolutions in enumerate(network.layout):
            pair = [max_pooling(x) for x in pair] if block else pair
            for index in range(convolutions):
                pair = [np.maximum(convolution(x, weights[f"weight_{block}_{index}"]), 0.0) for x in pair]
                squares.setdefault((block, index), []).append((pair[0] - pair[1]) ** 2)
    last = len(network.layout) - 1
    return sum(
        float(np.mean(values))
        for (block, index), values in squares.items()
        if levels == "all" or (index == network.layout[block] - 1 and (levels == "blocks" or block == last))
    )


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("layout", "kernel_size"), [(RECOMMENDED_LAYOUT, 3), ((2, 1, 3, 1, 2), 5)])
def test_loss_and_gradient_are_the_formulas(levels: str, layout: tuple[int, ...], kernel_size: int) -> None:
    network = RandomVgg(3, layout, 4, kernel_size)
    a, b = (10 * m for m in maps(2, 3, 16, 19))
    a.requires_grad_()
    loss = GenericPerceptualLoss(network, levels)(a, b)
    loss.backward()
    assert a.grad is not None
    at, other = a.detach().numpy(), b.numpy()
    np.testing.assert_allclose(loss.item(), direct_loss(network, levels, at, other), rtol=1e-12)
    places = some_places(at.shape, 12)
    expected = numeric_gradient(lambda x: direct_loss(network, levels, x, other), at, places)
    result = np.array([a.grad.numpy()[place] for place in places])
    assert np.abs(expected).max() > 1e-6
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_gradient_passes_through_a_segmentations_scores() -> None:
    network = RandomVgg(4, width=2)
    logits, other = maps(1, 4, 16, 16)
    logits.requires_grad_()
    target = score_map(3 * other)
    GenericPerceptualLoss(network)(score_map(logits), target).backward()
    assert logits.grad is not None
    at, places = logits.detach().numpy(), some_places((1, 4, 16, 16), 8)
    expected = numeric_gradient(
        lambda x: direct_loss(network, "blocks", softmax(x, axis=1), target.numpy()), at, places
    )
    np.testing.assert_allclose([logits.grad.numpy()[p] for p in places], expected, rtol=1e-5, atol=1e-10)


def distances(layout: tuple[int, ...], gain: float, apart: float) -> list[float]:
    """Mean squared distance at every layer as multiples of the first layer's."""
    a, noise = (m.float() for m in maps(1, 11, 64, 64))
    loss = GenericPerceptualLoss(RandomVgg(11, layout, 32, gain=gain), "all")
    pairs = zip(loss.embedding(a), loss.embedding(a + apart * noise), strict=True)
    squares = [float((x - y).square().mean()) for x, y in pairs]
    return [square / squares[0] for square in squares]


@pytest.mark.parametrize("layout", [VGG16_LAYOUT, VGG19_LAYOUT])
def test_the_papers_initialization_keeps_distances_over_16_layers(layout: tuple[int, ...]) -> None:
    kept = distances(layout, PAPER_GAIN, apart=0.1)
    assert len(kept) == sum(layout) and min(kept) > 0.1 and max(kept) < 10


@pytest.mark.parametrize("gain", [1.0, 3**-0.5], ids=["normal of variance 1/n", "torch's default"])
def test_smaller_weights_let_distances_vanish(gain: float) -> None:
    lost = distances(VGG19_LAYOUT, gain, apart=0.1)
    assert lost[-1] < 1e-4 and lost == sorted(lost, reverse=True)


def test_larger_weights_let_distances_explode() -> None:
    assert distances(VGG19_LAYOUT, 2.0, apart=0.1)[-1] > 1e3


def test_weights_have_the_papers_distribution() -> None:
    for name, weight in RandomVgg(8, VGG16_LAYOUT).named_buffers():
        fan_in = weight.shape[1] * 9
        assert weight.mean().abs() < 4 * (2 / fan_in) ** 0.5 / weight.numel() ** 0.5, name
        assert float(weight.square().mean()) == pytest.approx(2 / fan_in, rel=6 * (2 / weight.numel()) ** 0.5), name


@pytest.mark.parametrize("layout", [RECOMMENDED_LAYOUT, VGG19_LAYOUT, (3, 1, 2, 1, 1)])
def test_a_layout_is_convolutions_before_each_pooling(layout: tuple[int, ...]) -> None:
    outputs = RandomVgg(1, layout, 4)(torch.zeros(1, 1, 48, 33))
    assert [len(block) for block in outputs] == list(layout)
    shapes = [(4, 48, 33), (8, 24, 16), (16, 12, 8), (32, 6, 4), (32, 3, 2)]
    assert [tuple(block[-1].shape[1:]) for block in outputs] == shapes


def test_the_random_network_is_its_seeds_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    a, b, c = (dict(RandomVgg(3, width=4, seed=seed).named_buffers()) for seed in (5, 5, 6))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a[name], b[name]) and not torch.equal(a[name], c[name]) for name in a)


def test_nothing_of_it_is_trained_or_saved() -> None:
    module = nn.Sequential(GenericPerceptualLoss(RandomVgg(3, width=4)))
    assert not module.state_dict() and not list(module.parameters())


def test_equal_maps_are_at_no_distance_and_targets_get_no_gradient() -> None:
    loss = GenericPerceptualLoss(RandomVgg(2, width=4))
    a, b = (m.requires_grad_() for m in maps(1, 2, 16, 16))
    assert loss(a, a.detach()).item() == 0.0
    loss(a, b).backward()
    assert b.grad is None and a.grad is not None


def test_what_does_not_count_has_no_influence() -> None:
    loss = GenericPerceptualLoss(RandomVgg(2, width=4))
    a, b = maps(1, 2, 16, 16)
    counted = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    counted[:, :, 4:9] = False
    a.requires_grad_()
    first = loss(a, b, counted)
    first.backward()
    assert a.grad is not None and (a.grad[:, :, 4:9] == 0).all() and (a.grad[:, :, 9:] != 0).any()
    b[:, :, 4:9] += 1
    assert loss(a, b, counted).item() == first.item()


def test_shrinking_averages_squares_first() -> None:
    network = RandomVgg(2, width=4)
    a, b = maps(1, 2, 32, 64)
    small = [nn.functional.avg_pool2d(m, 2) for m in (a, b)]
    assert GenericPerceptualLoss(network, shrink=2)(a, b).item() == GenericPerceptualLoss(network)(*small).item()


def test_maps_of_every_kind() -> None:
    x = maps(2, 3, 4, 5)[0].half()
    assert all(make(x).dtype == torch.float32 for make in MAPS.values())
    torch.testing.assert_close(MAPS["scores"](x).sum(1), torch.ones(2, 4, 5))
    torch.testing.assert_close(MAPS["masks"](x), 1 / (1 + torch.exp(-x.float())))
    assert torch.equal(MAPS["depth"](x), x.float()) and torch.equal(MAPS["image"](x), x.float())
    hot = one_hot_map(torch.tensor([[[0, 2], [9, 1]]]), 3)
    assert hot.tolist() == [[[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [0, 0]]]]


@pytest.mark.parametrize("channels", [1, 3, 11])
def test_mixed_precision_is_close_to_float32(channels: int) -> None:
    """Depth and masks, images, scores. bfloat16 keeps 8 bits; the loss itself is summed in float32."""
    loss = GenericPerceptualLoss(RandomVgg(channels, width=8))
    a, b = (m.float() for m in maps(2, channels, 32, 32))
    exact = loss(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(a.requires_grad_(), b)
    mixed.backward()
    assert mixed.dtype == torch.float32 and mixed.item() == pytest.approx(exact.item(), rel=0.02)
    assert a.grad is not None and bool(a.grad.isfinite().all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": (1, 1, 1, 1)}, r"layout is 5 numbers of at least 1, not \[1, 1, 1, 1\]"),
        ({"layout": (1, 1, 0, 1, 1)}, r"not \[1, 1, 0, 1, 1\]"),
        ({"kernel_size": 4}, "odd kernel, not 64 and 4"),
        ({"width": 0}, "width of at least 1"),
    ],
)
def test_what_makes_no_vgg_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RandomVgg(3, **arguments)  # type: ignore[arg-type]


def test_maps_that_do_not_fit_are_refused() -> None:
    loss = GenericPerceptualLoss(RandomVgg(3, width=4))
    with pytest.raises(UsageError, match=r"at least 16 pixels a side, not \[1, 3, 15, 32\]"):
        loss(torch.zeros(1, 3, 15, 32), torch.zeros(1, 3, 15, 32))
    with pytest.raises(UsageError, match="prediction and target differ"):
        loss(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 32))
    with pytest.raises(UsageError, match="levels are blocks, last, all"):
        GenericPerceptualLoss(RandomVgg(3), "first")
