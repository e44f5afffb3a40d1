"""Random small networks of adroit's and ordinary layers, the same for a seed on every machine.

A network is a list of steps, each a module that reads earlier values, often one that was read before. The values are
computed while it is made: so shapes are known, batch norms get statistics near those of what they see, and a layer
whose values are all the same or too large is not taken.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable

import torch
from torch import nn

from adroit.nn import AdaptiveAntiAlias, AdderConv2d, BinomialFilter
from tests.deploy.passes.random_layers import (
    Apply,
    Branching,
    ChannelLast,
    Flat,
    GatedByImage,
    Head,
    SqueezeExcite,
    WithConstant,
)
from tests.deploy.passes.random_maker import Maker, Place, RandomNetwork


def random_network(seed: int, steps: int = 6) -> RandomNetwork:
    """A network in evaluation mode, float32, of an image [N,3,H,W]; one or two outputs.

    Args:
        steps: how many are tried; a compound of them counts once.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        return _Steps(random.Random(seed)).network(steps)


class _Steps(Maker):
    """The steps that networks are made of."""

    def network(self, steps: int) -> RandomNetwork:
        start = self.conv_or_adder(self.places[0])
        self.norm(start or self.places[0])
        kinds: list[tuple[int, Callable[[Place], Place | None]]] = [
            (8, self.adder_block),
            (4, self.conv_block),
            (2, self.activation),
            (2, self.norm),
            (3, self.constant),
            (2, self.resample),
            (3, self.residual),
            (2, self.called_again),
            (3, self.composed),
        ]
        weights = [weight for weight, _ in kinds]
        for _ in range(steps):
            ((_, make),) = self.choose.choices(kinds, weights)
            make(self.recent())
        return self.finish()

    def finish(self) -> RandomNetwork:
        last = self.places[-1]
        outputs = [last]
        if self.choose.random() < 0.7:
            head = self.add(Head(last[1].shape[1], self.flip(), self.choose.choice([1.0, 0.1])), last)
            outputs = [head or last]
        if self.choose.random() < 0.5:  # often a value in the middle of what could be fused
            outputs.append(self.choose.choice(self.places[1:]))
        self.made.outputs = list(dict.fromkeys(index for index, _ in outputs))
        return self.made.eval()

    def conv_or_adder(self, place: Place) -> Place | None:
        return self.adder(place) if self.flip() else self.conv(place)

    def adder(self, place: Place, channels: int = 0, stride: int = 0) -> Place | None:
        filters = channels or self.choose.choice([4, 6, 8])
        kernel = self.choose.choice([1, 3, 3])
        stride = stride or self.choose.choice([1, 1, 2])
        return self.add(AdderConv2d(place[1].shape[1], filters, kernel, stride, kernel // 2, bias=self.flip()), place)

    def adder_block(self, place: Place) -> Place | None:
        """An adder convolution, then some of: constants, a norm, a sum, a ReLU, in any order."""
        same = self.flip()
        after: list[Callable[[Place], Place | None]] = [self.norm, self.constant, self.residual, self.relu]
        current = self.adder(place, place[1].shape[1], 1) if same else self.adder(place)
        follow = [self.norm, self.residual, self.relu] if self.flip() else self.choose.choices(after, k=3)
        for make in follow:
            current = current and make(current)
            if current and self.choose.random() < 0.1:
                self.activation(current)  # a second reader
        return current

    def conv(self, place: Place) -> Place | None:
        channels = place[1].shape[1]
        groups = self.choose.choice([1, 1, 2, channels])
        groups = groups if channels % groups == 0 else 1
        filters = groups * self.choose.choice([1, 2, 3])
        kind, bias = self.choose.choice(["plain", "plain", "dilated", "same", "transposed", "reflect"]), self.flip()
        if kind == "transposed":
            size, padding, extra = self.choose.choice([(2, 0, 0), (3, 1, 1), (3, 0, 0)])
            module: nn.Module = nn.ConvTranspose2d(
                channels, filters, size, 2, padding, output_padding=extra, groups=groups, bias=bias
            )
        elif kind == "plain":
            size, stride = self.choose.choice([(1, 1), (3, 1), (3, 2), (5, 2)])
            module = nn.Conv2d(channels, filters, size, stride, size // 2, groups=groups, bias=bias)
        elif kind == "dilated":
            module = nn.Conv2d(channels, filters, 3, padding=2, dilation=2, groups=groups, bias=bias)
        elif kind == "same":
            module = nn.Conv2d(channels, filters, (1, 3), padding="same", groups=groups, bias=bias)
        else:
            mode = self.choose.choice(["reflect", "replicate", "circular"])
            module = nn.Conv2d(channels, filters, 3, padding=1, padding_mode=mode, groups=groups, bias=bias)
        return self.add(module, place)

    def conv_block(self, place: Place) -> Place | None:
        current = self.conv(place)
        for make in self.choose.choices([self.norm, self.constant, self.relu, self.residual], k=2):
            current = current and make(current)
        return current

    def norm(self, place: Place) -> Place | None:
        channels = place[1].shape[1]
        kinds: list[Callable[[], nn.Module]] = [
            *[lambda: nn.BatchNorm2d(channels)] * 6,
            lambda: nn.BatchNorm2d(channels, affine=False),
            lambda: nn.BatchNorm2d(channels, eps=0.1),
            lambda: nn.BatchNorm2d(channels, track_running_stats=False),
            lambda: nn.GroupNorm(1, channels),
        ]
        if place[1][0, 0].numel() > 1:
            kinds.append(lambda: nn.InstanceNorm2d(channels, affine=True))
            kinds.append(lambda: nn.InstanceNorm2d(channels, affine=True, track_running_stats=True))
        return self.add(self.choose.choice(kinds)(), place)

    def relu(self, place: Place) -> Place | None:
        return self.add(
            self.choose.choice([nn.ReLU(), nn.ReLU(), nn.Hardtanh(0.0, 1.0), Apply(lambda x: x.clamp(min=0))]), place
        )

    def activation(self, place: Place) -> Place | None:
        channels = place[1].shape[1]
        kinds = [nn.ReLU(), nn.SiLU(), nn.GELU(), nn.Hardswish(), nn.ELU(), nn.LeakyReLU(0.2), nn.PReLU(channels)]
        return self.add(self.choose.choice([*kinds, nn.Tanh(), Apply(lambda x: x.clamp(-1.0, 2.0))]), place)

    def constant(self, place: Place) -> Place | None:
        """Arithmetic with a constant: a channel's, an image's, a row's, a scalar; or one that fuses nowhere."""
        _, c, h, w = place[1].shape
        shape = self.choose.choice(
            [(c, 1, 1), (1, c, 1, 1), (c, 1, 1), (), (1,), (1, 1, 1), (1, c, h, w), (w,), (h, 1)]
        )
        function = self.choose.choice([operator.add, operator.sub, operator.mul, operator.truediv])
        # Division by values near 0 would enlarge rounding without a bound.
        first = function is not operator.truediv and self.flip()
        return self.add(WithConstant(function, torch.rand(shape) + 0.5, first), place)

    def resample(self, place: Place) -> Place | None:
        channels, smallest = place[1].shape[1], min(place[1].shape[2:])
        if smallest < 3:
            return self.add(nn.Upsample(scale_factor=2, mode="nearest"), place)
        groups = 2 if channels % 2 == 0 else 1
        kinds = [
            nn.MaxPool2d(3, 2, 1),
            nn.AvgPool2d(3, 2, 1, count_include_pad=self.flip()),
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            BinomialFilter(self.choose.choice([channels, None]), 3, 2),
            AdaptiveAntiAlias(channels, 3, self.choose.choice([1, 2]), groups),
        ]
        return self.add(self.choose.choice(kinds), place)

    def residual(self, place: Place) -> Place | None:
        """A sum or a concatenation with an earlier value that fits, or with one that is made to fit."""
        _, channels, *size = place[1].shape
        others = [
            other
            for other in self.places
            if all(b in (1, a) for a, b in zip(place[1].shape[1:], other[1].shape[1:], strict=True))
        ]
        kind = self.choose.choice(["any", "any", "pooled", "row", "project", "concatenate"])
        other: Place | None = self.choose.choice(others)
        if kind == "pooled":
            source = self.choose.choice([p for p in self.places if p[1].shape[1] == channels])
            other = self.add(Apply(lambda x: x.mean((2, 3), keepdim=True)), source)
        elif kind == "row":
            source = self.choose.choice([p for p in self.places if list(p[1].shape[2:]) == size])
            other = self.add(Apply(lambda x: x.amax(1, keepdim=True)), source)
        elif kind == "project":
            source = self.choose.choice(self.places)
            projected = (
                self.adder(source, channels, 1)
                if self.flip()
                else self.add(nn.Conv2d(source[1].shape[1], channels, 1), source)
            )
            normed = projected and self.norm(projected)
            other = normed and self.add(nn.Upsample(size=tuple(size)), normed)
        if other is None:
            return None
        pair = [place, other] if self.flip() else [other, place]
        if kind == "concatenate" and place[1].shape[2:] == other[1].shape[2:] and channels < 10:
            return self.add(Apply(lambda *values: torch.cat(values, 1)), *pair)
        return self.add(Apply(operator.add), *pair)

    def called_again(self, place: Place) -> Place | None:
        """A module on another value, or a convolution that shares another one's weight."""
        fits = [
            (index, module)
            for index, module in enumerate(self.made.steps)
            if getattr(module, "weight", None) is not None
            and module.weight.dim() == 4
            and not isinstance(module, nn.ConvTranspose2d)
            and module.weight.shape[1] * getattr(module, "groups", 1) == place[1].shape[1]
        ]
        if not fits or min(place[1].shape[2:]) < 3:
            return None
        index, module = self.choose.choice(fits)
        if self.flip():
            return self.call(index, place)
        if isinstance(module, AdderConv2d):
            filters, channels, kernel, _ = module.weight.shape
            twin: nn.Module = AdderConv2d(channels, filters, kernel, self.choose.choice([1, 2]), kernel // 2)
        else:
            filters, channels, *size = module.weight.shape
            twin = nn.Conv2d(channels * module.groups, filters, size, groups=module.groups, bias=self.flip())
        twin.weight = module.weight
        made = self.add(twin, place)
        return made and self.norm(made)

    def composed(self, place: Place) -> Place | None:
        channels = place[1].shape[1]
        if channels < 2:
            return None
        kinds: list[Callable[[], Place | None]] = [
            lambda: self.add(SqueezeExcite(channels, self.choose.choice([nn.Sigmoid(), nn.Hardsigmoid()])), place),
            lambda: self.add(GatedByImage(channels), place),
            lambda: self.add(Branching(channels, self.flip()), place, place),
            lambda: self.add(Flat(channels, self.choose.choice([1, 3]), self.flip()), place),
            lambda: self.add(ChannelLast(channels), place),
        ]
        return self.choose.choice(kinds)()
