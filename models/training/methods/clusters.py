"""k-means over features, by scikit-learn, and the nearest center of each.

Sources: ClusterFit, arXiv 1912.03330; BoWNet, arXiv 2002.12247. Their k-means are faiss's (ClusterFit's reference)
and unpublished (BoWNet); ours are Lloyd's with k-means++ starts, and mini-batches for vocabularies.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from adroit.errors import EnvironmentFault, UsageError

Algorithm = Literal["lloyd", "minibatch"]
_CHUNK = 1 << 16


def normalized_features(features: Tensor, epsilon: float = 1e-5) -> Tensor:
    """[N,D], each of L2 norm 1: ClusterFit's preparation, with its epsilon."""
    return functional.normalize(features, dim=1, eps=epsilon)


def cluster_centers(
    features: Tensor, count: int, seed: int, iterations: int = 50, algorithm: Algorithm = "lloyd"
) -> Tensor:
    """[count,D] float32: the centers of k-means over features [N,D].

    Args:
        iterations: at most; of mini-batches, passes over the data. algorithm: Lloyd's takes all features in each
            iteration.

    Raises:
        UsageError: more clusters than features. EnvironmentFault: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans, MiniBatchKMeans
    except ImportError as error:
        raise EnvironmentFault("scikit-learn is not installed", hint="pip install 'adroit-deploy[train]'") from error
    if not 1 <= count <= len(features):
        raise UsageError(f"{len(features)} features cannot make {count} clusters", hint="set fewer clusters")
    settings = {"n_clusters": count, "random_state": seed, "max_iter": iterations, "n_init": 1}
    method = KMeans(**settings) if algorithm == "lloyd" else MiniBatchKMeans(**settings, batch_size=4096)
    return torch.from_numpy(method.fit(features.numpy()).cluster_centers_).float()


def nearest_center(features: Tensor, centers: Tensor) -> Tensor:
    """[N] int64: for each of features [N,D] the center of [K,D] at the smallest Euclidean distance."""
    squares = centers.square().sum(1)
    parts = [(squares - 2.0 * part @ centers.T).argmin(1) for part in features.split(_CHUNK)]
    return torch.cat(parts)
