"""IGAM: a student whose input gradients a discriminator cannot tell from a robust teacher's.

Source: arXiv 1912.05699, section 3. The teacher is trained by [adversarial_training] on its own task, then its logit
layer alone on the student's (`[initial] trainable = "head"`); both are recipes of their own. The defaults are the
paper's form; where the official code differs, a field gives the code's.

loss = cross entropy - beta * the discriminator's + gamma * squared distance of the gradients, the last two in the last
part of the training only. Input gradients are by pixel values of 0 to 255, as the code's: gamma's size depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from msgspec import Struct
from torch import Tensor, nn

from adroit.errors import UsageError
from adroit.models.data.pixels import Pixels
from adroit.models.losses.input_gradients import NORM_FLOOR, discriminator_loss, gradient_difference, input_gradient
from adroit.models.networks.architectures import architecture_named, class_argument
from adroit.models.networks.discriminator import GradientDiscriminator
from adroit.models.training.methods.adversarial_training import check_classifies
from adroit.models.training.methods.base import Setup, Step, TrainingMethod
from adroit.models.training.methods.features import required_teacher, teacher_size
from adroit.models.training.methods.size_matching import Matching, TeacherInput
from adroit.models.training.optimizer import rate_factor
from adroit.models.training.synchronized_norm import synchronize_norms
from adroit.models.training.tasks import device_of
from adroit.validation import NonNegative, Positive, PositiveInt, Share


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [igam].

    Attributes:
        beta, gamma: weights of the discriminator's term and of the difference's. (CIFAR-10 to CIFAR-100: 2 and 10.)
        start: the share of the training before which both are off. (Code: 280,000 of 320,000 steps.)
        gradient: of the "loss" (paper), or of the true class's "probability" (code).
        difference: "mean" over the images, or their "sum" (code, of 32 images: its weight grows with the batch).
        noise: pixel values up to which uniform noise is added to the student's images. (CIFAR-10 to CIFAR-100: 8.)
        matching: how the student's images get the teacher's size: "resize", "crop" or "pad".
        discriminator_layers, discriminator_base, discriminator_epsilon: see GradientDiscriminator.
        gradient_floor: see normalized_gradient. The paper names neither it nor the epsilon: both are the code's.
        discriminator_every: the discriminator learns in one of so many steps (of accumulated parts, from the last).
        discriminator_rate, discriminator_decay: its learning rate (0: the student's), falling alike, and weight decay.
    """

    beta: NonNegative = 2.0
    gamma: NonNegative = 10.0
    start: Share = 0.875
    gradient: Literal["loss", "probability"] = "loss"
    difference: Literal["mean", "sum"] = "mean"
    noise: NonNegative = 0.0
    matching: Matching = "resize"
    discriminator_layers: PositiveInt = 5
    discriminator_base: PositiveInt = 16
    discriminator_epsilon: Positive = 1e-3
    gradient_floor: Positive = NORM_FLOOR
    discriminator_every: PositiveInt = 5
    discriminator_rate: NonNegative = 0.0
    discriminator_decay: NonNegative = 2e-4


class Igam(TrainingMethod):
    """The student's two further terms, and the discriminator's training.

    Raises:
        UsageError: no teacher, or one of other classes; sizes that do not match.
    """

    steps: Tensor

    def __init__(self, settings: Settings, setup: Setup) -> None:
        super().__init__(settings, setup)
        check_classifies(setup, "igam")
        teacher = required_teacher(setup.teacher, "igam", "a robust network with a logit layer for this task")
        self._settings, self._recipe, task = settings, setup.recipe.optimizer, setup.task
        self._teacher = (teacher.network,)  # in a tuple: its weights are no state of this training
        self._pixels = Pixels(task.preprocessing)
        own = Pixels(teacher.config.preprocessing)
        size = teacher_size(task, teacher)
        self._to_teacher = TeacherInput(self._pixels, own, size, settings.matching)
        self._check_teacher(teacher.network, setup)
        self.discriminator = GradientDiscriminator(
            task.input_size,
            settings.discriminator_layers,
            settings.discriminator_base,
            len(self._pixels.unit),
            settings.discriminator_epsilon,
        )
        synchronize_norms(self.discriminator)
        # Without gradient but in its own step, so that the student's loss leaves it alone.
        self.discriminator.requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._rate = settings.discriminator_rate or self._recipe.learning_rate
        parameters, decay = self.discriminator.parameters(), settings.discriminator_decay
        self._optimizer = torch.optim.SGD(parameters, self._rate, self._recipe.momentum, weight_decay=decay)
        self._gradients: tuple[Tensor, Tensor] | None = None

    def _check_teacher(self, teacher: nn.Module, setup: Setup) -> None:
        x = torch.zeros(1, len(self._pixels.unit), *setup.task.input_size, device=device_of(teacher))
        with torch.inference_mode():
            own = teacher(self._to_teacher(x)).shape[1]
        _, requested = class_argument(architecture_named(setup.recipe.architecture), setup.recipe.arguments)
        if own != requested:
            raise UsageError(
                f"the teacher has {own} classes, and the student {requested}",
                hint='train its logit layer on this task first: [initial] head = "new", trainable = "head"',
            )

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """The discriminator's."""
        return (self._optimizer,)

    def inputs(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Adds noise to x [n,C,H,W], if the settings say so, and lets a gradient flow to it."""
        if self._settings.noise:
            reach = self._settings.noise * self._pixels.unit.to(x)
            noise = (2.0 * torch.rand(x.shape) - 1.0).to(x) * reach
            x = torch.minimum(torch.maximum(x + noise, self._pixels.low.to(x)), self._pixels.high.to(x))
        return x.detach().requires_grad_()

    def loss(self, step: Step) -> Tensor | None:
        """The difference of the input gradients minus the discriminator's loss; None before `start`."""
        self._gradients = None
        if step.progress < self._settings.start:
            return None
        kind = self._settings.gradient
        unit = self._pixels.unit.to(step.x)
        student = unit * input_gradient(step.logits.float(), step.x, step.y, kind, create_graph=True)
        x = step.x.detach().requires_grad_()
        teacher = unit * input_gradient(self._teacher[0](self._to_teacher(x)).float(), x, step.y, kind)
        self._gradients = (student.detach(), teacher)
        # A sum is of the whole step's images, of which the loop takes the mean over its parts and processes.
        images = self._recipe.batch if self._settings.difference == "sum" else 1
        difference = self._settings.gamma * images * gradient_difference(student, teacher)
        return difference - self._settings.beta * self._discriminator_loss(student, teacher)

    def _discriminator_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return discriminator_loss(self.discriminator, student, teacher, self._settings.gradient_floor)

    def after_step(self, step: Step) -> None:
        """Trains the discriminator in every `discriminator_every`th step."""
        if self._gradients is None:
            return
        if int(self.steps) % self._settings.discriminator_every == 0:
            self._train_discriminator(*self._gradients, step.progress)
        self.steps += 1

    def _train_discriminator(self, student: Tensor, teacher: Tensor, progress: float) -> None:
        self._optimizer.param_groups[0]["lr"] = self._rate * rate_factor(self._recipe, progress)
        parameters = list(self.discriminator.requires_grad_().parameters())
        gradients = torch.autograd.grad(self._discriminator_loss(student, teacher), parameters)
        self.discriminator.requires_grad_(False)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if torch.distributed.is_initialized():  # the loop's wrapper does this for the network's alone
                torch.distributed.all_reduce(gradient)
                gradient = gradient / torch.distributed.get_world_size()
            parameter.grad = gradient
        self._optimizer.step()
        self._optimizer.zero_grad()


METHOD = Igam
