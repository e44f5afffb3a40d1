"""Profiles: read, completed, and refused with the input and dimension that is wrong, before any build."""

from __future__ import annotations

import random
import re

import msgspec
import pytest

from adroit.deploy.build.limits import check_limits
from adroit.deploy.build.profiles import profiles_for, read_profile
from adroit.deploy.deployment.builds import Range
from adroit.deploy.deployment.deployment import Deployment
from adroit.deploy.deployment.description import Description
from adroit.deploy.deployment.names import GATE_THRESHOLD_INPUT
from adroit.deploy.deployment.tensors import TensorSpec
from adroit.deploy.runtimes.tensorrt.profiles import Profile, choose_profile
from adroit.errors import UsageError


def test_a_profile_is_read() -> None:
    profile = read_profile("live=image:1x3x32x32,4x3x64x64,8x3x128x128;gate_threshold:1")
    assert profile.name == "live"
    assert profile.ranges["image"] == Range((1, 3, 32, 32), (4, 3, 64, 64), (8, 3, 128, 128))
    assert profile.ranges["gate_threshold"] == Range((1,), (1,), (1,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image:1x3", "not a name"),
        ("a b=image:1x3", "not a name"),
        ("p=image", "not a shape"),
        ("p=image:1x3,2x3", "2 shapes"),
        ("p=image:1x3,ax3,2x3", "'ax3'"),
        ("p=image:1x-3", "'1x-3'"),
        ("p=image:1x3;image:1x3", "twice"),
        ("p=image:99999999999x3", "not a shape"),
    ],
)
def test_text_that_is_no_profile_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_profile(text)


@pytest.fixture
def info(resnet_deployment: Deployment) -> Description:
    return resnet_deployment.info


def test_without_a_profile_one_image_of_the_usual_size_is_built_for(info: Description) -> None:
    (profile,) = profiles_for(info, [])
    assert profile.ranges == {"image": Range((1, 3, 32, 32), (1, 3, 32, 32), (1, 3, 32, 32))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p=image:2x3x32x32,1x3x32x32,4x3x32x32", r"input image, dimension 0 \(batch\): min 2 is above opt 1"),
        ("p=image:1x3x32x32,1x3x64x32,1x3x48x32", r"input image, dimension 2 \(height\): opt 64 is above max 48"),
        ("p=image:1x4x32x32", "input image, dimension 1 is fixed at 3"),
        ("p=image:1x3x32", "min of input image has 3 dimensions, the input 4"),
        ("p=image:0x3x32x32,1x3x32x32,1x3x32x32", r"input image, dimension 0 \(batch\) must be 1 to"),
        ("p=image:1x3x32x3000000000", r"input image, dimension 3 \(width\) must be 1 to"),
        ("p=picture:1x3x32x32", "unknown input picture; lacks input image"),
    ],
)
def test_a_wrong_profile_is_refused_by_name(text: str, message: str, info: Description) -> None:
    with pytest.raises(UsageError) as caught:
        profiles_for(info, [read_profile(text)])
    assert "'p'" in caught.value.message
    assert re.search(message, str(caught.value))


def test_two_profiles_of_one_name_are_refused(info: Description) -> None:
    profile = read_profile("p=image:1x3x32x32")
    with pytest.raises(UsageError, match="one name"):
        profiles_for(info, [profile, profile])


def test_the_gate_threshold_follows_the_batch(info: Description) -> None:
    routed = msgspec.structs.replace(
        info, inputs=(*info.inputs, TensorSpec(GATE_THRESHOLD_INPUT, "float32", ("thresholds",)))
    )
    (profile,) = profiles_for(routed, [read_profile("p=image:1x3x32x32,2x3x32x32,4x3x32x32")])
    assert profile.ranges[GATE_THRESHOLD_INPUT] == Range((1,), (2,), (4,))


def test_any_ordered_profile_is_taken_and_any_disordered_one_refused(info: Description) -> None:
    generator = random.Random(0)
    for _ in range(200):
        sizes = [[generator.randint(1, 64) for _ in range(3)] for _ in range(3)]
        texts = ",".join(f"{batch}x3x{height}x{width}" for batch, height, width in zip(*sizes, strict=True))
        profile = read_profile(f"p=image:{texts}")
        if all(a <= b <= c for a, b, c in sizes):
            assert profiles_for(info, [profile]) == [profile]
        else:
            with pytest.raises(UsageError, match="above"):
                profiles_for(info, [profile])


# ---- limits of the network and of the kernels ----


def limits(deployment: Deployment, text: str) -> None:
    check_limits(deployment.load_model(), deployment.info, profiles_for(deployment.info, [read_profile(text)]))


def test_usual_shapes_are_within_the_limits(
    resnet_deployment: Deployment, anti_aliased_deployment: Deployment, routed_deployment: Deployment
) -> None:
    limits(resnet_deployment, "p=image:1x3x32x32,8x3x64x64,64x3x256x256")
    limits(anti_aliased_deployment, "p=image:1x3x32x32,8x3x64x64,64x3x256x256")
    limits(routed_deployment, "p=image:1x3x128x128,1x3x384x480,2x3x1024x2048")


@pytest.mark.parametrize(
    ("deployment", "text", "message"),
    [
        (
            "anti_aliased_deployment",
            "p=image:1x3x2x32,1x3x32x32,1x3x32x32",
            r"min of input image is 1x3x2x32: too small for node .* \(AdaptiveFilter\)",
        ),
        (
            "routed_deployment",
            "p=image:1x3x32x32,1x3x128x128,1x3x128x128",
            r"min of input image, dimension 2 \(height\) is 32; its gates need 128 or more",
        ),
        (
            "routed_deployment",
            "p=image:1x3x128x128,1x3x128x128,1x3x128x150",
            r"max of input image, dimension 3 \(width\) is 150; this network takes multiples of 32",
        ),
        (
            "resnet_deployment",
            "p=image:1x3x32x32,1x3x32x32,100000x3x64x64",
            r"max of input image is 100000x3x64x64: tensor \S+ of node \S+ would have 6553600000 elements",
        ),
    ],
)
def test_shapes_that_cannot_work_are_told_before_the_build(
    deployment: str, text: str, message: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(UsageError, match=message):
        limits(request.getfixturevalue(deployment), text)


# ---- which profile a request takes ----


def profile(name: str, *shapes: tuple[int, ...]) -> Profile:
    return Profile(name, {"image": Range(*shapes)})


PROFILES = [
    profile("one", (1, 3, 32, 32), (1, 3, 32, 32), (4, 3, 32, 32)),
    profile("many", (1, 3, 32, 32), (16, 3, 32, 32), (32, 3, 32, 32)),
    profile("large", (1, 3, 64, 64), (1, 3, 256, 256), (1, 3, 256, 256)),
]


@pytest.mark.parametrize(
    ("shape", "chosen"),
    [((1, 3, 32, 32), 0), ((4, 3, 32, 32), 0), ((5, 3, 32, 32), 1), ((32, 3, 32, 32), 1), ((1, 3, 100, 200), 2)],
)
def test_the_nearest_profile_that_holds_a_shape_is_taken(shape: tuple[int, ...], chosen: int) -> None:
    assert choose_profile(PROFILES, {"image": shape}, "adroit build E") == chosen


def test_of_two_that_hold_a_shape_the_nearer_is_taken() -> None:
    assert choose_profile(PROFILES, {"image": (4, 3, 32, 32)}, "") == 0  # 4 from opt 1, and 4 from opt 16: the first
    assert choose_profile(PROFILES[1:], {"image": (4, 3, 32, 32)}, "") == 0


def test_a_shape_that_none_holds_is_told_with_what_each_allows() -> None:
    with pytest.raises(UsageError) as caught:
        choose_profile(PROFILES, {"image": (33, 3, 32, 32)}, "adroit build E --backend tensorrt")
    assert str(caught.value) == (
        "the engine has no profile for these shapes\n"
        "  got            image 33x3x32x32\n"
        "  profile one    image 1x3x32x32 to 4x3x32x32\n"
        "  profile many   image 1x3x32x32 to 32x3x32x32\n"
        "  profile large  image 1x3x64x64 to 1x3x256x256\n"
        "  nearest        many\n"
        "\n"
        "hint: run shapes within a profile, or add one: adroit build E --backend tensorrt"
        " --profile NAME=INPUT:MIN,OPT,MAX"
    )
