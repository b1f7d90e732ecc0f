"""A vision-language checkpoint as a responder: what `lpt serve` serves. Needs torch and transformers.

Requests wait in a line; a thread takes as many as fit, runs their prompts together (one that several ask for only
once), then says a token of each at a time until all have ended. Those who come meanwhile are in the next batch.
"""

import asyncio
import contextlib
import queue
import threading
from concurrent.futures import Future, InvalidStateError
from typing import Any, NamedTuple

import torch
import transformers

from lpt.errors import UserError
from lpt.serving.generation import Row, generate
from lpt.serving.prompts import Prompts
from lpt.serving.protocol import Ask, Said
from lpt.vision import quicken

_LINGER = 0.004


class _Waiting(NamedTuple):
    ask: Ask
    seed: int
    future: "Future[Said]"


class Checkpoint:
    """A model that answers in batches.

    Args:
        folder: a folder with weights, a tokenizer with its chat template, and an image processor; or a hub's id.
        device: where it runs: cpu, cuda, cuda:1, …; by itself where None.
        dtype: float32, bfloat16 or float16; by itself where None: float32 on a CPU, bfloat16 elsewhere.
        batch: choices that are written side by side, at most.
        max_model_len: tokens of prompt and reply, at most; the model's own where None.

    Raises:
        UserError: it cannot be loaded.
    """

    def __init__(
        self,
        folder: str,
        *,
        device: str | None = None,
        dtype: str | None = None,
        batch: int = 64,
        max_model_len: int | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind = getattr(torch, dtype or ("float32" if self.device.type == "cpu" else "bfloat16"))
        transformers.utils.logging.disable_progress_bar()
        try:
            model: Any = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=kind)
            self.model = model.to(self.device).eval()
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise UserError(f"the model in {folder} cannot be loaded: {error}") from error
        quicken(self.model)
        text = self.model.config.get_text_config()
        most = int(getattr(text, "max_position_embeddings", 0) or 32_768)
        self.max_model_len = min(max_model_len or most, most)
        self.prompts = Prompts(folder, self.model)
        self._batch = batch
        self._line: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="checkpoint", daemon=True)
        self._thread.start()

    def __call__(self, ask: Ask, seed: int) -> Said:
        """One choice, waited for."""
        return self._put(ask, seed).result()

    async def answer(self, ask: Ask, seed: int) -> Said:
        """One choice; whoever gives up waiting leaves the batch at the next token.

        Raises:
            UserError: it cannot be answered: too long, or what it asks for is not served.
        """
        return await asyncio.wrap_future(self._put(ask, seed))

    def close(self) -> None:
        """End the thread, once what it is at is done."""
        self._line.put(None)
        self._thread.join()

    def _put(self, ask: Ask, seed: int) -> "Future[Said]":
        future: Future[Said] = Future()
        self._line.put(_Waiting(ask, seed, future))
        return future

    def _work(self) -> None:
        last = False
        while not last:
            first = self._line.get()
            waiting = [first]
            # Those of one request come one right after another.
            with contextlib.suppress(queue.Empty):
                while waiting[-1] is not None and len(waiting) < self._batch:
                    waiting.append(self._line.get(timeout=_LINGER))
            last = waiting[-1] is None
            self._answer([one for one in waiting if one is not None and not one.future.done()])

    def _answer(self, waiting: list[_Waiting]) -> None:
        rows = []
        for one in waiting:
            try:
                rows.append(self._row(one))
            # Whose request it is hears of it, and the thread lives on.
            except Exception as error:  # noqa: BLE001, PERF203
                _tell(one.future, error)
        try:
            generate(self.model, self.prompts, rows)
        except Exception as error:  # noqa: BLE001 (as above)
            for row in rows:
                _tell(row.future, error)

    def _row(self, one: _Waiting) -> Row:
        if one.ask.schema is not None:
            raise UserError("this server does not hold replies to a schema: leave response_format out")
        prompt = self.prompts.read(one.ask)
        room = self.max_model_len - len(prompt.ids)
        if room < 1:
            raise UserError(
                f"This model's maximum context length is {self.max_model_len} tokens. However, your request has "
                f"{len(prompt.ids)} input tokens. Please reduce the length of the input."
            )
        return Row(one.ask, one.seed, prompt, min(one.ask.max_tokens, room), one.future, self.prompts)


def _tell(future: "Future[Said]", error: Exception) -> None:
    with contextlib.suppress(InvalidStateError):
        future.set_exception(error)
