"""The tables of a recipe, each a frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field

from adroit.models.data.segmentation import READERS
from adroit.models.losses.routing_budget import START, WARM_UP

CLASSIFICATION_SETS = ("digits", "imagenet")
SCHEDULES = ("cosine", "poly", "step", "constant")


@dataclass(frozen=True)
class DataRecipe:
    """Where images come from; `adroit train` can be given the three paths instead.

    Attributes:
        name: "digits" (in scikit-learn); "camvid", "cityscapes" or "voc", whose top folder is
            `folder`; "imagenet", whose `folder` has train and val; "" for DATA paths.
        folder: of a data set, with its splits train and val.
        training, validation: DATA paths (models/data/images.py) for classification.
    """

    name: str = field(default="", metadata={"choices": ("", *CLASSIFICATION_SETS, *READERS)})
    folder: str = ""
    training: str = ""
    validation: str = ""


@dataclass(frozen=True)
class InitialRecipe:
    """Weights to begin with (models/training/initial.py).

    Attributes:
        checkpoint: a folder of the same architecture; "" begins with random weights. `--initial` instead.
        head: "new" begins the tensors that follow the number of classes at random, "kept" takes them too.
        trained: "all", or only the "head": the rest stays as it is, in evaluation mode.
    """

    checkpoint: str = ""
    head: str = field(default="new", metadata={"choices": ("new", "kept")})
    trained: str = field(default="all", metadata={"choices": ("all", "head")})


@dataclass(frozen=True)
class OptimizerRecipe:
    """A first-order method, its rate falling from `learning_rate` over all epochs.

    Attributes:
        batch: images a step, over all processes and accumulated parts together.
        accumulate: parts in which a batch is computed, one after the other, for memory. Adder gradients are
            normalized once a step, of the whole batch's gradient, so that parts change nothing but what
            batch norms see, and rounding.
        schedule: "cosine"; "poly": (1 - share of the steps done)^0.9; "step": a tenth from each of
            `milestones` (epochs) on; "constant".
        warm_up: epochs over which the rate first grows linearly from `warm_up_start` of itself; the
            schedule goes on below it.
        decay_norms: whether weights and biases of batch norms decay too (a routed network's never do).
        backbone_rate: how many times as fast as the rest the parameters named `backbone.` learn.
        clip_gradient: largest norm of all gradients together; 0 does not clip.
        settle_batches: batches of training images over which the batch norms' statistics are taken
            anew at the end; 0 leaves the running ones.
        method: "sgd" with `momentum` (Nesterov's if `nesterov`), or "adamw" with its usual two (0.9 and 0.999).
        precision: "float32", or "bfloat16": products in it, sums, norms and weights in float32. float16
            is not offered: it needs a scaled loss, and adder sums leave its range.
    """

    epochs: int = field(metadata={"least": 1})
    batch: int = field(default=256, metadata={"least": 1})
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = field(default="cosine", metadata={"choices": SCHEDULES})
    clip_gradient: float = 0.0
    settle_batches: int = 0
    method: str = field(default="sgd", metadata={"choices": ("sgd", "adamw")})
    nesterov: bool = False
    milestones: tuple[float, ...] = ()
    warm_up: float = 0.0
    warm_up_start: float = field(default=0.0, metadata={"most": 1.0})
    decay_norms: bool = True
    backbone_rate: float = 1.0
    accumulate: int = field(default=1, metadata={"least": 1})
    precision: str = field(default="float32", metadata={"choices": ("float32", "bfloat16")})


@dataclass(frozen=True)
class AugmentationRecipe:
    """What is done to training images at random (models/training/augmentation.py), in this order.

    Attributes:
        crop_area: for classification: least and largest share of the image's area that is cut out, of an
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

    shift: int = 0
    crop: tuple[int, int] | None = None
    flip: bool = False
    crop_area: tuple[float, ...] = field(default=(), metadata={"count": 2, "most": 1.0})
    short_sides: tuple[float, ...] = field(default=(), metadata={"least": 1})
    scale: tuple[float, ...] = field(default=(), metadata={"count": 2, "least": 0.05})
    brightness: float = field(default=0.0, metadata={"most": 1.0})
    contrast: float = field(default=0.0, metadata={"most": 1.0})
    saturation: float = field(default=0.0, metadata={"most": 1.0})
    hue: float = field(default=0.0, metadata={"most": 0.5})
    color_probability: float = field(default=1.0, metadata={"most": 1.0})
    gray: float = field(default=0.0, metadata={"most": 1.0})


@dataclass(frozen=True)
class RoutingRecipe:
    """What only routed networks have (models/losses/routing_budget.py).

    Attributes:
        budget_weight: lambda; 0 is no budget. budget_target: mu, the wanted share of the full cost.
        budget_start, budget_warm_up: shares of the training, see Budget.
        full_cost: operations of which the target is a share; 0: those of every gate at 1, at the training's size
            (the official code divides by 26.3e9, for 768 x 768 pixels, whatever the size).
        largest_threshold: once the budget has started, half of every batch is computed with gate
            thresholds drawn from [0, largest_threshold), so that the network also learns to do with
            less than it opens; the budget is then of the other half. 0 does not.
        spread_weight: of the loss that spreads the gates, so that thresholds cut cost evenly
            (models/losses/routing_spread.py); 0 is none. Its schedule is the budget's.
        gate_rate_multiplier: how many times faster than the rest the gates learn.
    """

    budget_weight: float = 0.0
    budget_target: float = 0.0
    gate_rate_multiplier: float = 1.0
    budget_start: float = START
    budget_warm_up: float = field(default=WARM_UP, metadata={"least": 1e-6})
    largest_threshold: float = 0.0
    full_cost: float = 0.0
    spread_weight: float = 0.0


@dataclass(frozen=True)
class EvaluationRecipe:
    """What is measured on the images held out.

    Attributes:
        every: epochs from one measurement to the next; the end is always measured.
        shift_consistency: for classification: also measure it (models/metrics/shift_consistency.py).
        crop: height = width of the crops that are compared, in pixels.
        max_offset: offsets are drawn from [0, max_offset).
        margin: pixels of zeros added on each side before; figures with and without do not compare.
    """

    every: int = field(default=1, metadata={"least": 1})
    shift_consistency: bool = False
    crop: int = field(default=224, metadata={"least": 1})
    max_offset: int = field(default=32, metadata={"least": 1})
    margin: int = 0
