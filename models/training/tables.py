"""A recipe and its tables, each a frozen msgspec struct.

What the types cannot say stands in `__post_init__` (one table) and in recipe.py (several).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from adroit.models.data.preprocessing import Preprocessing
from adroit.models.losses.routing_budget import START, WARM_UP
from adroit.validation import Count, ImageSize, NonNegative, PositiveInt, Share

# Keys of version 0.1, by their places, and today's.
OLD_KEYS = {
    "optimizer.settle_batches": "precise_batch_norm",
    "initial.trained": "trainable",
    "self_regulation.normalisation": "normalization",
}

DataName = Literal["", "digits", "imagenet", "camvid", "cityscapes", "voc"]


class NetworkRecipe(Struct, frozen=True, forbid_unknown_fields=True):
    """A network of the user's own, in place of `architecture`. Its arguments are the recipe's `arguments`.

    Attributes:
        factory: what gives the torch.nn.Module: "package.module:callable" (the current folder is on Python's path), or
            "file.py:callable", relative to the recipe. An argument `classes` or `num_classes` is its number of classes.
        input_size: height and width in pixels that it is made for. any_size: whether others work too.
        task: what its logits mean: [N,classes] of an image, or [N,classes,H,W] of its pixels.
        preprocessing: how images become its input; pixels from 0 to 1 if not given.
    """

    factory: str
    input_size: ImageSize
    any_size: bool = False
    task: Literal["classification", "segmentation"] = "classification"
    preprocessing: Preprocessing = Preprocessing()


class DataRecipe(Struct, frozen=True, forbid_unknown_fields=True):
    """Where images come from; `adroit train` can be given the three paths instead.

    Attributes:
        name: "digits" (in scikit-learn); "camvid", "cityscapes" or "voc", whose top folder is
            `folder`; "imagenet", whose `folder` has train and val; "" for DATA paths.
        folder: of a data set, with its splits train and val.
        training, validation: DATA paths (models/data/images.py) for classification.
    """

    name: DataName = ""
    folder: str = ""
    training: str = ""
    validation: str = ""


class InitialRecipe(Struct, frozen=True, forbid_unknown_fields=True):
    """The weights that a training begins with (models/training/initial.py).

    Attributes:
        checkpoint: a folder of the same architecture; "" begins with random weights. `--initial` instead.
        head: "new" begins the tensors that follow the number of classes at random, "kept" loads them too.
        trainable: "all", or only the "head": the rest stays as it is, in evaluation mode.
    """

    checkpoint: str = ""
    head: Literal["new", "kept"] = "new"
    trainable: Literal["all", "head"] = "all"


class OptimizerRecipe(Struct, frozen=True, forbid_unknown_fields=True):
    """A first-order method, its rate falling from `learning_rate` over all epochs.

    Attributes:
        batch: images a step, over all processes and accumulated parts together.
        accumulate: parts in which a batch is computed, one after the other, to save memory. Adder gradients
            are normalized once a step, from the whole batch's gradient, so that parts change only what
            batch norms see, and rounding.
        schedule: "cosine"; "poly": (1 - share of the steps done)^0.9; "step": a tenth from each of
            `milestones` (epochs) on; "constant".
        warm_up: epochs over which the rate first grows linearly from `warm_up_start` of itself; the
            schedule goes on below it.
        decay_norms: whether weights and biases of batch norms decay too (a routed network's never do).
        backbone_rate: how many times as fast as the rest the parameters named `backbone.` learn.
        clip_gradient: maximum norm of all gradients together; 0 does not clip.
        precise_batch_norm: batches of training images over which the batch norms' statistics are recomputed
            at the end; 0 leaves the running ones.
        method: "sgd" with `momentum` (Nesterov's if `nesterov`), or "adamw" with its usual two (0.9 and 0.999).
        precision: "float32", or "bfloat16": products in it, sums, norms and weights in float32. float16
            is not offered: it needs a scaled loss, and adder sums leave its range.
    """

    epochs: PositiveInt
    batch: PositiveInt = 256
    learning_rate: NonNegative = 0.1
    momentum: NonNegative = 0.9
    weight_decay: NonNegative = 5e-4
    schedule: Literal["cosine", "poly", "step", "constant"] = "cosine"
    clip_gradient: NonNegative = 0.0
    precise_batch_norm: Count = 0
    method: Literal["sgd", "adamw"] = "sgd"
    nesterov: bool = False
    milestones: tuple[NonNegative, ...] = ()
    warm_up: NonNegative = 0.0
    warm_up_start: Share = 0.0
    decay_norms: bool = True
    backbone_rate: NonNegative = 1.0
    accumulate: PositiveInt = 1
    precision: Literal["float32", "bfloat16"] = "float32"


class AugmentationRecipe(Struct, frozen=True, forbid_unknown_fields=True):
    """Random changes to training images (models/training/augmentation.py), in this order.

    Attributes:
        crop_area: for classification: minimum and maximum share of the image's area that is cut out, of an
            aspect ratio from 3/4 to 4/3, and resized to the input (GoogLeNet's crop); [] does not.
        short_sides: for segmentation: image and labels are first resized to a shorter side drawn from these.
        scale: for segmentation: or by a factor drawn from this range.
        shift: for classification: up to this many pixels each way; black moves in.
        crop: for segmentation: height and width in pixels of a part of the image; where the image is
            smaller, zeros that count for nothing are added.
        flip: horizontally, half the images.
        brightness, contrast, saturation: each is multiplied by a factor drawn from 1 - value to 1 + value.
        hue: turned by a share of the circle drawn from -hue to hue.
        color_probability: the share of images to which the four above are done.
        gray: the share of images that lose their colors.
    """

    shift: Count = 0
    crop: ImageSize | None = None
    flip: bool = False
    crop_area: tuple[Share, ...] = ()
    short_sides: tuple[Annotated[float, Meta(ge=1, le=65535)], ...] = ()
    scale: tuple[Annotated[float, Meta(ge=0.05, le=100)], ...] = ()
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    hue: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.0
    color_probability: Share = 1.0
    gray: Share = 0.0

    def __post_init__(self) -> None:
        for name, limits in (("crop_area", self.crop_area), ("scale", self.scale)):
            if len(limits) not in (0, 2):
                raise ValueError(f"{name} must have 2 numbers, and has {len(limits)}")
        if self.scale and self.short_sides:
            raise ValueError("scale excludes short_sides")


class RoutingRecipe(Struct, frozen=True, forbid_unknown_fields=True):
    """What only routed networks have (models/losses/routing_budget.py).

    Attributes:
        budget_weight: lambda; 0 is no budget. budget_target: mu, the target share of the full cost.
        budget_start, budget_warm_up: shares of the training, see BudgetSchedule.
        full_cost: operations of which the target is a share; 0: those of every gate at 1, at the training's size
            (the official code divides by 26.3e9, for 768 x 768 pixels, whatever the size).
        largest_threshold: once the budget has started, half of every batch is computed with gate
            thresholds drawn from [0, largest_threshold), so that the network also learns to do with
            less than it opens; the budget is then of the other half. 0 does not.
        spread_weight: of the loss that spreads the gates, so that thresholds cut cost evenly
            (models/losses/routing_spread.py); 0 is none. Its schedule is the budget's.
        gate_rate_multiplier: how many times faster than the rest the gates learn.
    """

    budget_weight: NonNegative = 0.0
    budget_target: NonNegative = 0.0
    gate_rate_multiplier: NonNegative = 1.0
    budget_start: NonNegative = START
    budget_warm_up: Annotated[float, Meta(ge=1e-6, le=1e6)] = WARM_UP
    largest_threshold: NonNegative = 0.0
    full_cost: NonNegative = 0.0
    spread_weight: NonNegative = 0.0


class EvaluationRecipe(Struct, frozen=True, forbid_unknown_fields=True):
    """What is measured on the images held out.

    Attributes:
        every: epochs from one measurement to the next; the end is always measured.
        shift_consistency: for classification: also measure it (models/metrics/shift_consistency.py).
        crop: height = width of the crops that are compared, in pixels.
        max_offset: offsets are drawn from [0, max_offset).
        margin: pixels of zeros added on each side before; figures with and without do not compare.
    """

    every: PositiveInt = 1
    shift_consistency: bool = False
    crop: PositiveInt = 224
    max_offset: PositiveInt = 32
    margin: Count = 0


class RecipeTables(Struct, frozen=True, forbid_unknown_fields=True):
    """All of a recipe file but the tables of methods; see Recipe."""

    architecture: str
    data: DataRecipe
    optimizer: OptimizerRecipe
    seed: Count = 0
    arguments: dict[str, Any] = {}
    augmentation: AugmentationRecipe = AugmentationRecipe()
    routing: RoutingRecipe = RoutingRecipe()
    evaluation: EvaluationRecipe = EvaluationRecipe()
    initial: InitialRecipe = InitialRecipe()
    teacher: str = ""
    network: NetworkRecipe | None = None


class Recipe(RecipeTables, frozen=True, forbid_unknown_fields=True):
    """Everything that decides the trained weights, with the seed.

    Attributes:
        architecture: a name of `adroit list networks`, or the `factory` of `network`; `arguments` are its builder's.
        teacher: a finished checkpoint's folder, for the methods that learn from one.
        methods: the `Settings` of each method whose table the file has, by name (models/training/methods).
    """

    methods: Mapping[str, Any] = {}

    def with_overrides(
        self,
        folder: str = "",
        training: str = "",
        validation: str = "",
        seed: int | None = None,
        teacher: str = "",
        initial: str = "",
    ) -> Recipe:
        """Replaces data of the same kind, checkpoints and seed; "" and None leave what the recipe says."""
        paths = {"folder": folder, "training": training, "validation": validation}
        return replace(
            self,
            data=replace(self.data, **{name: path for name, path in paths.items() if path}),
            initial=replace(self.initial, checkpoint=initial or self.initial.checkpoint),
            teacher=teacher or self.teacher,
            seed=self.seed if seed is None else seed,
        )
