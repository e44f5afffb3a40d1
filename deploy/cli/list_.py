"""The command `adroit list`."""

from __future__ import annotations

import sys
import warnings
from enum import StrEnum
from typing import Annotated

import typer

import adroit
from adroit import files
from adroit.deploy.cli.options import AsJson


class Kind(StrEnum):
    """What can be listed."""

    networks = "networks"
    recipes = "recipes"
    tasks = "tasks"
    operators = "operators"


def list_(
    kind: Annotated[Kind, typer.Argument(metavar="networks|recipes|tasks|operators", help="What to list.")],
    as_json: AsJson = False,
) -> None:
    """List the networks, training recipes, tasks or operators that there are, one name a line."""
    functions = {
        Kind.networks: adroit.list_networks,
        Kind.recipes: adroit.list_recipes,
        Kind.tasks: adroit.list_tasks,
        Kind.operators: adroit.list_operators,
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", "left out: ")  # of packages that are broken
        names = functions[kind]()
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    print(files.json_text(names) if as_json else "\n".join(names), end="" if as_json else "\n")
