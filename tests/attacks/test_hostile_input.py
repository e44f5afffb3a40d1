"""Hostile and wrong input: one clear error each, the right exit code, no traceback, nothing half-written.

Each attack is a function that makes its input in a folder and returns the command that meets it,
with two sentences on why it matters.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from syrupy.assertion import SnapshotAssertion

from deploy.entry import Entry
from deploy.export.entry import export_entry
from deploy.operators import DOMAIN
from deploy.quantize.quantize import quantise_entry
from models.architectures import build_network
from models.data.images import read_images
from models.importers import LAYOUTS
from tests.conftest import Adroit, make_checkpoint


@dataclass(frozen=True)
class Scene:
    """What an attack may use: an empty folder, a checkpoint, a deployment, images."""

    folder: Path
    checkpoint: Path
    entry: Path
    images: Path

    @property
    def output(self) -> Path:
        return self.folder / "output"


@dataclass(frozen=True)
class Attack:
    make: Callable[[Scene], list[object]]
    code: int

    @property
    def name(self) -> str:
        return self.make.__name__.replace("_", " ")


def _published(scene: Scene) -> Path:
    path = scene.folder / "published.pth"
    torch.save(_published_tensors(), path)
    return path


def _published_tensors() -> dict[str, torch.Tensor]:
    """ResNet-20 as its authors lay it out."""
    network = build_network("adder-resnet20")
    key = LAYOUTS["adder-resnet20"].key
    return {f"module.{key(network, name)}": tensor for name, tensor in network.state_dict().items()}


def truncated_checkpoint(scene: Scene) -> list[object]:
    """A download that broke off. PyTorch's reader says 'failed finding central directory'."""
    path = _published(scene)
    path.write_bytes(path.read_bytes()[:5000])
    return ["import", "adder-resnet20", path, "-o", scene.output]


class Payload:
    """Unpickles to a call; the file that it would make proves that it ran."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.proof}",)


def pickle_with_code(scene: Scene) -> list[object]:
    """A checkpoint is a pickle, and a pickle is a program. This one would make the file 'owned'."""
    path = scene.folder / "evil.pth"
    torch.save({"conv1.weight": Payload(scene.folder / "owned")}, path)
    return ["import", "adder-resnet20", path, "-o", scene.output]


def bare_pickle_with_code(scene: Scene) -> list[object]:
    """The same without PyTorch's archive round it: the legacy reader must refuse it too."""
    path = scene.folder / "evil.pth"
    path.write_bytes(pickle.dumps(Payload(scene.folder / "owned")))
    return ["import", "adder-resnet20", path, "-o", scene.output]


def whole_module_pickle(scene: Scene) -> list[object]:
    """What `torch.save(network)` writes holds classes, not tensors. Loading it would import and run them."""
    path = scene.folder / "module.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    return ["import", "adder-resnet20", path, "-o", scene.output]


def dictionary_of_no_tensors(scene: Scene) -> list[object]:
    """A training state whose weights are elsewhere."""
    path = scene.folder / "state.pth"
    torch.save({"epoch": 3, "best": 0.9}, path)
    return ["import", "adder-resnet20", path, "-o", scene.output]


def wrong_architecture(scene: Scene) -> list[object]:
    """ResNet-20's weights given as ResNet-32's: every missing tensor is named."""
    return ["import", "adder-resnet32", _published(scene), "-o", scene.output]


def unknown_architecture(scene: Scene) -> list[object]:
    """A name that is none of ours."""
    return ["import", "adder-resnet-20", _published(scene), "-o", scene.output]


def nan_weights(scene: Scene) -> list[object]:
    """A run that diverged leaves NaN. It loads, and every logit of the deployment would be NaN."""
    state = _published_tensors()
    state["module.bn1.running_var"][3] = float("nan")
    path = scene.folder / "nan.pth"
    torch.save(state, path)
    return ["import", "adder-resnet20", path, "-o", scene.output]


def nan_weights_in_our_checkpoint(scene: Scene) -> list[object]:
    """The same met at export, in a checkpoint of ours that something else wrote."""
    copy = scene.folder / "checkpoint"
    shutil.copytree(scene.checkpoint, copy)
    tensors = load_file(copy / "model.safetensors")
    tensors["norm.weight"][0] = float("inf")
    save_file(tensors, copy / "model.safetensors")
    return ["export", copy, "-o", scene.output]


def safetensors_cut_short(scene: Scene) -> list[object]:
    """A checkpoint of ours whose copy broke off."""
    copy = scene.folder / "checkpoint"
    shutil.copytree(scene.checkpoint, copy)
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return ["export", copy, "-o", scene.output]


def missing_image_folder(scene: Scene) -> list[object]:
    """A path with a typing error."""
    return ["run", scene.entry, "--data", scene.folder / "nowhere", "-o", scene.output]


def empty_image_folder(scene: Scene) -> list[object]:
    """A folder whose files are no images."""
    (scene.folder / "empty").mkdir()
    (scene.folder / "empty" / "notes.txt").write_text("no image")
    return ["run", scene.entry, "--data", scene.folder / "empty", "-o", scene.output]


def unreadable_image(scene: Scene) -> list[object]:
    """A file with an image's name and other content. The others of the folder are fine."""
    folder = scene.folder / "pictures"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    return ["run", scene.entry, "--data", folder, "-o", scene.output]


def wrong_channel_count(scene: Scene) -> list[object]:
    """Images with four channels: dropping one silently would give wrong answers."""
    path = scene.folder / "four.npz"
    np.savez(path, images=np.zeros((2, 32, 32, 4), np.uint8))
    return ["run", scene.entry, "--data", path, "-o", scene.output]


def float_images(scene: Scene) -> list[object]:
    """Images already divided by 255: preprocessing them again would give wrong answers."""
    path = scene.folder / "float.npz"
    np.savez(path, images=np.zeros((2, 32, 32, 3), np.float32))
    return ["run", scene.entry, "--data", path, "-o", scene.output]


def archive_with_a_pickle(scene: Scene) -> list[object]:
    """An .npz may hold pickled objects, which NumPy would run."""
    path = scene.folder / "objects.npz"
    np.savez(path, images=np.array([Payload(scene.folder / "owned")], dtype=object), allow_pickle=True)
    return ["run", scene.entry, "--data", path, "-o", scene.output]


def labels_beyond_the_classes(scene: Scene) -> list[object]:
    """Labels of another data set: an accuracy computed from them would mean nothing."""
    path = scene.folder / "labels.npz"
    np.savez(path, images=np.zeros((2, 32, 32, 3), np.uint8), labels=np.array([1, 10]))
    return ["check", scene.entry, "--data", path]


def unwritable_output(scene: Scene) -> list[object]:
    """A path below a file. (Permissions would not stop the superuser, whom containers run as.)"""
    (scene.folder / "file").write_text("in the way")
    return ["run", scene.entry, "--data", scene.images, "-o", scene.folder / "file" / "out.npz"]


def unwritable_repository(scene: Scene) -> list[object]:
    """The same for a folder that is written as a whole."""
    (scene.folder / "file").write_text("in the way")
    return ["export", scene.checkpoint, "-o", scene.folder / "file" / "repository"]


def output_over_a_folder_of_the_users(scene: Scene) -> list[object]:
    """The name of a folder that is no deployment: replacing it would lose the user's files."""
    folder = scene.folder / "repository" / "adder-lenet5-bn"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("irreplaceable")
    return ["export", scene.checkpoint, "-o", scene.folder / "repository"]


def name_outside_the_repository(scene: Scene) -> list[object]:
    """A name that climbs out of the repository."""
    return ["export", scene.checkpoint, "-o", scene.output, "--name", "../../escaped"]


def _copied_entry(scene: Scene) -> Path:
    copy = scene.folder / "entry"
    shutil.copytree(scene.entry, copy)
    return copy


def onnx_file_without_our_operators(scene: Scene) -> list[object]:
    """Another model under the deployment's name."""
    copy = _copied_entry(scene)
    node = onnx.helper.make_node("Relu", ["image"], ["logits"])
    spec = [onnx.helper.make_tensor_value_info(n, 1, ["n", 1, 32, 32]) for n in ("image", "logits")]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", spec[:1], spec[1:])), copy / "1/model.onnx")
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def onnx_file_changed_after_export(scene: Scene) -> list[object]:
    """One weight differs: the verdict of parity and the provenance no longer hold."""
    copy = _copied_entry(scene)
    model = onnx.load(copy / "1/model.onnx")
    model.graph.initializer[0].raw_data = b"\0" * len(model.graph.initializer[0].raw_data)
    onnx.save(model, copy / "1/model.onnx")
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def onnx_file_of_noise(scene: Scene) -> list[object]:
    """Not a protobuf at all."""
    copy = _copied_entry(scene)
    (copy / "1/model.onnx").write_bytes(b"\xff" * 1000)
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def description_that_is_no_json(scene: Scene) -> list[object]:
    """adroit.json damaged by an editor."""
    copy = _copied_entry(scene)
    (copy / "adroit.json").write_text('{"format": 1,')
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def description_of_another_format(scene: Scene) -> list[object]:
    """A deployment of a later adroit."""
    copy = _copied_entry(scene)
    description = json.loads((copy / "adroit.json").read_text())
    (copy / "adroit.json").write_text(json.dumps({**description, "format": 99}))
    return ["run", copy, "--data", scene.images, "-o", scene.output]


def folder_that_is_no_deployment(scene: Scene) -> list[object]:
    """The repository instead of the entry in it."""
    return ["profile", scene.entry.parent]


def _quantise(entry: Path, scene: Scene, *options: object) -> list[object]:
    return ["quantize", entry, "--data", scene.images, "-o", scene.output, *options]


def quantise_a_portable_deployment(scene: Scene) -> list[object]:
    """Its adder layers are spelt out in standard operators, and nothing tells them from other arithmetic."""
    return _quantise(export_entry(scene.checkpoint, scene.folder, "portable", "portable").path, scene)


def quantise_a_network_without_adder_layers(scene: Scene) -> list[object]:
    """The same network of ordinary convolutions: writing it out unchanged would look like success."""
    checkpoint = make_checkpoint(scene.folder / "ordinary", "adder-lenet5-bn", (32, 32), kind="ordinary")
    return _quantise(export_entry(checkpoint, scene.folder / "repository").path, scene)


def quantise_twice(scene: Scene) -> list[object]:
    """Ranges of ranges: the second one would add its error to the first's."""
    made = quantise_entry(Entry.read(scene.entry), read_images(scene.images).first(2), "images", scene.folder, "once")
    return _quantise(made.entry.path, scene)


def quantise_with_an_unknown_layer(scene: Scene) -> list[object]:
    """A misspelt layer would be quantised though the user wants it in float32."""
    return _quantise(scene.entry, scene, "--keep-float", "features.O")


def quantise_nothing(scene: Scene) -> list[object]:
    """Every layer kept: the copy would be no 8-bit network, though it says so."""
    nodes = Entry.read(scene.entry).load_model().graph.node
    return _quantise(scene.entry, scene, *(f"--keep-float={n.name}" for n in nodes if n.domain == DOMAIN))


def quantise_with_an_empty_folder(scene: Scene) -> list[object]:
    """No image, no range."""
    (scene.folder / "empty").mkdir()
    return ["quantize", scene.entry, "--data", scene.folder / "empty", "-o", scene.output]


def quantise_over_a_folder_of_the_users(scene: Scene) -> list[object]:
    """As for an export."""
    folder = scene.output / "thesis"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("irreplaceable")
    return _quantise(scene.entry, scene, "--name", "thesis")


def build_8_bits_for_tensorrt(scene: Scene) -> list[object]:
    """TensorRT has no uint8 arithmetic: what it would build is another network."""
    made = quantise_entry(Entry.read(scene.entry), read_images(scene.images).first(2), "images", scene.folder, "once")
    return ["build", made.entry.path, "--backend", "tensorrt-rtx", "--compute-capability", "89"]


RECIPE = 'architecture = "adder-lenet5-bn"\n[data]\nname = "digits"\n[optimizer]\n'


def recipe_with_a_wrong_field(scene: Scene) -> list[object]:
    """A misspelt setting must not be passed over: the network would be trained with another one."""
    path = scene.folder / "recipe.toml"
    path.write_text(
        'architecture = "adder-lenet5-bn"\n[data]\nname = "digits"\n[optimizer]\nepochs = 1\nlearning_rat = 0.1\n'
    )
    return ["train", path, "-o", scene.output]


def recipe_with_a_wrong_type(scene: Scene) -> list[object]:
    """A number in quotes."""
    path = scene.folder / "recipe.toml"
    path.write_text(RECIPE + 'epochs = "ten"\n')
    return ["train", path, "-o", scene.output]


def _routed_entry(scene: Scene, **changes: object) -> Path:
    """A copy of the deployment whose description says that it is a routed network; for what reads no model."""
    entry = _copied_entry(scene)
    description = json.loads((entry / "adroit.json").read_text())
    description["routing"] = {"form": "if", "gate": "small", "depth": 3, "width": 8, "route": None, **changes}
    description["task"], description["preprocessing"]["crop"] = "segmentation", None
    description["preprocessing"]["resize"] = None
    description["inputs"].append({"name": "gate_threshold", "dtype": "float32", "shape": ["thresholds"]})
    cost = [{"mean": value, "worst": value} for value in (0.4, 0.1)]
    rows = [
        {"threshold": threshold, "gigaflops": c, "paper_gigaflops": c, "milliseconds": c, "agreement": 1.0,
         "routes": 1, "predicted_milliseconds": None, "accuracy": None}
        for threshold, c in zip((0.0, 1.0), cost, strict=True)
    ]  # fmt: skip
    sha256 = description["checkpoint"]["sha256"]
    description["budget"] = {"checkpoint": sha256, "images": 1, "size": [32, 32], "facts": {}, "settings": rows}
    (entry / "adroit.json").write_text(json.dumps(description))
    return entry


def budget_table_of_another_checkpoint(scene: Scene) -> list[object]:
    """Copied from a deployment before its network was trained again. Its thresholds would keep no budget."""
    entry = _routed_entry(scene)
    description = json.loads((entry / "adroit.json").read_text())
    description["budget"]["checkpoint"] = "0" * 64
    (entry / "adroit.json").write_text(json.dumps(description))
    return ["budget", entry, "--gflops", 0.2]


def budget_that_no_threshold_keeps(scene: Scene) -> list[object]:
    """Less than stem, gates and head. Silence would close every path and still miss it."""
    return ["budget", _routed_entry(scene), "--gflops", 0.05]


def two_budgets_at_once(scene: Scene) -> list[object]:
    """Which of them counts? Told before anything is measured."""
    return ["budget", _routed_entry(scene), "--data", scene.images, "--gflops", 0.2, "--milliseconds", 4]


def drop_of_an_accuracy_that_was_not_measured(scene: Scene) -> list[object]:
    """The table was made on images without labels. Nothing can be said about their accuracy."""
    return ["budget", _routed_entry(scene), "--accuracy-drop", 1]


def budget_of_a_network_without_gates(scene: Scene) -> list[object]:
    """An adder network. It has no threshold to set."""
    return ["budget", scene.entry, "--data", scene.images]


def budget_of_a_routed_network_without_gates(scene: Scene) -> list[object]:
    """Trained with its gates off. It always costs the same."""
    return ["budget", _routed_entry(scene, gate="none"), "--data", scene.images]


def budget_of_the_masked_form(scene: Scene) -> list[object]:
    """It computes closed paths too. A table of it would promise savings that it does not make."""
    return ["budget", _routed_entry(scene, form="masked"), "--data", scene.images]


def budget_on_an_empty_folder(scene: Scene) -> list[object]:
    """A wrong path. A table of no image would have no numbers."""
    (scene.folder / "empty").mkdir()
    return ["budget", _routed_entry(scene), "--data", scene.folder / "empty", "--html", scene.output / "r.html"]


def label_maps_of_another_size(scene: Scene) -> list[object]:
    """Maps of the images before they were scaled. They would be compared pixel by pixel with something else."""
    from PIL import Image

    for part, size in (("images", (160, 128)), ("labels", (80, 64))):
        (scene.folder / "data" / part).mkdir(parents=True)
        Image.new("RGB" if part == "images" else "L", size).save(scene.folder / "data" / part / "street.png")
    return ["budget", _routed_entry(scene), "--data", scene.folder / "data"]


ATTACKS = [
    Attack(truncated_checkpoint, 2),
    Attack(pickle_with_code, 2),
    Attack(bare_pickle_with_code, 2),
    Attack(whole_module_pickle, 2),
    Attack(dictionary_of_no_tensors, 2),
    Attack(wrong_architecture, 6),
    Attack(unknown_architecture, 2),
    Attack(nan_weights, 6),
    Attack(nan_weights_in_our_checkpoint, 6),
    Attack(safetensors_cut_short, 2),
    Attack(missing_image_folder, 2),
    Attack(empty_image_folder, 2),
    Attack(unreadable_image, 2),
    Attack(wrong_channel_count, 2),
    Attack(float_images, 2),
    Attack(archive_with_a_pickle, 2),
    Attack(labels_beyond_the_classes, 2),
    Attack(unwritable_output, 2),
    Attack(unwritable_repository, 2),
    Attack(output_over_a_folder_of_the_users, 2),
    Attack(name_outside_the_repository, 2),
    Attack(onnx_file_without_our_operators, 6),
    Attack(onnx_file_changed_after_export, 6),
    Attack(onnx_file_of_noise, 2),
    Attack(description_that_is_no_json, 2),
    Attack(description_of_another_format, 2),
    Attack(folder_that_is_no_deployment, 2),
    Attack(recipe_with_a_wrong_field, 2),
    Attack(recipe_with_a_wrong_type, 2),
    Attack(budget_table_of_another_checkpoint, 6),
    Attack(budget_that_no_threshold_keeps, 2),
    Attack(two_budgets_at_once, 2),
    Attack(drop_of_an_accuracy_that_was_not_measured, 2),
    Attack(budget_of_a_network_without_gates, 2),
    Attack(budget_of_a_routed_network_without_gates, 2),
    Attack(budget_of_the_masked_form, 2),
    Attack(budget_on_an_empty_folder, 2),
    Attack(label_maps_of_another_size, 2),
    Attack(quantise_a_portable_deployment, 6),
    Attack(quantise_a_network_without_adder_layers, 6),
    Attack(quantise_twice, 2),
    Attack(quantise_with_an_unknown_layer, 2),
    Attack(quantise_nothing, 2),
    Attack(quantise_with_an_empty_folder, 2),
    Attack(quantise_over_a_folder_of_the_users, 2),
    Attack(build_8_bits_for_tensorrt, 6),
]


@pytest.fixture
def scene(tmp_path: Path, lenet_checkpoint: Path, lenet_entry: Entry, images: Path) -> Scene:
    folder = tmp_path / "scene"
    folder.mkdir()
    return Scene(folder, lenet_checkpoint, lenet_entry.path, images)


def _listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_attack(attack: Attack, scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    command = attack.make(scene)
    before = _listing(scene.folder)
    result = adroit(*command)
    message = result.err
    for path, name in ((scene.folder, "FOLDER"), (scene.entry, "ENTRY"), (scene.entry.parent, "REPOSITORY")):
        message = message.replace(str(path), name)
    assert result.code == attack.code, result.err
    assert "Traceback" not in result.err
    assert result.err.startswith("error: ") or "\nerror: " in result.err
    assert _listing(scene.folder) == before  # nothing was written, nothing of the user's was lost
    message = re.sub(r"\b[0-9a-f]{64}\b", "SHA256", message)
    # Other packages' words change with their versions.
    assert re.sub(r"(?<=  reason  ).*", "...", message) == snapshot


def test_a_published_checkpoint_is_taken(scene: Scene, adroit: Adroit) -> None:
    result = adroit("import", "adder-resnet20", _published(scene), "-o", scene.output)
    assert result.code == 0, result.err
    assert {p.name for p in scene.output.iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("attack", [pickle_with_code, whole_module_pickle])
def test_a_refused_pickle_is_told_what_it_would_have_called(
    attack: Callable[[Scene], list[object]], scene: Scene, adroit: Adroit
) -> None:
    assert re.search(r"reason .*(posix\.system|torch\.nn\.modules\.linear\.Linear)", adroit(*attack(scene)).err)


def test_missing_library_is_an_error_with_a_way_out(scene: Scene, adroit: Adroit, snapshot: SnapshotAssertion) -> None:
    nowhere = {"ADROIT_ONNXRUNTIME_LIBRARY": "/nowhere/libadroit_onnxruntime.so"}
    command = ["run", scene.entry, "--data", scene.images, "-o", scene.output]
    result = adroit(*command, environment=nowhere)
    assert result.code == 5
    assert result.err == snapshot
    assert not scene.output.exists()
    assert adroit(*command, "--operators", "portable", environment=nowhere).code == 0


def test_library_that_is_none_is_an_error(scene: Scene, adroit: Adroit) -> None:
    fake = scene.folder / "fake.so"
    fake.write_text("not a library")
    command = ["run", scene.entry, "--data", scene.images, "-o", scene.output]
    result = adroit(*command, environment={"ADROIT_ONNXRUNTIME_LIBRARY": str(fake)})
    assert result.code == 5
    assert result.err.startswith("error: ")
    assert "not a usable operator library" in result.err


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lenet_checkpoint: Path
) -> None:
    import errno

    from models import files
    from models.errors import OutOfResource

    real = files.write_bytes

    def full(path: Path, data: bytes) -> None:
        if path.name == "model.onnx":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(OutOfResource, match="disk is full"):
        export_entry(lenet_checkpoint, tmp_path / "repository")
    assert list((tmp_path / "repository").iterdir()) == []
