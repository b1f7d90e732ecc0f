"""What one of several workers may take of what all of them have: rates, calls in flight, replicas, means."""

import msgspec

from lpt.errors import UserError
from lpt.models.purse import Means
from lpt.partition import Partition
from lpt.recipe import Recipe
from lpt.settings import ModelSettings


def share(recipe: Recipe, slot: int, workers: int) -> Recipe:
    """The recipe of one of several workers.

    Limits a minute, and a `concurrency` that is a number, are of all workers together. So they are divided, but for
    servers that each worker launches for itself. Replicas are handed out evenly where their number allows it: one
    worker's images keep to one replica's prefix cache.

    Args:
        recipe: of the run.
        slot: which worker, counted from 0.
        workers: how many work at a time.
    """
    models = {name: _model(model, slot % workers, workers) for name, model in recipe.models.items()}
    return msgspec.structs.replace(recipe, models=models, ledger=None)


def _model(model: ModelSettings, slot: int, workers: int) -> ModelSettings:
    if model.launch or workers == 1:
        return model
    urls = model.url
    if isinstance(urls, tuple) and len(urls) > 1:
        if len(urls) % workers == 0:
            urls = urls[slot::workers]
        elif workers % len(urls) == 0:
            urls = (urls[slot % len(urls)],)
    return msgspec.structs.replace(
        model,
        url=urls,
        requests_per_minute=_part(model.requests_per_minute, workers),
        tokens_per_minute=_part(model.tokens_per_minute, workers),
        concurrency=model.concurrency if model.concurrency == "auto" else _part(model.concurrency, workers),
    )


def _part(limit: int, workers: int) -> int:
    return max(1, limit // workers) if limit else 0


def means_of(partition: Partition, means: Means) -> Means:
    """What one partition may spend of what a run may: tokens and money are divided, time is not.

    Raises:
        UserError: there is not a token for each.
    """
    if means.tokens is not None and means.tokens < partition.of:
        raise UserError(f"--max-tokens {means.tokens} is less than a token for each of {partition.of} partitions")
    return Means(
        tokens=None if means.tokens is None else means.tokens // partition.of,
        cost=None if means.cost is None else means.cost / partition.of,
        seconds=means.seconds,
    )
