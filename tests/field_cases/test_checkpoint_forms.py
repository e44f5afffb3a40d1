"""Checkpoints as people save, wrap and download them: what each becomes, on the command line."""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adroit.models.networks.architectures import build_network
from tests.conftest import Adroit, Result

State = dict[str, Tensor]
Write = Callable[[State, Path], Any]
ADDER = "adder-resnet20"


@pytest.fixture(scope="module")
def state() -> State:
    """An adder ResNet-20's, by the published names."""
    from adroit.models.checkpoints.importers import layout_of

    torch.manual_seed(0)
    network = build_network(ADDER)
    layout = layout_of(ADDER)
    # Norms with statistics: an untouched one would hide which table was taken.
    own = {name: t.abs() + 0.1 if "running" in name else t for name, t in network.state_dict().items()}
    return {layout.key(network, name): tensor for name, tensor in own.items()}


def form(make: Callable[[State], object], **options: Any) -> Write:
    return lambda state, path: torch.save(make(state), path, **options)


def put_before(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def cast(kind: torch.dtype) -> Write:
    return form(lambda s: {name: t.to(kind) if t.is_floating_point() else t for name, t in s.items()})


def counted_operations(state: State) -> State:
    modules = {name.rpartition(".")[0] for name in state}
    counts = [f"{module}.{count}" for module in modules for count in ("total_ops", "total_params")]
    return {**state, **{name: torch.zeros(1, dtype=torch.float64) for name in [*counts, "total_ops", "total_params"]}}


def spoiled(state: State) -> State:
    return {name: t * 0 + 1 if t.is_floating_point() else t for name, t in state.items()}


def transposed_in_memory(state: State) -> State:
    return {name: t.T.contiguous().T if t.dim() == 2 else t for name, t in state.items()}


STATISTICS = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
PLAIN: dict[str, Write] = {
    "as it is": form(dict),
    "no counter of batches": form(lambda s: {n: t for n, t in s.items() if "num_batches" not in n}),
    "module.module.": form(lambda s: put_before("module.module.", s)),
    "_orig_mod.": form(lambda s: put_before("_orig_mod.", s)),
    "module._orig_mod.": form(lambda s: put_before("module._orig_mod.", s)),
    "model.": form(lambda s: put_before("model.", s)),
    "net.": form(lambda s: put_before("net.", s)),
    "half": cast(torch.float16),
    "bfloat16": cast(torch.bfloat16),
    "float64": cast(torch.float64),
    "not contiguous": form(transposed_in_memory),
    "legacy format": form(dict, _use_new_zipfile_serialization=False),
    "parameters": form(lambda s: {n: nn.Parameter(t) if t.is_floating_point() else t for n, t in s.items()}),
    "NumPy arrays": form(lambda s: {name: t.numpy() for name, t in s.items()}),
    "NumPy arrays in the legacy format": form(
        lambda s: {name: t.numpy() for name, t in s.items()}, _use_new_zipfile_serialization=False
    ),
    "safetensors with metadata": lambda s, path: save_file(s, path, metadata={"format": "pt", "note": "x"}),
}
TABLES: dict[str, tuple[Write, str]] = {
    "net": (form(lambda s: {"net": s, "acc": 91.2, "epoch": 3}), "net"),
    "model_state_dict": (
        form(lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {}}}),
        "model_state_dict",
    ),
    "ema alone": (form(lambda s: {"ema": s, "epoch": 1}), "ema"),
    "params": (form(lambda s: {"params": s}), "params"),
    "weights": (form(lambda s: {"weights": s}), "weights"),
    "nested": (form(lambda s: {"model": {"state_dict": s}, "iter": 1}), "model.state_dict"),
    "nested deeper": (form(lambda s: {"checkpoint": {"model": {"state_dict": s}}}), "checkpoint.model.state_dict"),
    "Lightning": (
        form(
            lambda s: {
                "state_dict": put_before("model.", s),
                "hyper_parameters": {"lr": 0.1},
                "pytorch-lightning_version": "2.0",
            }
        ),
        "state_dict",
    ),
    "options beside": (form(lambda s: {"state_dict": s, "args": argparse.Namespace(lr=0.1)}), "state_dict"),
    "a NumPy number beside": (form(lambda s: {"state_dict": s, "best_pred": np.float64(91.2)}), "state_dict"),
}  # fmt: skip
SAID: dict[str, tuple[Write, list[str]]] = {
    "thop": (form(counted_operations), ["operation counts of thop", "total_ops"]),
    "averaged weights": (
        form(lambda s: {"n_averaged": torch.tensor(7), **put_before("module.", s)}),
        ["counters of the training (n_averaged)"],
    ),
    "averaged weights without prefix": (form(lambda s: {**s, "n_averaged": torch.tensor(7)}), ["n_averaged"]),
    "an epoch among the tensors": (form(lambda s: {**put_before("module.", s), "epoch": torch.tensor(3)}), ["epoch"]),
    "normalization": (
        form(lambda s: {**put_before("model.", s), "normalize.mean": STATISTICS, "normalize.std": STATISTICS}),
        ["a wrapper's normalization (normalize.mean [0.485, 0.456, 0.406]", "compare the numbers"],
    ),
    "normalization in front": (
        form(lambda s: {"0.mean": STATISTICS, "0.std": STATISTICS, **put_before("1.", s)}),
        ["a wrapper's normalization (0.mean [0.485"],
    ),
    "an attack around it": (
        form(
            lambda s: {
                "model": {
                    **put_before("module.model.", s),
                    "module.normalizer.new_mean": STATISTICS,
                    **put_before("module.attacker.model.", s),
                }
            }
        ),
        ["an attack's second copy of the network (attacker.model.", "normalizer.new_mean [0.485"],
    ),
    "a loss with weights": (
        form(lambda s: {"state_dict": {**put_before("model.", s), "criterion.weight": torch.ones(10)}}),
        ["weights of the loss (criterion.weight)"],
    ),
    "a moving average beside": (
        form(lambda s: {"state_dict_ema": s, "state_dict": spoiled(s)}),
        ["took 'state_dict_ema', and left out 'state_dict' (", "--weights-key"],
    ),
}


def write_archive(state: State, path: Path, kind: str) -> None:
    torch.save(state, path.with_name("inner.pth"))
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.write(path.with_name("inner.pth"), "inner.pth")
    elif kind == "tar":
        with tarfile.open(path, "w") as archive:
            archive.add(path.with_name("inner.pth"), "inner.pth")
    elif kind == "npz":
        with path.open("wb") as opened:
            np.savez(opened, **{name: tensor.numpy() for name, tensor in state.items()})  # type: ignore[arg-type]
    else:
        path.write_bytes(gzip.compress(path.with_name("inner.pth").read_bytes()))


PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>\n"
# A zip file that says of itself that it goes on on another disk: Python's own look at it raises.
SEVERAL_DISKS = b"PK\x03\x04" + bytes(60) + struct.pack("<4sLQL", b"PK\x06\x07", 1, 0, 5) + b"PK\x05\x06" + bytes(18)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 1103424\n"
REFUSED: dict[str, tuple[Write, list[str]]] = {
    "a web page": (
        lambda s, p: p.write_bytes(PAGE),
        ["it is a web page", "Google Drive - Virus scan warning", "browser"],
    ),
    "a page with a mark": (lambda s, p: p.write_bytes(b"\xef\xbb\xbf\r\n" + PAGE.lower()), ["it is a web page"]),
    "a server's answer": (
        lambda s, p: p.write_bytes(b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
        ["HTML or XML", "AccessDenied"],
    ),
    "an LFS pointer": (lambda s, p: p.write_bytes(POINTER), ["git-LFS pointer", "git lfs pull"]),
    "nothing": (lambda s, p: p.write_bytes(b""), ["it is empty, of 0 bytes"]),
    "text": (
        lambda s, p: p.write_bytes(b'{"message": "Not Found"}'),
        ["neither a PyTorch file nor safetensors", "Not Found"],
    ),
    "gzip": (lambda s, p: write_archive(s, p, "gzip"), ["compressed (gzip)", "unpack it"]),
    "zip": (lambda s, p: write_archive(s, p, "zip"), ["an archive of files (zip)", "unpack it"]),
    "tar": (lambda s, p: write_archive(s, p, "tar"), ["an archive of files (tar)", "unpack it"]),
    "a tar file cut short": (
        lambda s, p: (write_archive(s, p, "tar"), p.write_bytes(p.read_bytes()[:200_000])),
        ["an archive of files (tar)", "unpack it"],
    ),
    "a zip file cut short": (
        lambda s, p: (write_archive(s, p, "zip"), p.write_bytes(p.read_bytes()[:200_000])),
        ["cannot read checkpoint", "truncated"],
    ),
    "a zip file of several disks": (lambda s, p: p.write_bytes(SEVERAL_DISKS), ["cannot read checkpoint", "truncated"]),
    "NumPy's archive": (lambda s, p: write_archive(s, p, "npz"), ["a file of NumPy arrays (npz)"]),
    "a whole network": (
        form(lambda s: nn.Sequential(nn.Linear(2, 2))),
        ["it would call torch.nn.modules", "save `network.state_dict()`"],
    ),
    "a student and a teacher": (form(lambda s: {"student": s, "teacher": spoiled(s)}), ["--weights-key student"]),
    "a generator and more": (form(lambda s: {"a": s, "b": spoiled(s)}), ["several tables", "--weights-key a"]),
}  # fmt: skip


def run_import(adroit: Adroit, state: State, write: Write, tmp_path: Path) -> tuple[Result, Path]:
    """The finished command, its notes among its errors, and the folder that it was to write."""
    write(state, tmp_path / "published.pth")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = adroit("import", ADDER, tmp_path / "published.pth", "-o", tmp_path / "out")
    notes = "".join(str(warning.message) for warning in caught)
    return Result(done.code, done.out, done.err + notes), tmp_path / "out"


def assert_imported(state: State, folder: Path, tolerance: float = 0.0) -> None:
    held = load_file(folder / "model.safetensors")
    renamed = {
        name.removesuffix(".adder") + ".weight" if name.endswith(".adder") else name: t for name, t in state.items()
    }
    assert held.keys() == renamed.keys()
    for name, tensor in renamed.items():
        if "num_batches" not in name:
            torch.testing.assert_close(held[name], tensor, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("write", PLAIN.values(), ids=PLAIN)
def test_usual_forms_are_imported_without_a_word(
    write: Write, state: State, adroit: Adroit, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    done, folder = run_import(adroit, state, write, tmp_path)
    assert done.code == 0 and done.err == "", done.err
    short = any(word in request.node.name for word in ("half", "bfloat16"))
    assert_imported(state, folder, 1e-2 if short else 0.0)


@pytest.mark.parametrize(("write", "key"), TABLES.values(), ids=TABLES)
def test_the_table_is_found_and_recorded(write: Write, key: str, state: State, adroit: Adroit, tmp_path: Path) -> None:
    done, folder = run_import(adroit, state, write, tmp_path)
    assert done.code == 0 and done.err == "", done.err
    assert f"({key})" in done.out
    assert json.loads((folder / "config.json").read_text())["source"]["key"] == key
    assert_imported(state, folder)


@pytest.mark.parametrize(("write", "texts"), SAID.values(), ids=SAID)
def test_what_is_passed_over_is_said(
    write: Write, texts: list[str], state: State, adroit: Adroit, tmp_path: Path
) -> None:
    done, folder = run_import(adroit, state, write, tmp_path)
    assert done.code == 0 and all(text in done.err for text in texts), done.err
    assert_imported(state, folder)


@pytest.mark.parametrize(("write", "texts"), REFUSED.values(), ids=REFUSED)
def test_the_rest_is_called_what_it_is(
    write: Write, texts: list[str], state: State, adroit: Adroit, tmp_path: Path
) -> None:
    done, folder = run_import(adroit, state, write, tmp_path)
    assert done.code == 2 and all(text in done.err for text in texts), done.err
    assert not re.search("weights_only|safe_globals", done.err) and not folder.exists()


def test_names_of_files_do_not_matter(state: State, adroit: Adroit, tmp_path: Path) -> None:
    save_file(state, tmp_path / "UPPER.SAFETENSORS")
    shutil.copy(tmp_path / "UPPER.SAFETENSORS", tmp_path / "safetensors.pth")
    torch.save(state, tmp_path / "legacy.safetensors", _use_new_zipfile_serialization=False)
    torch.save(state, tmp_path / "zip.safetensors")
    for file in ("UPPER.SAFETENSORS", "safetensors.pth", "legacy.safetensors", "zip.safetensors"):
        done = adroit("import", ADDER, tmp_path / file, "-o", tmp_path / f"out-{file}")
        assert done.code == 0, done.err
        assert_imported(state, tmp_path / f"out-{file}")


def test_the_other_table_can_be_chosen(state: State, adroit: Adroit, tmp_path: Path) -> None:
    torch.save({"state_dict_ema": spoiled(state), "state_dict": state}, tmp_path / "both.pth")
    done = adroit("import", ADDER, tmp_path / "both.pth", "-o", tmp_path / "out", "--weights-key", "state_dict")
    assert done.code == 0 and done.err == ""
    assert_imported(state, tmp_path / "out")
