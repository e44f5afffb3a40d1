"""`python -m adroit.deploy.operators new NAME`: the files of a new operator, in a clone of adroit."""

from __future__ import annotations

import sys
from pathlib import Path

from adroit.deploy.operators.new_operator import describe, write_operator
from adroit.errors import UsageError

USAGE = "usage: python -m adroit.deploy.operators new NAME [REPOSITORY]"


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code: 0 fine, 2 wrong usage."""
    if len(arguments) not in (2, 3) or arguments[0] != "new":
        print(USAGE, file=sys.stderr)
        return 2
    repository = Path(arguments[2]) if len(arguments) > 2 else Path.cwd()
    try:
        print(describe(write_operator(repository, arguments[1])), end="")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
