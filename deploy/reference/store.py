"""Writing and reading `reference/`: `program.json` and `weights.safetensors`. Reading runs no code of the folder."""

from __future__ import annotations

from pathlib import Path

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from adroit import files
from adroit.deploy.reference.interpret import StoredProgram
from adroit.deploy.reference.program import Program
from adroit.errors import AdroitError, UsageError

PROGRAM, WEIGHTS = "program.json", "weights.safetensors"
# A node takes some 300 bytes.
MAX_BYTES = 64 << 20


def write_reference(folder: Path, program: StoredProgram) -> None:
    """Writes both files to `folder`, whole or not at all, in place of an earlier reference.

    Raises:
        UsageError: `folder` cannot be written. OutOfResource: the disk is full.
    """
    names = [spec.name for spec in program.program.weights]
    tensors = {name: program.weight(name).detach().contiguous() for name in names}
    text = msgspec.json.format(msgspec.json.encode(program.program), indent=1)
    with files.atomic_folder(folder) as temporary:
        files.write_bytes(temporary / PROGRAM, text + b"\n")
        files.write_bytes(temporary / WEIGHTS, save(tensors))


def read_reference(folder: Path) -> StoredProgram:
    """The network that `write_reference` wrote, in float32.

    Raises:
        UsageError: a file that is missing, damaged or hostile.
        UnsupportedModel: a program with an operator that this adroit does not know.
        OutOfResource: a program that asks for more memory than any network does.
    """
    path = folder / PROGRAM
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than any network's: {path.stat().st_size:,} bytes")
        program = msgspec.json.decode(path.read_bytes(), type=Program)
    except FileNotFoundError:
        raise UsageError(f"the reference of the network is missing: {path}", hint="export it again") from None
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    try:
        # Copies: the file's offsets are not aligned, and PyTorch orders a sum by the alignment of its operands.
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot read weights {folder / WEIGHTS}", facts={"reason": error}) from error
    try:
        return StoredProgram(program, tensors)
    except AdroitError as error:
        raise type(error)(f"{path}: {error.message}", facts=error.facts, hint=error.hint) from error


def _damaged(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} is damaged", facts={"reason": reason}, hint="export the network again")
