"""BoWNet: a network that predicts, from a perturbed image, the bag of visual words of the clean one.

Source: arXiv 2002.12247, section 3; its official repository holds no code. The teacher (RotNet, or a BoWNet: further
rounds) stays as it is; its feature maps of the clean training images make the vocabulary once. The perturbations are
the recipe's [augmentation]: color jitter, grayscale, crop with scale and aspect, flip; CutMix is recalled from the
paper. Their magnitudes, how many images are mixed, the vocabulary's algorithm and whether words are counted or only
present are unpublished, so each is an option.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn
from torch.nn.utils import parametrize

from adroit.models.training.augmentation import integer, uniform
from adroit.models.training.methods.base import Setup, Teacher, TrainingMethod
from adroit.models.training.methods.clusters import Algorithm, cluster_centers
from adroit.models.training.methods.cutmix import mixed
from adroit.models.training.methods.features import last_linear, maps_of, required_teacher, teacher_batches
from adroit.models.training.methods.visual_words import ScaledUnitRows, bags_of, drawn_locations, words_of
from adroit.models.training.methods.wrapped_task import WrappedTask
from adroit.models.training.tables import Recipe
from adroit.models.training.tasks import Task, device_of
from adroit.validation import NonNegative, PositiveInt, Share


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [bownet].

    Attributes:
        words: K, the vocabulary's size and the network's number of classes.
        layer: of the teacher, whose maps are quantized. (Paper: the last or last but one stage of a ResNet-50.)
        binary: a word is there or not, rather than counted.
        head: "cosine" (weights of length 1 times a learnt scale, no bias) or "linear".
        scale: where that scale starts. (With features of length 8 or so, 10 is too much to learn from.)
        locations: share of all locations, drawn at random, from which the vocabulary is made.
        algorithm, iterations: of k-means.
        cutmix: share of the images into which a part of another, perturbed too, is cut; bags are mixed by area.
    """

    words: Annotated[int, Meta(ge=2)] = 2048
    layer: str = "layer3"
    binary: bool = False
    head: Literal["cosine", "linear"] = "cosine"
    scale: NonNegative = 1.0
    locations: Share = 1.0
    algorithm: Algorithm = "minibatch"
    iterations: PositiveInt = 50
    cutmix: Share = 0.0


class VisualWords(WrappedTask):
    """The inner task's images, whose target is the bag of words [K] (float32, of sum 1) of the clean image.

    Args:
        words, held_out_words: [N,locations] int32, of the training and the held-out images.
        settings: see Settings, for K, `binary` and `cutmix`.
    """

    measure = "of the images held out contain the word that is predicted first"

    def __init__(self, task: Task, words: Tensor, held_out_words: Tensor, settings: Settings) -> None:
        super().__init__(task, [f"word {i}" for i in range(settings.words)])
        self.words, self.held_out_words, self._settings = words, held_out_words, settings

    def sample(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns a perturbed image and the bag of words [K] of the clean one; see Task.sample."""
        own = self._perturbed(index, generator)
        if not self._settings.cutmix or uniform(generator, 0.0, 1.0) >= self._settings.cutmix:
            return own
        return mixed(own, self._perturbed(integer(generator, len(self)), generator), generator)

    def _perturbed(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, _ = self.inner.sample(index, generator)
        return x, bags_of(self.words[index : index + 1], len(self.labels), self._settings.binary)[0]

    def evaluate(self, network: nn.Module) -> float:
        """Share of the held-out images among whose words is the one of the largest logit."""
        network.eval()
        device = device_of(network)
        with torch.inference_mode():
            first = torch.cat([network(x.to(device)).argmax(1).cpu() for x in self.held_out()])
        return float((self.held_out_words == first[:, None]).any(1).double().mean())


class BowNet(TrainingMethod):
    """See VisualWords; during the training the last linear layer is the paper's prediction layer."""

    def __init__(self, settings: Settings, setup: Setup) -> None:
        super().__init__(settings, setup)
        self._linear: tuple[nn.Linear, ...] = ()
        if settings.head == "cosine":
            linear = last_linear(setup.network, setup.recipe.architecture)[1]
            parametrize.register_parametrization(linear, "weight", ScaledUnitRows(settings.scale), unsafe=True)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias.requires_grad_(False))
            self._linear = (linear,)

    @classmethod
    def task(cls, settings: Settings, task: Task, recipe: Recipe, teacher: Teacher | None) -> Task:
        """Makes the vocabulary and the bags of all images by the teacher's maps."""
        teacher = required_teacher(teacher, "bownet", "the network whose feature maps become words")
        generator = torch.Generator().manual_seed(recipe.seed)

        def maps(inputs: Any) -> Any:
            return maps_of(teacher.network, teacher_batches(inputs, task, teacher), settings.layer)

        drawn = drawn_locations(maps(task.training_inputs()), settings.locations, generator)
        vocabulary = cluster_centers(drawn, settings.words, recipe.seed, settings.iterations, settings.algorithm)
        words, held_out_words = (
            torch.cat([words_of(m, vocabulary) for m in maps(inputs)])
            for inputs in (task.training_inputs(), task.held_out())
        )
        return VisualWords(task, words, held_out_words, settings)

    def finish(self, network: nn.Module) -> None:
        """Folds the prediction layer's scale and unit rows into its weight."""
        for linear in self._linear:
            parametrize.remove_parametrizations(linear, "weight", leave_parametrized=True)


METHOD = BowNet
