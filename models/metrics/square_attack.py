"""The Square attack: a random search that needs logits alone, whatever a network's gradients are.

Source: arXiv 1912.00049, algorithms 1 and 2, in the maximum norm. An attack without gradients that does more harm than
one with them is a sign of gradients that mislead (arXiv 1802.00420). Libraries that have it were left aside: they bring
several others with them, or fix the versions of what is installed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adroit.models.data.pixels import Pixels

# Of 10,000 queries, those after which the squares' area is halved; scaled to the number that is allowed.
_HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True)
class SquareAttack:
    """A search of its own for every image.

    Attributes:
        epsilon: the largest change of a pixel value, of 0 to 255. queries: forward passes for an image, at most.
        area: the first squares' share of the image. (Paper: 0.05 to 0.8, by the data; AutoAttack: 0.8.)
    """

    epsilon: float = 8.0
    queries: int = 1000
    area: float = 0.8


def square_side(query: int, attack: SquareAttack, height: int, width: int) -> int:
    """Pixels of a side at query 1, 2 and so on; at least 1, at most the image's shorter side."""
    halvings = sum(query * 10_000 > after * attack.queries for after in _HALVINGS)
    side = round(math.sqrt(attack.area / 2**halvings * height * width))
    return max(1, min(side, height, width))


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """[n]: how far the label's logit is above the largest other one."""
    others = logits.scatter(1, y[:, None], -math.inf)
    return logits.gather(1, y[:, None])[:, 0] - others.amax(1)


def square_attacked(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: SquareAttack,
    pixels: Pixels,
    generator: torch.Generator,
) -> Tensor:
    """Inputs near `x` [N,C,H,W] with the smallest margin found, in the mode that `network` is in; detached.

    Begins with stripes; then squares of each channel move to one border of the ball, and stay where that lowers the
    margin. Images that are wrong already are left as they are.
    """
    count, channels, height, width = x.shape
    reach = attack.epsilon * pixels.unit.to(x)
    low, high = (x - reach).maximum(pixels.low.to(x)), (x + reach).minimum(pixels.high.to(x))

    def signs(*shape: int) -> Tensor:
        return (2.0 * torch.randint(0, 2, shape, generator=generator) - 1.0).to(x)

    with torch.inference_mode():
        best, found = margins(network(x), y), x.clone()
        tried = (x + reach * signs(count, channels, 1, width)).clamp(low, high)
        for query in range(1, attack.queries + 1):
            alive = (best > 0).nonzero()[:, 0]
            if not len(alive):
                break
            margin = margins(network(tried[alive]), y[alive])
            better = alive[margin < best[alive]]
            best[alive] = torch.minimum(margin, best[alive])
            found[better] = tried[better]
            inside = _squares(count, square_side(query, attack, height, width), height, width, generator).to(x.device)
            bordering = (x + reach * signs(count, channels, 1, 1)).clamp(low, high)
            tried = torch.where(inside, bordering, found)
    return found.clone()


def _squares(count: int, side: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """[count,1,height,width] bool: a square anywhere in each."""
    spans = []
    for length in (height, width):
        first = torch.randint(0, length - side + 1, (count, 1), generator=generator)
        places = torch.arange(length)
        spans.append((places >= first) & (places < first + side))
    return (spans[0][:, :, None] & spans[1][:, None, :])[:, None]
