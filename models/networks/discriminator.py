"""IGAM's discriminator of input gradients. Source: arXiv 1912.05699; sizes of the official code."""

from __future__ import annotations

from torch import Tensor, nn

from adroit.errors import UsageError


class GradientDiscriminator(nn.Module):
    """[N,3,H,W] to logits [N,2]: student's or teacher's.

    Each layer is a 4 x 4 convolution of stride 2 (padded by 1: TensorFlow's SAME where sides are even), batch norm
    and leaky ReLU 0.1; a linear layer follows.

    Args:
        size: height and width of the gradients. layers: how often they are halved. base: channels of the first
            layer, doubled by each. (The code has 5 and 16 for CIFAR-10 to CIFAR-100, 4 and 8 for Tiny-ImageNet to
            CIFAR-10.) channels: of the gradients.
        epsilon: of the batch norms, the code's by default (TensorFlow's). The first convolution's variance is about
            1e-4 on gradients of length 1, so it matters: PyTorch's own 1e-5 gives the student another gradient.

    Raises:
        UsageError: sides that cannot be halved so often.
    """

    def __init__(
        self, size: tuple[int, int], layers: int = 5, base: int = 16, channels: int = 3, epsilon: float = 1e-3
    ) -> None:
        super().__init__()
        if layers < 1 or min(size) < 2**layers:
            raise UsageError(
                f"a discriminator of {layers} layers takes sides of at least {2**layers} pixels, "
                f"and gradients are {size[0]} x {size[1]}",
                hint="set fewer discriminator_layers",
            )
        modules: list[nn.Module] = []
        height, width = size
        for layer in range(layers):
            out_channels = base * 2**layer
            modules += [
                nn.Conv2d(channels, out_channels, 4, 2, 1),
                nn.BatchNorm2d(out_channels, eps=epsilon),
                nn.LeakyReLU(0.1),
            ]
            channels, height, width = out_channels, height // 2, width // 2
        self.layers = nn.Sequential(*modules)
        self.fc = nn.Linear(channels * height * width, 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, gradients: Tensor) -> Tensor:
        """Computes logits [N,2] (student, teacher) of input gradients [N,C,H,W]."""
        logits: Tensor = self.fc(self.layers(gradients).flatten(1))
        return logits
