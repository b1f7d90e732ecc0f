"""Does a server go on from a turn, and from exactly that turn? The doctor's part about continuing."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from lpt.chat import Template
from lpt.errors import ModelError, Refused, UserError
from lpt.models import probe, quiz
from lpt.models.base import Message, Reply, Request
from lpt.models.checkup import Can, Checkup, Finding
from lpt.models.dialects import Dialect
from lpt.models.endpoint import Endpoint
from lpt.models.manners import Unfit

TRUE_WAYS: tuple[Dialect, ...] = ("continue", "trailing", "prefix")
"""The ways of continuing a turn that can be tried without knowing the server's template."""

PATIENCE = 180.0
"""Seconds for one question, retries and all: who waits longer is not well."""
_WORDS = 240
_TAG = "<think>"
_THOUGHT = f"{_TAG}\n{quiz.BEGUN}"


class Ask(Protocol):
    """One question, in a dialect."""

    async def __call__(self, request: Request, dialect: Dialect = "continue") -> Reply:
        """Ask it."""
        ...


class Turns:
    """Looks at how one model continues turns."""

    def __init__(self, endpoint: Endpoint, ask: Ask, checkup: Checkup) -> None:
        self._endpoint = endpoint
        self._ask = ask
        self._checkup = checkup
        self._counted: dict[str, tuple[int, int] | None] = {}

    async def look(self) -> Finding:
        """Try the way that a run would use; where that one does not continue, the others, too."""
        used: str = self._endpoint.settings.prefill
        detected = ""
        if used == "auto":
            try:
                used = await asyncio.wait_for(probe.detect(self._endpoint, self._endpoint.name), PATIENCE)
            except UserError:
                used, detected = "", "no way could be found out from its words"
        self._checkup.dialect = used or None
        tried = self._checkup.continues
        if used and used != "instructed":
            tried[used] = await told(self._continues(used))  # type: ignore[arg-type]
            if tried[used].can == "yes":
                return tried[used]
        for way in TRUE_WAYS:
            if way not in tried:
                tried[way] = await told(self._continues(way))
        better = next((way for way in TRUE_WAYS if tried[way].can == "yes"), None)
        hint = f'; prefill = "{better}" would continue' if better else ""
        if used == "instructed":
            return Finding("no", f"asked for in words, as the recipe says{hint}")
        if not used:
            return Finding("no", f"{detected}{hint}")
        return Finding(tried[used].can, f"{tried[used].why}{hint}")

    async def _counts(self, turn: str) -> tuple[int, int] | None:
        """Tokens of the bare prompt, and of the words of the turn; None where they are not told."""
        if turn not in self._counted:
            # After a line end, as a turn's words stand in most templates: elsewhere their tokens may be others.
            texts = (quiz.COUNT, f"{quiz.COUNT}\n{turn}", f"{quiz.COUNT}\n{turn}\n{turn}")
            counts = [await self._tokens(text) for text in texts]
            self._counted[turn] = (counts[0], counts[2] - counts[1] - 1) if all(counts) else None
        return self._counted[turn]

    async def _tokens(self, text: str) -> int:
        return (await self._ask(quiz.request(text, max_tokens=16))).usage.prompt_tokens

    async def _continues(self, way: Dialect) -> Finding:
        """Whether a way continues a turn: by the rest of the word, and by what the turn adds to the prompt."""
        turn, only = quiz.BEGUN, ""
        try:
            reply = await self._ask(quiz.request(quiz.COUNT, prefill=turn, max_tokens=16), way)
        except Unfit:
            turn, only = _THOUGHT, f", only where the turn begins with {_TAG}"
            reply = await self._ask(quiz.request(quiz.COUNT, prefill=turn, max_tokens=16), way)
        alone = await self._counts(turn)
        finishes = reply.choices[0].joined().startswith(quiz.REST)
        opens = await self._opens(way, reply.usage.prompt_tokens, alone)
        if way == self._checkup.dialect:
            self._checkup.opens = opens if isinstance(opens, str) else "yes"
        if way == "completions" and not finishes:
            return self._rendered(reply, alone)
        if alone is None or not reply.usage.prompt_tokens:
            return (
                Finding("yes", f"{way}: it said the rest of a word{only}")
                if finishes
                else Finding(
                    "unsure", f"{way}: it did not say the rest of a word, and reports no tokens to tell by"
                )
            )
        prompt, words = alone
        # The end of a turn and the beginning of the next take three tokens to five; one or two in some templates.
        more = reply.usage.prompt_tokens - prompt - words + (opens if isinstance(opens, int) else 0)
        if more >= 3 or (more == 2 and not finishes):
            return Finding("no", f"{way}: it closes the turn and starts a new one ({more} tokens between them)")
        if words + more <= words // 2 and not finishes:
            return Finding("no", f"{way}: the turn is left out of the prompt")
        if finishes:
            return Finding("yes", f"{way}: it said the rest of a word{only}")
        if more == 1:
            return Finding("unsure", f"{way}: it did not say the rest of a word")
        return Finding("yes", f"{way}: the prompt ends with the turn (by its tokens){only}")

    async def _opens(self, way: Dialect, taken: int, alone: tuple[int, int] | None) -> Can | int:
        """Whether the template opens the thought; how many tokens of that a way leaves out, where it does.

        Args:
            way: how the turn was continued.
            taken: tokens of that prompt.
            alone: as `_counts`.
        """
        if way == "completions":
            spec = self._endpoint.settings.template
            text = Template.load(spec).render((Message("user", quiz.COUNT),)).text if spec else ""
            return "yes" if text.rstrip().endswith(_TAG) else "no"
        if way == "trailing":
            text_ = await self._endpoint.manners.opening()
            return "unsure" if text_ is None else "yes" if text_.rstrip().endswith(_TAG) else "no"
        if way != "continue" or alone is None or not taken:
            return "unsure"
        whole = sum(alone)
        if taken >= whole:
            return "no"
        # What a turn without a tag lacks, one with a tag has, if it is the tag.
        tagged = await self._ask(quiz.request(quiz.COUNT, prefill=_THOUGHT, max_tokens=1), way)
        with_tag = tagged.usage.prompt_tokens
        return with_tag - taken if abs(whole - with_tag) < abs(whole - taken) else "no"

    def _rendered(self, reply: Reply, alone: tuple[int, int] | None) -> Finding:
        """A raw prompt is always continued; whether it is the one that the model knows, the tokens say."""
        more = reply.usage.prompt_tokens - sum(alone) if alone and reply.usage.prompt_tokens else 0
        if abs(more) > 3:
            than = f"{abs(more)} tokens {'more' if more > 0 else 'less'} than the server's own"
            name = self._endpoint.name
            why = f"completions: the template makes {than}: see that models.{name}.template is this model's"
            return Finding("unsure", why)
        return Finding("yes", "completions: a raw prompt, rendered here")


async def told(asking: Awaitable[Finding]) -> Finding:
    """What a question showed; a server that refuses it cannot, and one that fails leaves it open."""
    try:
        return await asking
    except (Refused, UserError) as error:
        return Finding("no", said(error))
    except (ModelError, asyncio.TimeoutError) as error:
        return Finding("unsure", said(error))


def said(error: BaseException) -> str:
    """An error in few words."""
    if isinstance(error, asyncio.TimeoutError):
        return f"no answer within {PATIENCE:g} s"
    text = str(error)
    return text if len(text) <= _WORDS else f"{text[:_WORDS]}…"
