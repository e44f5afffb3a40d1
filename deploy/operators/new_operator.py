"""Writes the files of a new operator from plugins/templates, and says what to fill in.

The files are those of an operator of one input and one output, element by element, which computes Y = X. They build
and pass their tests as they are, except where they say FILL IN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from adroit.errors import UsageError

TEMPLATES = Path("plugins/templates")
DESCRIPTIONS = Path("plugins/operators.toml")
SUFFIX = ".template"
FILL_IN = "FILL IN"
# The new entry goes before this line of operators.toml.
END_OF_OPERATORS = "# ---- not in deployments"

NEXT_STEPS = """\
then:
  build and install        python -m pip install --no-deps --no-build-isolation --editable .
  test                     python -m pytest tests/operators tests/native
  where a network needs it: a layer in models/layers/, an importer in models/checkpoints/, a pass in deploy/passes/
  on a GPU                 python -m tests.gpu.check (its programs take the new tests of tests/native/cuda by folder)
"""


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written or changed: its path in the repository, and the numbers of the lines to fill in."""

    path: Path
    lines: tuple[int, ...]


def file_name(operator: str) -> str:
    """The name of the operator's files: "AdaptiveFilter" gives "adaptive_filter"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", operator).lower()


def write_operator(repository: Path, operator: str) -> list[WrittenFile]:
    """Writes every file of the new operator and its entry in operators.toml.

    Args:
        repository: a clone of adroit. operator: its name in ONNX, in CamelCase.

    Raises:
        UsageError: no such name, a folder that is no clone, or files that are there already; nothing was written.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", operator):
        raise UsageError(f"{operator!r} is no name of an operator", hint="use CamelCase: AdaptiveFilter")
    if not (repository / TEMPLATES).is_dir():
        raise UsageError(f"{repository} is no clone of adroit: {TEMPLATES} is missing", hint="run it in a clone")
    texts = {
        Path(_named(str(template.relative_to(repository / TEMPLATES)), operator)): _named(
            template.read_text(encoding="utf-8"), operator
        )
        for template in sorted((repository / TEMPLATES).rglob(f"*{SUFFIX}"))
    }
    entry = texts.pop(Path(DESCRIPTIONS.name))
    present = [path for path in texts if (repository / path).exists()]
    described = (repository / DESCRIPTIONS).read_text(encoding="utf-8")
    if present or f"[operators.{operator}]" in described:
        raise UsageError(
            f"there is an operator {operator} already: {present[0] if present else DESCRIPTIONS}",
            hint="choose another name, or remove its files first",
        )
    for path, text in texts.items():
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text(text, encoding="utf-8")
    before, after = described.split(END_OF_OPERATORS, 1)
    (repository / DESCRIPTIONS).write_text(f"{before}{entry}{END_OF_OPERATORS}{after}", encoding="utf-8")
    return [_written(repository, path) for path in [DESCRIPTIONS, *sorted(texts)]]


def describe(files: list[WrittenFile]) -> str:
    """The list for the author of the operator, with what comes after."""
    width = max(len(str(file.path)) for file in files)
    lines = [
        f"  {file.path!s:{width}}  "
        + (f"fill in line {', '.join(map(str, file.lines))}" if file.lines else "complete for one input and one output")
        for file in files
    ]
    return "\n".join(["written:", *lines, NEXT_STEPS])


def _named(text: str, operator: str) -> str:
    return text.replace("@Name@", operator).replace("@file@", file_name(operator)).removesuffix(SUFFIX)


def _written(repository: Path, path: Path) -> WrittenFile:
    lines = (repository / path).read_text(encoding="utf-8").splitlines()
    return WrittenFile(path, tuple(number for number, line in enumerate(lines, 1) if FILL_IN in line))
