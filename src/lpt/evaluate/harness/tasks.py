"""Each benchmark as a task of Inspect: `lpt/vstar`, `lpt/mmvp` and so on."""

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspect_ai import Epochs, Task, task
from inspect_ai._util.registry import registry_name
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentAudio,
    ContentImage,
    ContentText,
    GenerateConfig,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from lpt.errors import LptError, ModelError
from lpt.evaluate import registry
from lpt.evaluate.harness.opened import OPENED, Opened, opened
from lpt.evaluate.harness.scoring import graded, plurality
from lpt.evaluate.items import Item
from lpt.evaluate.load import NoMedia, load
from lpt.evaluate.media import ready
from lpt.evaluate.protocols import protocol as protocol_of
from lpt.models.base import seed_of


@solver
def ask(benchmark: str) -> Solver:
    """Show an item as its protocol says, and ask."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        one = OPENED[benchmark]
        item = one.items[str(state.sample_id)]
        try:
            parts = [await asyncio.to_thread(_part, media, one) for media in item.media]
            system = [ChatMessageSystem(content=one.protocol.system)] if one.protocol.system else []
            user = ChatMessageUser(content=[*parts, ContentText(text=one.protocol.text(item))])
            state.messages = [*system, user]
            seed = seed_of(one.protocol.seed, item.id, f"evaluate/{benchmark}") + state.epoch - 1
            return await generate(state, seed=seed)
        except (NoMedia, LptError) as error:
            said = f"{error.kind}: {error}" if isinstance(error, ModelError) else str(error)
            one.failed[item.id, state.epoch] = said
            raise
        finally:
            one.answered(benchmark)

    return solve


def _part(media: Any, one: Opened) -> Content:
    image = ready(media, one.loaded, one.protocol)
    url = f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
    if image.media_type.startswith("audio/"):
        return ContentAudio(audio=url, format=image.media_type[6:])
    return ContentImage(image=url)


def task_of(one: Opened) -> Task:
    """The task of an opened benchmark."""
    name = one.loaded.benchmark.name
    protocol = one.protocol
    samples = [
        Sample(id=item.id, input=item.question, target=_target(item), choices=list(item.options) or None)
        for item in one.loaded.items
    ]
    for sample, item in zip(samples, one.loaded.items, strict=True):
        sample.metadata = {"benchmark": name, "category": item.category, "cluster": item.cluster}
    return Task(
        name=name,
        dataset=MemoryDataset(samples, name=name, location=one.loaded.benchmark.hub),
        solver=ask(name),
        scorer=graded(),
        epochs=Epochs(protocol.samples, [plurality()]) if protocol.samples > 1 else None,
        config=GenerateConfig(temperature=protocol.temperature, max_tokens=protocol.tokens(one.loaded.benchmark)),
        fail_on_error=False,
        metadata={"protocol": protocol.settings(), "revision": one.loaded.revision},
    )


def _target(item: Item) -> str | list[str]:
    return item.truth if isinstance(item.truth, str) else list(item.truth)


def _register(name: str) -> Callable[..., Task]:
    def make(
        protocol: str = "paper",
        data: str | None = None,
        limit: int | None = None,
        samples: int = 1,
        temperature: float | None = None,
        max_tokens: int | None = None,
        seed: int = 0,
    ) -> Task:
        asked = protocol_of(protocol, samples=samples, temperature=temperature, max_tokens=max_tokens, seed=seed)
        found = load(registry.benchmark(name), Path(data) if data else None, limit=limit)
        return task_of(opened(found, asked))

    make.__doc__ = f"{name}, as `lpt eval run` asks it."
    make.__name__ = make.__qualname__ = name.replace("-", "_")
    # Inspect puts the package's name before it, but for a package that is installed as editable.
    known = registry_name(make, name)
    made: Callable[..., Task] = task(name=name if known != name else f"lpt/{name}")(make)
    return made


TASKS = {name: _register(name) for name in registry.names()}
"""The tasks by name."""
