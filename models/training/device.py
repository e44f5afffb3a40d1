"""Devices, processes and precision: Lightning Fabric."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from models.errors import EnvironmentFault, UsageError
from models.training.batches import Division
from models.training.options import RunOptions
from models.training.tables import OptimizerRecipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def start_fabric(options: RunOptions, settings: OptimizerRecipe) -> Fabric:
    """One process a device, running from here on; the others run the same program from its beginning.

    Raises:
        EnvironmentFault: lightning-fabric is not installed, or there are fewer devices.
        UsageError: a batch that does not divide among the processes.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError as error:
        raise EnvironmentFault(
            "lightning-fabric is not installed", facts={"reason": error}, hint="pip install 'adroit-deploy[train]'"
        ) from error
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    division_of(settings, options.devices, 0)
    try:
        fabric = Fabric(
            accelerator=options.accelerator.value,
            devices=options.devices,
            strategy="ddp_find_unused_parameters_true" if options.devices > 1 else "auto",
            precision=_PRECISIONS[settings.precision],  # type: ignore[arg-type]
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise EnvironmentFault(
            f"{options.devices} devices of {options.accelerator.value} are not here", facts={"reason": error}
        ) from error
    fabric.launch()
    return fabric


def division_of(settings: OptimizerRecipe, processes: int, process: int) -> Division:
    """Raises UsageError where a batch has no equal parts."""
    parts = settings.accumulate * processes
    if settings.batch % parts:
        raise UsageError(
            f"optimizer.batch is {settings.batch}, which {processes} processes and {settings.accumulate} parts"
            " do not divide",
            hint=f"set a multiple of {parts} in the recipe's [optimizer]",
        )
    return Division(settings.accumulate, processes, process)
