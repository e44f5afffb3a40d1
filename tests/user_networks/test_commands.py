"""A user's network in a file of the user's own goes through the commands, and each mistake is one clear error."""

from __future__ import annotations

import json
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from adroit.deploy.deployment.deployment import Deployment
from adroit.models.networks.source import network_from_source
from tests.conftest import Adroit

NETWORKS = textwrap.dedent(
    """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self, classes=3, width=4):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Linear(width, classes)

        def forward(self, x):
            return self.head(torch.nn.functional.silu(self.norm(self.conv(x))).mean((2, 3)))


    class OneSize(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3 * 16 * 16, 3)

        def forward(self, x):
            return self.head(x.flatten(1))


    class Branches(Net):
        def forward(self, x):
            if x.mean() > 0:
                return super().forward(x)
            return super().forward(-x)


    class WrittenOut(Net):
        def forward(self, x):
            windows = torch.nn.functional.unfold(self.conv(x), 3)
            weight = torch.ones(5, 36)
            return -(windows[:, None] - weight[None, :, :, None]).abs().sum(2).mean(2)


    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Linear(16, 2)

        def forward(self, tokens, state):
            return {"action": self.act(tokens).mean(1) + state[:, :2], "length": tokens.abs().sum((1, 2))}


    def a_string():
        return "Net"


    def fails():
        raise RuntimeError("no such file of mine")
    """
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The user's current folder: net.py, photos/, samples.npz."""
    (tmp_path / "net.py").write_text(NETWORKS)
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for index in range(4):
        Image.fromarray(random.integers(0, 256, (20, 24, 3), np.uint8)).save(tmp_path / "photos" / f"{index}.png")
    tokens, state = random.standard_normal((5, 7, 16), np.float32), random.standard_normal((5, 4), np.float32)
    np.savez(tmp_path / "samples.npz", tokens=tokens, state=state)
    return tmp_path


@pytest.fixture
def here(folder: Path, adroit: Adroit) -> Adroit:
    """Runs the command line in the user's folder."""
    return partial(adroit, cwd=folder)


def test_four_commands_deploy_a_network(folder: Path, here: Adroit) -> None:
    torch.manual_seed(1)
    network = network_from_source("net.py:Net", {"classes": 2}, folder)
    torch.save({"state_dict": network.state_dict()}, folder / "weights.pth")
    (folder / "labels.txt").write_text("cat\ndog\n")
    export = here(
        "export", "net.py:Net", "--argument", "classes=2", "--weights", "weights.pth", "--size", "20x24",
        "--labels", "labels.txt", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "-o", "repository",
    )  # fmt: skip
    assert export.code == 0, export.err
    assert "task: classification; images: rgb, resized to (20, 24), divided by 255, mean [0.5, 0.5, 0.5]" in export.out
    check = here("check", "repository/Net", "--data", "photos", "--network", "net.py:Net", "--argument", "classes=2",
                   "--weights", "weights.pth")  # fmt: skip
    assert check.code == 0, check.err
    assert "the network that was given, output0" in check.out
    run = here("run", "repository/Net", "--data", "photos", "--top", 2, "--json")
    assert {p["label"] for p in json.loads(run.out)[0]["predictions"]} == {"cat", "dog"}
    profile = here("profile", "repository/Net", "--seconds", 0.1, "--json")
    assert profile.code == 0, profile.err

    wrong = here("check", "repository/Net", "--data", "photos", "--network", "net.py:Net", "--argument", "classes=2")
    assert wrong.code == 3
    assert "the network that was given is not the one that repository/Net was exported from" in wrong.err


def test_named_inputs_go_through_the_commands(folder: Path, here: Adroit) -> None:
    export = here("export", "net.py:Named", "--input", "tokens=Lx16", "--input", "state=4", "-o", "repository")
    assert export.code == 0, export.err
    info = Deployment.read(folder / "repository" / "Named").info
    assert [str(spec) for spec in info.inputs] == ["tokens float32 [batch, L, 16]", "state float32 [batch, 4]"]
    assert [spec.name for spec in info.outputs] == ["action", "length"]
    assert info.task == "tensors" and info.preprocessing is None
    check = here("check", "repository/Named", "--data", "samples.npz")
    assert check.code == 0, check.err
    assert "action: " in check.out and "length: " in check.out and "5 samples" in check.out
    assert here("run", "repository/Named", "--data", "samples.npz", "-o", "outputs.npz").code == 0
    with np.load(folder / "outputs.npz") as outputs:
        assert outputs["action"].shape == (5, 2) and outputs["length"].shape == (5,)
    assert here("profile", "repository/Named", "--seconds", 0.1).code == 0
    photos = here("check", "repository/Named", "--data", "photos")
    assert photos.code == 2 and "give an .npz with the arrays tokens, state" in photos.err


def test_a_network_of_one_size_is_fixed_and_images_are_resized(folder: Path, here: Adroit) -> None:
    export = here("export", "net.py:OneSize", "--size", "16x16", "-o", "repository")
    assert export.code == 0, export.err
    assert "the size is fixed at 16 x 16" in export.out and "resized to (16, 16)" in export.out
    assert here("check", "repository/OneSize", "--data", "photos").code == 0


def test_a_bare_onnx_file_is_run_profiled_and_inspected(folder: Path, here: Adroit) -> None:
    """One that adroit did not write: its free dimension has another name, or none."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 2), np.float32), "w")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 4])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 2])
    graph = onnx.helper.make_graph([node], "g", [x], [y], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "bare.onnx")
    np.savez(folder / "rows.npz", x=np.ones((2, 4), np.float32))
    assert "tensors" in here("inspect", "bare.onnx").out
    assert here("run", "bare.onnx", "--data", "rows.npz", "-o", "outputs.npz").code == 0
    profile = here("profile", "bare.onnx", "--batch", 2, "--seconds", 0.1, "--json")
    assert json.loads(profile.out)["candidates"][0]["latency_milliseconds"]["median"] > 0
    check = here("check", "bare.onnx", "--data", "rows.npz")
    assert check.code == 2 and "bare.onnx" in check.err
    assert here("run", "missing.onnx", "--data", "rows.npz", "-o", "o.npz").code == 2
    (folder / "damaged.onnx").write_bytes(b"\x0anonsense")
    assert here("inspect", "damaged.onnx").code in (2, 6)


SIZE = ("--size", "20x24")
MISTAKES = {
    "no file": (("missing.py:Net", *SIZE), 2, "there is no file missing.py"),
    "no callable": (("net.py:Nett", *SIZE), 2, "did you mean Net?"),
    "no network": (("net.py:a_string", *SIZE), 2, "gives str, not a torch.nn.Module"),
    "the user's code fails": (("net.py:fails", *SIZE), 2, "RuntimeError: no such file of mine"),
    "an unknown argument": (("net.py:Net", "--argument", "clases=2", *SIZE), 2, "clases"),
    "no size": (("net.py:Net",), 2, "give --size HEIGHTxWIDTH"),
    "size and inputs": (("net.py:Named", "--input", "state=4", *SIZE), 2, "give one of them"),
    "no input": (("net.py:Named", "--input", "state"), 2, "--input state is not an input"),
    "a task of another shape": (("net.py:Net", "--task", "segmentation", *SIZE), 2, "the first output is output0"),
    "a branch on data": (("net.py:Branches", *SIZE), 6, "net.py:"),
    "no torch.nn.Module in a package": (("json:dumps", *SIZE), 2, "dumps"),
    "too many channels": (("net.py:Net", "--channels", "gray", *SIZE), 6, "conv"),
    "steps that do not fit": (("net.py:Net", "--mean", "0.5", *SIZE), 2, "mean must have a value for each of 3"),
    "weights that are not there": (("net.py:Net", "--weights", "w.pth", *SIZE), 2, "there is no such checkpoint"),
}


@pytest.mark.parametrize(("words", "code", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_error(
    words: tuple[str, ...], code: int, message: str, folder: Path, here: Adroit
) -> None:
    result = here("export", *words, "-o", "repository")
    assert (result.code, message in result.err) == (code, True), result.err
    assert "Traceback" not in result.err
    assert not list(folder.glob("repository/*"))


def test_labels_must_be_the_classes(folder: Path, here: Adroit) -> None:
    (folder / "labels.txt").write_text("cat\ndog\n")
    result = here("export", "net.py:Net", *SIZE, "--labels", "labels.txt", "-o", "repository")
    assert result.code == 2 and "there are 2 labels for 3 classes" in result.err


def test_an_l1_distance_that_is_written_out_is_warned_of(folder: Path, here: Adroit) -> None:
    result = here("export", "net.py:WrittenOut", "--size", "12x12", "--fixed-size", "-o", "repository")
    assert result.code == 0, result.err
    assert "writes out an L1 distance" in result.out and "adroit.nn.AdderConv2d" in result.out


def test_a_changed_reference_is_refused(folder: Path, here: Adroit) -> None:
    assert here("export", "net.py:OneSize", "--size", "16x16", "-o", "repository").code == 0
    program = folder / "repository" / "OneSize" / "reference" / "program.json"
    program.write_text(program.read_text() + " ")
    result = here("check", "repository/OneSize", "--data", "photos")
    assert result.code == 6 and "program.json was changed after the export" in result.err
