"""What the server saw: counts for `/sim/stats`, and a line a request for tests that want to know it exactly."""

import pathlib

import msgspec


class ModelStats(msgspec.Struct):
    """Counts of one model. A request asks for one or more choices; choices are what runs."""

    requests: int = 0
    choices: int = 0
    in_flight: int = 0
    """Requests that came and are not answered yet."""
    max_in_flight: int = 0
    running: int = 0
    """Choices that are being written now, as opposed to waiting for a place."""
    max_running: int = 0
    images: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_hits: int = 0
    """Requests of which at least one block was in the prefix cache."""


class Stats(msgspec.Struct):
    """All counts since the start."""

    models: dict[str, ModelStats]
    statuses: dict[str, int] = msgspec.field(default_factory=dict)
    """HTTP status → requests to the two completion routes; also `reset`: none was sent, and `499`: the client
    left (or the server ended) before the reply did."""
    faults: dict[str, int] = msgspec.field(default_factory=dict)
    repeats: int = 0
    """Requests whose very bytes came before; counted only with faults or a log, which need to know."""
    redirects_followed: int = 0


class Line(msgspec.Struct):
    """One request in the log."""

    route: str
    digest: str = ""
    """Of the body's bytes: two equal digests are the same question, seed included, asked twice. Empty when
    the request was refused."""
    model: str = ""
    attempt: int = 0
    """How often these bytes came before (and were not turned away by the rate limit)."""
    seed: int | None = None
    n: int = 0
    fault: str | None = None
    status: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class Log:
    """Appends lines to a file, each written out at once: a killed server leaves only whole lines behind."""

    def __init__(self, path: str) -> None:
        self._file = pathlib.Path(path).open("ab", buffering=0)  # noqa: SIM115 - lives as long as the server

    def write(self, line: Line) -> None:
        """Append one line."""
        self._file.write(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
