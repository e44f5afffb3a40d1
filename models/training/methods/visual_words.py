"""Bags of visual words: what BoWNet makes of feature maps, and the layer that predicts it.

Source: BoWNet, arXiv 2002.12247, section 3. There is no official code; the prediction layer's form is recalled from
the paper (see `ScaledUnitRows`).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from adroit.models.training.methods.clusters import nearest_center


def locations(maps: Tensor) -> Tensor:
    """[N,C,h,w] to [N * h * w, C]: a vector for every location."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def drawn_locations(maps: Iterable[Tensor], share: float, generator: torch.Generator) -> Tensor:
    """[M,C]: about `share` of all locations' vectors of maps [n,C,h,w], at random, for a vocabulary."""
    parts = []
    for part in maps:
        vectors = locations(part)
        parts.append(vectors[torch.rand(len(vectors), generator=generator) < share])
    return torch.cat(parts)


def words_of(maps: Tensor, vocabulary: Tensor) -> Tensor:
    """[N,h*w] int32: the word of [K,C] nearest to every location of maps [N,C,h,w]."""
    return nearest_center(locations(maps), vocabulary).view(len(maps), -1).int()


def bags_of(words: Tensor, count: int, binary: bool = False) -> Tensor:
    """[N,K] float32 of sum 1: how often (or, `binary`, whether) each of `count` words is among words [N,locations]."""
    bags = torch.zeros(len(words), count)
    bags.scatter_add_(1, words.long(), torch.ones(words.shape))
    if binary:
        bags = (bags > 0).float()
    return functional.normalize(bags, p=1, dim=1)


class ScaledUnitRows(nn.Module):
    """A parametrization of a linear layer's weight [K,D]: rows of L2 norm 1, times one learnt scale.

    BoWNet's prediction layer. Norms of the weights would follow how frequent words are, and frequent words tell
    least. The scale's start is unpublished.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the weight [K,D] that the layer uses."""
        return self.scale * functional.normalize(weight, dim=1)
