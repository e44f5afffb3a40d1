"""The models of a repository folder, by their names."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

from adroit.deploy.deployment.names import DESCRIPTION_FILE
from adroit.deploy.serve.engine.model import Model, State
from adroit.deploy.serve.observe.metrics import Metrics
from adroit.deploy.serve.options import ServeOptions
from adroit.deploy.serve.protocol.messages import IndexedModel, UnloadRequest
from adroit.deploy.serve.protocol.refusal import Reason, Refusal
from adroit.errors import UsageError

# The same names as adroit.deploy.deployment.deployment.check_name allows. A request's name is matched first of all.
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Repository:
    """The models of one server, to load, find and unload. A folder that is no deployment is a model that is not ready.

    Raises:
        UsageError: a repository that is not there or empty, or a model that is not in it.
    """

    def __init__(self, options: ServeOptions, metrics: Metrics) -> None:
        self._options, self._metrics = options, metrics
        self._folder, self._names = _find_names(options)
        self._models: dict[str, Model] = {}
        self._changing = asyncio.Lock()
        self.loaded = False

    def __iter__(self) -> Iterator[Model]:
        return iter(list(self._models.values()))

    @property
    def ready(self) -> bool:
        """True where loading is over, some model serves, and no runtime is broken."""
        states = {model.state for model in self}
        broken = any(model.was_ready and not model.ready for model in self)
        return self.loaded and State.READY in states and not broken

    @property
    def live(self) -> bool:
        """False where a runtime was lost, so that only a new process can help."""
        return all(model.state != State.FAILED for model in self)

    async def load_all(self) -> None:
        """Load all models one after the other, because each loading uses every core."""
        for name in self._names:
            await self._load(name)
        self.loaded = True

    async def load(self, name: str) -> None:
        """Load a model of the repository, or load it again.

        Raises:
            Refusal: clients may not load models, there is no such model, or it cannot be loaded.
        """
        self._check_control(name)
        async with self._changing:
            await self._load(name)
        if not self._models[name].ready:
            raise Refusal(Reason.INVALID, f"model {name} was not loaded: {self._models[name].reason}")

    async def _load(self, name: str) -> None:
        if old := self._models.pop(name, None):
            await old.close("it is loaded again")
        self._models[name] = Model(self._folder / name, self._options, self._metrics.of_model(name))
        await self._models[name].load()

    async def unload(self, name: str, _: UnloadRequest | None = None) -> None:
        """Unload a model. Raises Refusal where clients may not unload models, or where there is no such model."""
        self._check_control(name)
        async with self._changing:
            if model := self._models.pop(name, None):
                await model.close()

    def _check_control(self, name: str) -> None:
        if not self._options.security.model_control:
            raise Refusal(Reason.FORBIDDEN, "clients may not load and unload models here (--model-control)")
        if name not in self._names:
            raise _unknown(name)

    def find(self, name: str, version: str = "") -> Model:
        """Return a model. Raises Refusal where there is no such model, or not in that version."""
        model = self._models.get(name)
        if model is None:
            raise _unknown(name)
        if version and version != model.version:
            raise Refusal(Reason.NOT_FOUND, f"model {name} has version {model.version}, not {version[:20]!r}")
        return model

    def find_loaded(self, name: str, version: str = "") -> Model:
        """Return a model whose description is known. Raises Refusal as `find`, and for a model that never loaded."""
        model = self.find(name, version)
        if not model.was_ready:
            raise model.refusal()
        return model

    def index(self, ready_only: bool) -> list[IndexedModel]:
        """List every model of the repository, also those that are not loaded."""
        models = []
        for name in self._names:
            model = self._models.get(name)
            if model is None:
                models.append(IndexedModel(name, "", State.UNAVAILABLE.value, "unloaded"))
            else:
                state = State.UNAVAILABLE if model.state == State.FAILED else model.state
                models.append(IndexedModel(name, model.version, state.value, model.reason))
        return [model for model in models if model.state == State.READY.value or not ready_only]

    async def close(self) -> None:
        """Refuse what waits for any model, and free all runtimes."""
        for model in self:
            await model.close("the server stops")


def _unknown(name: str) -> Refusal:
    shown = repr(name) if NAME.fullmatch(name) else "of that name"
    return Refusal(
        Reason.NOT_FOUND, f"there is no model {shown}: the repository's index (/v2/repository/index) lists all"
    )


def _find_names(options: ServeOptions) -> tuple[Path, tuple[str, ...]]:
    """Return the folder, and the names in it that are served."""
    folder = options.repository.resolve()
    if (folder / DESCRIPTION_FILE).is_file():  # a deployment by itself
        folder, names = folder.parent, [folder.name]
    elif folder.is_dir():
        names = sorted(p.name for p in folder.iterdir() if p.is_dir() and NAME.fullmatch(p.name))
    else:
        raise UsageError(f"there is no repository {options.repository}", hint="give a folder of `adroit export`")
    missing = set(options.models) - set(names)
    if missing or not names:
        raise UsageError(
            f"{options.repository} has no model {', '.join(sorted(missing)) or 'at all'}",
            facts={"models": ", ".join(names) or "none"},
            hint="`adroit export CHECKPOINT -o REPOSITORY` makes one",
        )
    return folder, tuple(options.models) or tuple(names)
