"""What can this server do? For now: which way of continuing a turn it knows."""

from typing import Protocol

import msgspec

from lpt.errors import UserError

_BY_OWNER = {
    "vllm": "continue",
    "sglang": "continue",
    "lpt-sim": "continue",
    "llamacpp": "trailing",
    "library": "trailing",
    "ollama": "trailing",
}


class Server(Protocol):
    """What is asked about."""

    @property
    def host(self) -> str:
        """Its host name."""
        ...

    async def get(self, path: str) -> bytes | None:
        """A GET below its base URL; None where that fails."""
        ...


class _Listed(msgspec.Struct):
    owned_by: str = ""


class _List(msgspec.Struct):
    data: list[_Listed] = []


async def detect(server: Server, name: str) -> str:
    """Find the dialect of a server by what it says of itself.

    Raises:
        UserError: it says nothing that we know; what to set instead.
    """
    if server.host.endswith("deepseek.com"):
        return "prefix"
    body = await server.get("/models")
    try:
        owners = [listed.owned_by for listed in msgspec.json.decode(body or b"{}", type=_List).data]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        owners = []
    for owner in owners:
        if owner.lower() in _BY_OWNER:
            return _BY_OWNER[owner.lower()]
    raise UserError(
        f"models.{name}: it cannot be told how this server ({server.host}) continues an assistant turn. "
        f'Set models.{name}.prefill: "continue" (vLLM, SGLang), "trailing" (llama.cpp, Ollama), "prefix" '
        '(DeepSeek), "completions" (with `template`), or "instructed" where it cannot: then it is asked for in words'
    )
