"""Devices, processes and precision: Lightning Fabric."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from adroit.errors import AdroitError, EnvironmentFault, OutOfResource, UsageError
from adroit.models.training.batches import Division
from adroit.models.training.options import RunOptions
from adroit.models.training.tables import OptimizerRecipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")
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
    for name in ("lightning.fabric", "lightning_fabric", "lightning_utilities.core.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
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


def gathered(fabric: Fabric, own: T) -> list[T]:
    """What every process has; of processes with a global rank, in its order."""
    values: list[Any] = [own]
    if fabric.world_size > 1:
        values = [None] * fabric.world_size
        torch.distributed.all_gather_object(values, own)
    return values


def agreed(fabric: Fabric, make: Callable[[], T]) -> T:
    """What `make` returns; where it raises in one process, all raise that: none is left waiting for the others."""
    result, error = None, None
    try:
        result = make()
    except AdroitError as raised:
        error = raised
    failed = torch.tensor(float(error is not None), device=fabric.device)
    if float(fabric.all_reduce(failed, reduce_op="sum")):  # type: ignore[arg-type]
        raise next(raised for raised in gathered(fabric, error) if raised is not None)
    return result  # type: ignore[return-value]


@contextmanager
def processes(fabric: Fabric) -> Iterator[None]:
    """Closes the processes' connections after its body, before their threads meet the interpreter's end.

    Raises:
        EnvironmentFault: another process is gone; it has written why. OutOfResource: memory is full.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise OutOfResource(
                "memory is full",
                facts={"reason": str(error).splitlines()[0]},
                hint="set a smaller optimizer.batch, or more parts of it (optimizer.accumulate)",
            ) from error
        if fabric.world_size == 1 or not any(
            sign in str(error) for sign in ("closed by peer", "NCCL", "reset by peer")
        ):
            raise
        raise EnvironmentFault("another process of this training has ended", facts={"reason": error}) from error
    finally:
        if fabric.world_size > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def is_first_process() -> bool:
    """Whether this process is the one that speaks, also before there is a Fabric."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"))


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
