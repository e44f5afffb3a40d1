"""Whatever documents, hints, recipes, comments and docstrings name exists: commands, scripts, files. None is run."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer.main

from adroit.deploy.cli.main import app
from adroit.models.networks.architectures import ARCHITECTURES
from tests.conftest import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [
    file
    for folder in ("deploy", "models", "benchmarks", "examples")
    for file in sorted((ROOT / folder).rglob("*"))
    if file.suffix in (".py", ".toml")
]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# A command as far as its line, its quotation or its comment goes; a line that ends in \ goes on.
ADROIT = re.compile(rf"\badroit ({'|'.join(COMMANDS)})\b((?:\\\n|[^`\"#\n;)])*)")
SCRIPT = re.compile(r"python (-m [a-z][\w.]*|examples/\w+\.py)((?:\\\n|[^`\"#\n;)])*)")


# Files of the repository that code and comments speak of.
CODE = {".py", ".pyi", ".cpp", ".h", ".cu", ".cmake", ".toml", ".txt", ".sh", ".proto", ".js"}
TOP = ("models", "deploy", "plugins", "tests", "benchmarks", "examples", "docs", "src")
PATH = re.compile(rf"(?<![\w./-])((?:{'|'.join(TOP)})/[a-z_][\w.-]*(?:/[\w.-]+)*)(?![\w/{{*<-])")
# Where the build puts its files, in one kind of install.
BUILT = ("src/adroit/native",)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def choices_of(annotation: object) -> set[str]:
    """The values of the enumeration within a parameter's type; empty where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {str(member.value) for member in annotation}
    return {value for argument in get_args(annotation) for value in choices_of(argument)}


def faults_of_command(name: str, words: list[str]) -> list[str]:
    """What of `adroit NAME WORDS...` the command line does not have."""
    command = COMMANDS[name]
    if getattr(command, "commands", None) and words:
        name, command = f"{name} {words[0]}", command.commands.get(words[0])
        if command is None:
            return [f"adroit {name}"]
    types = get_type_hints(command.callback) if command.callback else {}
    choices = {option: choices_of(types.get(p.name)) for p in command.params for option in (*p.opts, *p.secondary_opts)}
    faults = []
    for option, value in zip(words, [*words[1:], ""], strict=False):
        option = option.rstrip(".,:")
        if option.startswith("-") and option not in choices and option != "--help":
            faults.append(f"adroit {name} {option}")
        elif known := choices.get(option):
            faults += [f"{option} {v}" for v in value.split("|") if re.match("[a-z]", v) and v not in known]
    return faults


def faults_of_text(text: str) -> list[str]:
    """What `text` names of the command line and is not there: commands, options, values, recipes, architectures."""
    faults = []
    for name, rest in ADROIT.findall(text):
        words = rest.replace("\\\n", " ").split()
        faults += faults_of_command(name, words)
        subject = words[0] if words and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", words[0]) else None
        if subject and name == "train" and not (ROOT / "models" / "recipes" / f"{subject}.toml").is_file():
            faults.append(f"the recipe {subject}")
        if subject and name == "import" and subject not in ARCHITECTURES:
            faults.append(f"the architecture {subject}")
    return faults


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_commands_in_documents_exist(path: Path) -> None:
    assert faults_of_text(path.read_text()) == []


def test_commands_in_hints_recipes_and_docstrings_exist() -> None:
    assert {named(path): faults for path in SOURCES if (faults := faults_of_text(path.read_text()))} == {}


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_scripts_and_their_options_exist(path: Path) -> None:
    text, faults = path.read_text(), []
    for script, rest in SCRIPT.findall(text):
        if script.startswith("-m "):
            module = importlib.util.find_spec(script[3:])
            source = Path(module.origin) if module and module.origin else None
        else:
            source = ROOT / script if (ROOT / script).is_file() else None
        if source is None:
            faults.append(script)
            continue
        code = source.read_text()
        faults += [f"{script} {word}" for word in rest.split() if word.startswith("--") and f'"{word}"' not in code]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    faults += [
        f"make {target}" for target in re.findall(r"^(?:.*`)?make ([a-z-]+)", text, re.M) if target not in targets
    ]
    assert not faults


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_and_files_exist(path: Path) -> None:
    text, faults = path.read_text(), []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            faults.append(link)
    assert not faults + missing_paths(text)


def missing_paths(text: str) -> list[str]:
    """Paths of the repository that `text` names and that are not there; names in capitals stand for others."""
    names = [name.rstrip(".-") for name in PATH.findall(text)]
    real = [name for name in names if name not in BUILT and not re.search(r"[A-Z]{3}|\.so$", name)]
    return [name for name in real if not (ROOT / name).exists()]


def test_paths_in_code_and_comments_exist() -> None:
    """In Python, C++, CUDA, CMake and TOML."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False)
    if listed.returncode:
        pytest.skip(f"this tree is no git repository: {listed.stderr.strip()}")
    files = [ROOT / name for name in listed.stdout.splitlines() if Path(name).suffix in CODE]
    files = [file for file in files if file.is_file() and file != Path(__file__)]
    assert {named(file): missing for file in files if (missing := missing_paths(file.read_text()))} == {}


def test_a_stale_path_is_found() -> None:
    assert missing_paths("# see deploy/nowhere/x.py, deploy/cli/run.py, and benchmarks/results/NAME.json.") == [
        "deploy/nowhere/x.py"
    ]


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "text",
    [
        "`adroit check DEPLOYMENT --imagez 3`",
        "adroit build DEPLOYMENT \\\n    --backend tensorrt-tx",
        "adroit run DEPLOYMENT --runtime tensorrt|tensorrt-leaner",
        "hint: adroit plugins chuck LIBRARY",
        "adroit train digits-adder-lenet6 -o checkpoint",
        "adroit import adder-resnet21 FILE -o checkpoint",
    ],
)
def test_a_fault_is_found(text: str) -> None:
    assert len(faults_of_text(text)) == 1


def test_every_document_is_reached_from_the_readme() -> None:
    """And every command of the program is in its table."""
    readme = (ROOT / "README.md").read_text()
    assert [d.name for d in DOCUMENTS[1:] if f"](docs/{d.name})" not in readme] == []
    assert [
        command for command in COMMANDS if f"`{command}`" not in readme and f"`adroit {command}`" not in readme
    ] == []
