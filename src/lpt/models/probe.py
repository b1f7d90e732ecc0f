"""What can this server do? Which way of continuing an assistant turn it knows: by its name, else by trying."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from lpt.errors import Denied, Refused, UserError
from lpt.models.base import Message, Reply, Request, Sampling
from lpt.models.dialects import Dialect
from lpt.models.manners import Unfit

_BY_OWNER: Mapping[str, Dialect] = {
    "vllm": "continue",
    "sglang": "continue",
    "lpt-sim": "continue",
    "llamacpp": "trailing",
    "library": "trailing",  # Ollama
    "ollama": "trailing",
}
_CANDIDATES: tuple[Dialect, ...] = ("continue", "prefix", "trailing")

# The turn breaks off inside a word, and only who truly continues it says the rest of that word: a model that sees
# the turn as history says the next whole word, or begins again.
_QUESTION = "Count from one to ten in English words, separated by commas. Nothing else."
_BEGUN = "one, two, three, four, fi"
_REST = "ve"


class Server(Protocol):
    """What is asked about."""

    @property
    def host(self) -> str:
        """Its host name."""
        ...

    async def get(self, path: str) -> bytes | None:
        """A GET below its base URL; None where that fails."""
        ...

    async def try_out(self, request: Request, dialect: Dialect) -> Reply:
        """Ask in a dialect, whatever is known of the server."""
        ...


class _Listed(msgspec.Struct):
    owned_by: str | None = None


class _List(msgspec.Struct):
    data: list[_Listed] = []


async def detect(server: Server, name: str) -> Dialect:
    """Find the dialect of a server: by what it says of itself, else by letting it count.

    Raises:
        UserError: it cannot continue a turn; what to set instead.
        ModelError: it gave no answer at all.
    """
    if server.host == "deepseek.com" or server.host.endswith(".deepseek.com"):
        return "prefix"
    for owner in await _owners(server):
        if owner in _BY_OWNER:
            return _BY_OWNER[owner]
    for dialect in _CANDIDATES:
        if await _continues(server, dialect):
            return dialect
    raise UserError(
        f"models.{name}: this server ({server.host}) cannot continue an assistant turn, or not in a way that could "
        f'be found out. Set models.{name}.prefill = "instructed" to ask for it in words, "completions" (with '
        f"models.{name}.template) if it serves /v1/completions, or the way that you know it has: "
        '"continue" (vLLM, SGLang), "trailing" (llama.cpp, Ollama), "prefix" (DeepSeek)'
    )


async def _owners(server: Server) -> list[str]:
    try:
        listed = msgspec.json.decode(await server.get("/models") or b"{}", type=_List).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    return [model.owned_by.lower() for model in listed if model.owned_by]


async def _continues(server: Server, dialect: Dialect) -> bool:
    request = Request(
        stage="probe",
        record="probe",
        messages=(Message("user", _QUESTION),),
        prefill=_BEGUN,
        sampling=Sampling(temperature=0.0, max_tokens=16),
        seed=0,
    )
    try:
        reply = await server.try_out(request, dialect)
    except Denied:
        raise
    except (Refused, Unfit):  # it knows this way well enough not to want it
        return False
    return reply.choices[0].joined().startswith(_REST)
