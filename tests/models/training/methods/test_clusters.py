"""k-means: known clusters are recovered, the nearest center is by definition, and what cannot be is refused."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from adroit.errors import UsageError
from adroit.models.training.methods.clusters import Algorithm, cluster_centers, nearest_center, normalized_features


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
def test_separate_clusters_are_found_whatever_the_seed(algorithm: str) -> None:
    truth = 10.0 * torch.eye(4)
    generator = torch.Generator().manual_seed(0)
    features = truth.repeat(50, 1) + 0.1 * torch.randn(200, 4, generator=generator)
    for seed in range(3):
        centers = cluster_centers(features, 4, seed, algorithm=algorithm)
        order = nearest_center(truth, centers)
        assert sorted(order.tolist()) == [0, 1, 2, 3]
        torch.testing.assert_close(centers[order], truth, rtol=0.0, atol=0.2)


def test_the_same_seed_gives_the_same_centers() -> None:
    features = torch.randn(300, 8, generator=torch.Generator().manual_seed(1))
    one, same, other = (cluster_centers(features, 20, seed) for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_the_nearest_center_is_of_the_smallest_distance() -> None:
    features, centers = torch.randn(2, 70, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = (features[:, None] - centers[None, :20]).square().sum(2).argmin(1)
    assert torch.equal(nearest_center(features, centers[:20]), expected)


def test_normalized_features_are_of_length_1_but_for_0() -> None:
    features = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-7, 0.0]])
    torch.testing.assert_close(normalized_features(features), torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.01, 0.0]]))


def test_more_clusters_than_features_are_refused() -> None:
    with pytest.raises(UsageError, match="3 features cannot make 4 clusters"):
        cluster_centers(torch.zeros(3, 2), 4, 0)
