"""Trainings by the names of their recipes, for the comparisons of methods."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from msgspec.structs import replace

from adroit.files import read_json
from adroit.models.training.loop import Epoch, train
from adroit.models.training.recipe import read_recipe
from benchmarks.measure import RESULTS


@dataclass(frozen=True)
class Runs:
    """Trainings into folders of `folder`, of images `training` and `validation` (DATA), all of one seed."""

    folder: Path
    training: str
    validation: str
    seed: int

    def run(
        self,
        recipe_name: str,
        name: str,
        teacher: Path | None = None,
        initial: Path | None = None,
        classes: int | None = None,
        epochs: int | None = None,
    ) -> dict[str, Any]:
        """One training to `folder / name`: percentages, and the CPU seconds of all of it.

        Args:
            classes, epochs: instead of the recipe's.
        """
        recipe, text = read_recipe(recipe_name)
        recipe = recipe.with_overrides(
            training=self.training,
            validation=self.validation,
            seed=self.seed,
            teacher=str(teacher or ""),
            initial=str(initial or ""),
        )
        if classes:
            recipe = replace(recipe, arguments={**recipe.arguments, "classes": classes})
        if epochs:
            recipe = replace(recipe, optimizer=replace(recipe.optimizer, epochs=epochs))
        start = time.process_time()
        print(f"seed {self.seed}: {name} by {recipe_name}", file=sys.stderr, flush=True)
        result = train(recipe, text, self.folder / name, _report)
        assert result is not None
        print(f"  {100.0 * result.accuracy:.2f}% {result.measure} {result.figures or ''}", file=sys.stderr, flush=True)
        return {
            "network": name,
            "recipe": recipe_name,
            "seed": self.seed,
            "epochs": recipe.optimizer.epochs,
            "accuracy": 100.0 * result.accuracy,
            **result.figures,
            "cpu_seconds": time.process_time() - start,
        }


def _report(epoch: Epoch) -> None:
    if epoch.number % 5 == 0 or epoch.number == epoch.epochs:
        print(f"  epoch {epoch.number}/{epoch.epochs}  loss {epoch.loss:.4f}", file=sys.stderr, flush=True)


def kept_rows(name: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of benchmarks/results/<name>.json of other seeds than `seeds`; none where there is no file."""
    path = RESULTS / f"{name}.json"
    rows = read_json(path, "earlier results")["rows"] if path.exists() else []
    return [row for row in rows if row["seed"] not in seeds]


def command_of(name: str, data: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Returns the command that reproduces all rows: the module `name`, its options about data, and the rows' seeds."""
    seeds = sorted({row["seed"] for row in rows})
    return shlex.join(["python", "-m", f"benchmarks.{name}", *data, "--seeds", *map(str, seeds), "--keep"])


def print_summary(rows: Sequence[dict[str, Any]], networks: Sequence[str], figures: Sequence[str]) -> None:
    """Markdown: of each network the mean over the seeds, and the smallest and largest in brackets."""
    print("| | seeds | " + " | ".join(figures) + " |\n|---|---|" + "---|" * len(figures))
    for network in networks:
        own = [row for row in rows if row["network"] == network]
        cells = []
        for figure in figures:
            values = [row[figure] for row in own if figure in row]
            spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
            cells.append(f"{mean(values):.1f}{spread}" if values else "")
        print(f"| {network} | {len(own)} | {' | '.join(cells)} |", flush=True)
