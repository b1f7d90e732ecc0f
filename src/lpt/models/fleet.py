"""All the models of a recipe, wired: a launched server where one is asked for, HTTP, and the gate."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from lpt.models.base import Model, Reply, Request
from lpt.models.endpoint import Endpoint
from lpt.models.gate import Gate
from lpt.models.launch import Launched
from lpt.settings import ModelSettings


class Gated:
    """A `Model` that is started when first asked, and asked by so many at once."""

    def __init__(self, name: str, settings: ModelSettings, server: Launched | None) -> None:
        self.gate = Gate(settings.concurrency)
        self.endpoint: Endpoint | None = None
        self._name = name
        self._settings = settings
        self._server = server
        if server is None:
            urls = (settings.url,) if isinstance(settings.url, str) else settings.url or ()
            self.endpoint = Endpoint(settings, urls, name=name)

    async def ask(self, request: Request) -> Reply:
        """Wait for a place, oldest image first, then ask."""
        async with self.gate.turn(request.rank):
            if self.endpoint is None:
                assert self._server
                url = await self._server.url()
                if self.endpoint is None:
                    self.endpoint = Endpoint(self._settings, (url,), name=self._name)
            return await self.endpoint.ask(request)

    async def close(self) -> None:
        """Close what was opened."""
        if self.endpoint:
            await self.endpoint.close()


class Fleet:
    """The models of a recipe, by name; a context that closes all of them and stops what was launched."""

    def __init__(self, settings: Mapping[str, ModelSettings], log_dir: Path) -> None:
        self._servers: dict[str, Launched] = {}
        self._models: dict[str, Gated] = {}
        for name, model in settings.items():
            server = None
            if model.launch:
                mark = hashlib.blake2b(model.launch.encode(), digest_size=3).hexdigest()
                server = self._servers.setdefault(
                    model.launch, Launched(model.launch, log_dir / f"server-{mark}.log", model.launch_timeout)
                )
            self._models[name] = Gated(name, model, server)

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    async def __aenter__(self) -> "Fleet":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for model in self._models.values():
            await model.close()
        for server in self._servers.values():
            await server.stop()
