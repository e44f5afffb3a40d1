"""Names files that are given as checkpoints and are something else, from how they begin."""

from __future__ import annotations

import contextlib
import re
import tarfile
import zipfile
from pathlib import Path

from adroit.errors import UsageError

_HEAD = 512
_PICKLE, _ZIP = b"\x80", b"PK\x03\x04"
_FETCH = "download the file itself, and compare its size and sha256 with the publisher's"
_UNPACK = "unpack it, and give the checkpoint in it"
_CONVERT = "save the network's `state_dict()` by torch.save, or as safetensors, and import that"
_BEGINNINGS = (
    (b"version https://git-lfs", "a git-LFS pointer: the text that stands for the file in a repository",
     "get the file itself: `git lfs pull` in the repository, or the page's download button"),
    (b"\x1f\x8b", "compressed (gzip)", _UNPACK),
    (b"BZh", "compressed (bzip2)", _UNPACK),
    (b"\xfd7zXZ", "compressed (xz)", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed (zstandard)", _UNPACK),
    (b"7z\xbc\xaf", "an archive of files (7z)", _UNPACK),
    (b"Rar!", "an archive of files (rar)", _UNPACK),
    (b"\x89HDF", "an HDF5 file, as Keras writes weights", _CONVERT),
    (b"\x93NUMPY", "one NumPy array", _CONVERT),
    (b"GGUF", "a GGUF file", _CONVERT),
    (b"\x89PNG", "an image (PNG)", _FETCH),
    (b"\xff\xd8\xff", "an image (JPEG)", _FETCH),
)  # fmt: skip


def refuse_foreign(file: Path) -> None:
    """Raises UsageError where `file` is plainly no checkpoint, and says what it is and how to get the real one.

    Takes whatever begins as safetensors, as a zip file, as a tar file or as a pickle does: their readers say more.
    """
    try:
        with open(file, "rb") as opened:
            head = opened.read(_HEAD)
    except OSError as error:
        raise UsageError(f"cannot read checkpoint {file}", facts={"reason": error}) from error
    if not head:
        raise UsageError(f"cannot read checkpoint {file}: it is empty, of 0 bytes", hint=_FETCH)
    for beginning, kind, hint in _BEGINNINGS:
        if head.startswith(beginning):
            raise UsageError(f"{file} is no checkpoint: it is {kind}", hint=hint)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb"<(!doctype|!--|html|head|\?xml|error)", text, re.IGNORECASE):
        raise UsageError(
            f"{file} is no checkpoint: it is a web page or a server's answer (HTML or XML)",
            facts={"it says": _page_title(head)},
            hint="open the link in a browser, confirm what the page asks, and download the file itself",
        )
    known = is_safetensors(head) or head.startswith((_ZIP, _PICKLE)) or _is_tar(file)
    if not known and file.suffix != ".safetensors" and not _is_zip(file):
        raise UsageError(
            f"{file} is no checkpoint: it is neither a PyTorch file nor safetensors",
            facts={"it begins": repr(head[:32])[2:-1]},
            hint=_FETCH,
        )


def _is_tar(file: Path) -> bool:
    with contextlib.suppress(Exception):  # a damaged file makes Python's readers of archives raise almost anything
        return tarfile.is_tarfile(file)
    return False


def _is_zip(file: Path) -> bool:
    with contextlib.suppress(Exception):
        return zipfile.is_zipfile(file)
    return False


def _names_in_tar(file: Path) -> set[str]:
    """The names of the files in it; of a damaged one none."""
    with contextlib.suppress(Exception), tarfile.open(file) as archive:
        return set(archive.getnames())
    return set()


def _names_in_zip(file: Path) -> set[str]:
    """The names of the files in it without their folders; of a damaged one none."""
    with contextlib.suppress(Exception), zipfile.ZipFile(file) as archive:
        return {name.rpartition("/")[2] for name in archive.namelist()}
    return set()


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins with `head` has a length of eight bytes, then JSON."""
    return len(head) > 8 and head[8:9] == b"{" and not any(head[5:8])


def is_pickle_or_zip(head: bytes) -> bool:
    """Whether a file that begins with `head` is PyTorch's, whatever its name says."""
    return head.startswith((_ZIP, _PICKLE))


def _page_title(head: bytes) -> str:
    text = head.decode("utf-8", "replace")
    found = re.search(r"<(title|message|code)[^>]*>([^<]+)", text, re.IGNORECASE)
    return found[2].strip() if found else " ".join(text.split())[:60]


def archive_fault(file: Path) -> UsageError | None:
    """What to say of archives that PyTorch does not read as weights; None for any other file."""
    if _is_tar(file):  # before zip: one that ends with a zip file in it looks like that too
        names = _names_in_tar(file)
        kind = "" if "storages" in names else "tar"
    elif _is_zip(file):
        names = _names_in_zip(file)
        kind = "" if "data.pkl" in names else "zip"
    else:
        return None
    if kind and names and all(name.endswith(".npy") for name in names):
        return UsageError(f"{file} is no checkpoint: it is a file of NumPy arrays (npz)", hint=_CONVERT)
    if kind:
        return UsageError(f"{file} is an archive of files ({kind})", hint=_UNPACK)
    if "constants.pkl" in names or "storages" in names:
        program = "a TorchScript program" if "constants.pkl" in names else "of PyTorch's first format (tar)"
        return UsageError(
            f"{file} is refused: it is {program}, which cannot be read without running its code",
            hint="load it where you trust it, save the network's `state_dict()`, and import that",
        )
    return None
