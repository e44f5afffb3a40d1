"""Options of `adroit export` for a network of a user's own, and how their texts are read."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adroit import files
from adroit.errors import UsageError

if TYPE_CHECKING:
    from adroit.models.data.preprocessing import Preprocessing

Channels = Literal["rgb", "bgr", "gray"]

WeightsFile = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="Weights to load: .pth, .pt or .safetensors.")
]
WeightsKey = Annotated[
    str | None,
    typer.Option(
        "--weights-key", metavar="KEY", help="The table of the file that holds the weights, where it has several."
    ),
]
NetworkArgument = Annotated[
    list[str] | None,
    typer.Option("--argument", metavar="NAME=VALUE", help="Of the callable, as classes=10; repeat for several."),
]
ImageSizeText = Annotated[
    str | None,
    typer.Option("--size", metavar="HEIGHTxWIDTH", help="Pixels of a typical image; the crop's if not given."),
]
FixedSize = Annotated[bool, typer.Option("--fixed-size", help="The model takes that size alone.")]
TaskName = Annotated[
    Literal["classification", "segmentation", "depth", "tensors"] | None,
    typer.Option(
        "--task",
        help="What the first output means: classification [N,classes] (default for one such output), segmentation"
        " [N,classes,H,W], depth [N,1,H,W]; else tensors.",
    ),
]
LabelsFile = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="Text file with one class name a line.")
]
ChannelOrder = Annotated[Channels | None, typer.Option("--channels", help="What the network takes; rgb if not given.")]
ResizeText = Annotated[
    str | None,
    typer.Option(
        "--resize",
        metavar="SIDE|HEIGHTxWIDTH|keep",
        help="Images are resized: the shorter side, or both; a classifier's to --size if not given.",
    ),
]
CropText = Annotated[
    str | None, typer.Option("--crop", metavar="SIDE|HEIGHTxWIDTH", help="Then cut from the center to this.")
]
MeanText = Annotated[
    str | None,
    typer.Option("--mean", metavar="A,B,C", help="Subtracted from pixels of 0 to 1, by channel; 0 if not given."),
]
StdText = Annotated[str | None, typer.Option("--std", metavar="A,B,C", help="Then divided by; 1 if not given.")]
NamedInputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=DIMS[:DTYPE]",
        help="For a network that takes no image: an input, without the batch, as state=4 or tokens=Lx16 (letters are"
        " free); repeat in the order of its arguments.",
    ),
]
UsualDimensions = Annotated[
    list[str] | None,
    typer.Option(
        "--dimension", metavar="NAME=SIZE", help="What a free dimension of --input usually is; 16 if not given."
    ),
]
NoAdopt = Annotated[bool, typer.Option("--no-adopt", help="Leave layers of public code as they are.")]


def read_resize(text: str | None) -> tuple[int, int] | int | str | None:
    """As `read_sides`, or the word that keeps images as they are."""
    return text if text == "keep" else read_sides("resize", text)


def read_sides(option: str, text: str | None) -> tuple[int, int] | int | None:
    """SIDE or HEIGHTxWIDTH; raises UsageError for text that is neither."""
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5})?", text):
        raise UsageError(f"--{option} {text}: give pixels as 224 or 224x320 (height x width)")
    sides = [int(part) for part in text.split("x")]
    return (sides[0], sides[1]) if len(sides) == 2 else sides[0]


def read_square(option: str, text: str | None) -> tuple[int, int] | None:
    """As `read_sides`, where one side stands for both."""
    sides = read_sides(option, text)
    return (sides, sides) if isinstance(sides, int) else sides


def read_preprocessing(
    channels: Channels | None, resize: str | None, crop: str | None, mean: str | None, std: str | None
) -> Preprocessing | None:
    """The steps that the options ask for; None without any.

    Raises:
        UsageError: an option that cannot be read, or numbers that are not one for each channel.
    """
    from adroit.models.data.preprocessing import Preprocessing

    if channels is None and resize is None and crop is None and mean is None and std is None:
        return None
    count = 1 if channels == "gray" else 3
    return Preprocessing.from_json(
        {
            "channels": channels or "rgb",
            "resize": read_resize(resize),
            "crop": read_square("crop", crop),
            "mean": _numbers("mean", mean) or [0.0] * count,
            "std": _numbers("std", std) or [1.0] * count,
        },
        "the options",
    )


def read_labels(path: Path | None) -> list[str]:
    """The lines of a text file, without spaces and empty lines around them; empty without one.

    Raises:
        UsageError: a file that cannot be read, without a label, or with an empty line between labels.
    """
    if path is None:
        return []
    lines = [line.strip() for line in files.read_text(path, "the file of labels").strip().splitlines()]
    if not all(lines):
        number = len(lines) and lines.index("") + 1
        raise UsageError(
            f"the file of labels {path} has " + (f"an empty line, number {number}" if number else "no label"),
            hint="write one name a line, in the order of the classes",
        )
    return lines


def read_argument(text: str) -> tuple[str, Any]:
    """NAME=VALUE of the command line; VALUE is a number, true, false, none, a list, or else text.

    Raises:
        UsageError: text without a name or `=`.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--argument {text}: give NAME=VALUE")
    word = {"true": True, "false": False, "none": None}
    if value.lower() in word:
        return name, word[value.lower()]
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def read_dimension(text: str) -> tuple[str, int]:
    """NAME=SIZE; raises UsageError for text that is none."""
    name, _, size = text.partition("=")
    if not name.isidentifier() or not size.isdigit():
        raise UsageError(f"--dimension {text}: give NAME=SIZE, as L=64")
    return name, int(size)


def _numbers(option: str, text: str | None) -> list[float]:
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UsageError(f"--{option} {text}: give numbers with commas between, as 0.485,0.456,0.406") from None
