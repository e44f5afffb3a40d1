"""Files as training scripts publish them: which tensors are read, and what is refused without running anything."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import re
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from adroit.errors import AdroitWarning, UsageError
from adroit.models.checkpoints.weights import read_table, read_weights

STATE = {"conv.weight": torch.arange(4.0), "norm.num_batches_tracked": torch.tensor(3)}
AVERAGED = {name: tensor + 1 for name, tensor in STATE.items()}
BOOKKEEPING: dict[str, Any] = {
    "epoch": 3,
    "best_acc1": np.float64(70.5),
    "args": argparse.Namespace(lr=0.1, folder=pathlib.Path("x"), mean=np.zeros(3)),
    "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.05, "params": [0]}]},
    "rng_state": torch.zeros(3, dtype=torch.uint8),
    "losses": collections.defaultdict(list, train=[0.5]),
    "saved": datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC),
}
Legacy = pytest.mark.parametrize("legacy", [False, True], ids=["zip format", "legacy format"])


def write(path: Path, content: object, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def prefixed(prefix: str, state: dict[str, Tensor] = STATE) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def assert_same(read: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(read) == list(expected)
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())


@Legacy
@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {**STATE, "epoch": 3},
        *({key: STATE, **BOOKKEEPING} for key in ("state_dict", "model", "model_state_dict", "net", "odd_name", "ema")),
        {"model": {"state_dict": STATE}, "epoch": 3},
        {"ema": {"module": STATE, "decay": 0.99}},
        {"model": STATE, "criterion": {"center": torch.zeros(2)}},
        {"model": STATE, "optimizer": {"state": {"conv.weight": {"step": torch.ones(1)}}}},
        *({"state_dict": prefixed(prefix)} for prefix in ("module.", "_orig_mod.", "module._orig_mod.")),
        {name: nn.Parameter(tensor) if tensor.is_floating_point() else tensor for name, tensor in STATE.items()},
    ],
    ids=lambda content: " ".join(map(str, content)),
)
def test_the_weights_are_found(content: object, legacy: bool, tmp_path: Path) -> None:
    assert_same(read_weights(write(tmp_path / "published.pth.tar", content, legacy)), STATE)


@pytest.mark.parametrize("name", ["published.safetensors", "published.bin"])
def test_safetensors_are_known_by_their_content(name: str, tmp_path: Path) -> None:
    save_file(prefixed("module."), tmp_path / name)
    assert read_weights(tmp_path / name).keys() == STATE.keys()


def test_a_prefix_that_only_some_tensors_have_is_part_of_the_names(tmp_path: Path) -> None:
    mixed = {**prefixed("module."), "head.weight": torch.zeros(1)}
    assert_same(read_weights(write(tmp_path / "mixed.pth", mixed)), mixed)
    assert_same(read_weights(write(tmp_path / "own.pth", prefixed("backbone."))), prefixed("backbone."))


@pytest.mark.parametrize(
    ("content", "key", "expected"),
    [
        ({"state_dict": STATE, "averaged_model": AVERAGED}, "averaged_model", AVERAGED),
        ({"state_dict": STATE, "averaged_model": AVERAGED}, "state_dict", STATE),
        ({"state_dict": STATE, "swa_state_dict": AVERAGED, "ema": AVERAGED}, "ema", AVERAGED),
        ({"state_dict": STATE, "model": AVERAGED}, "model", AVERAGED),
        ({"teacher": STATE, "student": AVERAGED}, "student", AVERAGED),
    ],
)
def test_a_key_chooses_among_several_tables(
    content: object, key: str, expected: dict[str, Tensor], tmp_path: Path
) -> None:
    path = write(tmp_path / "published.pth", content)
    with pytest.raises(UsageError, match=r"holds several tables") as caught:
        read_weights(path)
    assert "--weights-key" in str(caught.value)
    assert_same(read_weights(path, key), expected)
    with pytest.raises(UsageError, match="no table of weights 'emma'"):
        read_weights(path, "emma")


@pytest.mark.parametrize(
    ("content", "taken", "left"),
    [
        ({"model": STATE, "ema": AVERAGED}, "ema", "model"),
        ({"state_dict": STATE, "ema": {"state_dict": AVERAGED}}, "ema.state_dict", "state_dict"),
        ({"params": STATE, "params_ema": AVERAGED}, "params_ema", "params"),
        ({"model": AVERAGED, "other": {"center": torch.zeros(2)}}, "model", "other"),
    ],
)
def test_which_of_several_tables_was_taken_is_said(content: object, taken: str, left: str, tmp_path: Path) -> None:
    path = write(tmp_path / "published.pth", content)
    with pytest.warns(AdroitWarning, match=f"took {taken!r}, and left out {left!r}"):
        read, key = read_table(path)
    assert key == taken
    assert_same(read, AVERAGED)


def test_tensors_at_the_top_come_before_tables(tmp_path: Path) -> None:
    path = write(tmp_path / "published.pth", {**STATE, "initial": AVERAGED})
    with pytest.warns(AdroitWarning, match="took the tensors at its top, and left out 'initial'"):
        assert_same(read_table(path)[0], STATE)
    assert_same(read_table(path, "initial")[0], AVERAGED)


def test_a_file_without_tables_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none: all tensors are at the top"):
        read_weights(write(tmp_path / "plain.pth", STATE), "ema")


def whole_network(path: Path) -> None:
    torch.save({"model": nn.Linear(2, 2), "epoch": 3}, path)


def script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)  # type: ignore[no-untyped-call]


def tar_archive(path: Path) -> None:
    inner = write(path.with_name("inner.pth"), STATE)
    with tarfile.open(path, "w") as archive:
        archive.add(inner, "inner.pth")


def zip_archive(path: Path) -> None:
    inner = write(path.with_name("inner.pth"), STATE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "inner.pth")


def saved(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (
            whole_network,
            "not a plain tensor dictionary\n  reason  it would call torch.nn.modules.linear",
            "state_dict()",
        ),
        (saved({**STATE, "odd": frozenset()}), "it would call frozenset", "state_dict()"),
        (script, "TorchScript program", "state_dict()"),
        (tar_archive, "an archive of files (tar)", "unpack it"),
        (zip_archive, "an archive of files (zip)", "unpack it"),
        (saved([1]), "its content is of type list, not a dictionary", ""),
        (saved({}), "its content is an empty table", ""),
        (saved({"epoch": 3}), "holds no tensors\n  entries  epoch", ""),
        (saved({"model": {**STATE, "a.b": 3}}), "its entry 'a.b' is of type int, not a tensor", ""),
        (saved({**STATE, "a.b": argparse.Namespace()}), "its entry 'a.b' is of type Namespace, not a tensor", ""),
        (saved({**STATE, 3: 3}), "its entry 3 is of type int, not a tensor", ""),
        (lambda path: path.write_bytes(b"no checkpoint"), "it begins  no checkpoint", "download"),
        (lambda path: path.write_bytes(b"\x80\x02}q"), "cannot read checkpoint", "truncated"),
        (
            lambda path: torch.save(STATE, path, pickle_protocol=4),
            "a pickle protocol other than",
            "as it is by default",
        ),
        (lambda path: None, "there is no such checkpoint", ""),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_anything_else_is_refused(make: Callable[[Path], object], message: str, hint: str, tmp_path: Path) -> None:
    make(tmp_path / "published.pth")
    with pytest.raises(UsageError) as caught:
        read_weights(tmp_path / "published.pth")
    assert message in str(caught.value) and hint in str(caught.value)
    assert not re.search("weights_only|safe_globals", str(caught.value))  # PyTorch's advice to load unsafely


def test_a_crafted_numpy_scalar_is_not_made(tmp_path: Path) -> None:
    """Bookkeeping of NumPy's types is read by a stand-in: what it says is not so much as looked at."""

    class Crafted:
        def __reduce__(self) -> tuple[object, ...]:
            return np.zeros(1).dtype.type(0).__reduce__()[0], ("no type at all", b"bytes")

    assert_same(read_weights(write(tmp_path / "odd.pth", {"state_dict": STATE, "best": Crafted()})), STATE)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.zeros((0, 3), np.float32),
        np.array([[True, False]]),
        np.array(7, np.int64),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
@Legacy
def test_numpy_arrays_are_weights_too(array: np.ndarray[Any, Any], legacy: bool, tmp_path: Path) -> None:
    content = {"model": {**STATE, "head.weight": array}, "best": np.float32(3), "history": {"loss": array}}
    read = read_weights(write(tmp_path / "arrays.pth", content, legacy))
    assert read["head.weight"].tolist() == array.tolist()
    assert read["head.weight"].dtype == torch.from_numpy(array.astype(array.dtype.newbyteorder("="))).dtype


class CraftedArray:
    """An array whose pickle says what the test wants."""

    def __init__(self, state: tuple[object, ...]) -> None:
        self.state = state

    def __reduce__(self) -> tuple[object, ...]:
        return (*np.zeros(1).__reduce__()[:2], self.state)


@pytest.mark.parametrize(
    "state",
    [
        (1, (2,), np.dtype(object), False, [1, 2]),
        (1, (2,), np.dtype("f4"), False, b"1234"),
        (1, (2,), np.dtype("f4,f4"), False, b"1" * 16),
        (1, (2,), np.dtype("U1"), False, b"1" * 8),
        (1, (-1,), np.dtype("f4"), False, b""),
        (1, (2**40, 2**40), np.dtype("f4"), False, b""),
        (1, "ab", np.dtype("f4"), False, b"1234"),
        (1,),
        ("nothing", "that", "is", "an", "array"),
    ],
    ids=str,
)
def test_crafted_arrays_are_refused(state: tuple[object, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "odd.pth", {**STATE, "head.weight": CraftedArray(state)})
    with pytest.raises(UsageError, match="weight is a NumPy array that cannot be read as weights"):
        read_weights(path)
