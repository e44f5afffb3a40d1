"""The spread of the medians of several runs of `adroit profile`, beside that of the machine's speed.

    python -m benchmarks.repeatability DEPLOYMENT... [--runs 5] [--seconds 2]

Every run is a process of its own. The spread is (largest - smallest) / median of the runs' medians; beside it
that of the reference work (deploy/measure/reference.py), and that of the medians divided by the reference: the
bar of 5 % is for a quiet machine, whose reference stays within 5 % too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from adroit.deploy.measure.reference import ONE_SPEED
from benchmarks.measure import keep_results


def profiled(deployments: list[Path], seconds: float) -> dict[str, Any]:
    """Runs `adroit profile` once and returns its JSON."""
    arguments = ["profile", *map(str, deployments), "--threads", "1", "--seconds", str(seconds), "--json"]
    command = [sys.executable, "-c", "from adroit.deploy.cli.main import main; main()", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / median(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deployments", type=Path, nargs="+")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    runs = [profiled(arguments.deployments, arguments.seconds) for _ in range(arguments.runs)]
    references = [run["machine"]["reference_ms"] for run in runs]
    within = max(run["machine"]["reference_spread"] for run in runs)
    quiet = max(spread(references), within) <= ONE_SPEED
    print(f"reference  {references} ms, spread {spread(references):.1%}, within a run {within:.1%}: quiet {quiet}")
    rows: list[dict[str, Any]] = []
    for index, first in enumerate(runs[0]["candidates"]):
        medians = [run["candidates"][index]["latency_milliseconds"]["median"] for run in runs]
        ratios = [value / reference for value, reference in zip(medians, references, strict=True)]
        rows.append({"deployment": first["title"], "medians": medians, "spread": spread(medians)})
        rows[-1] |= {"spread of the ratios to the reference": spread(ratios)}
        print(f"{first['title']}  {[round(value, 3) for value in medians]} ms, spread {spread(medians):.1%}", end="")
        print(f", of the ratios to the reference {spread(ratios):.1%}")
    summary = {"references": references, "spread": spread(references), "within a run": within, "quiet": quiet}
    keep_results("repeatability", "python -m benchmarks.repeatability DEPLOYMENT...", [summary, *rows])


if __name__ == "__main__":
    main()
