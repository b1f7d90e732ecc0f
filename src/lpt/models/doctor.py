"""What can this model do? Asked with a few small questions, not believed by its name.

What is looked at is what any model shows, a tiny one as well as a clever one: token counts, whether words change
when only the seed or the picture does, whether a word that it has just said stays away once it is forbidden.
"""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from lpt.errors import Denied, ModelError, Refused, UserError
from lpt.models import quiz
from lpt.models.base import Reply, Request
from lpt.models.checkup import CAPABILITIES, Capability, Checkup, Finding
from lpt.models.dialects import Dialect
from lpt.models.endpoint import Endpoint
from lpt.models.fleet import Fleet, Gated
from lpt.models.turns import PATIENCE, Turns, said, told
from lpt.settings import ModelSettings

_ATTEMPTS = 2
_FORBIDDEN = 5


async def examine(
    models: Mapping[str, ModelSettings], log_dir: Path, *, one_server: bool = False
) -> dict[str, Checkup]:
    """Examine all models of a recipe side by side; servers that it launches are started, and stopped again.

    Args:
        models: by their names in the recipe.
        log_dir: for the output of launched servers.
        one_server: launch one server after the other, never two at once.

    Raises:
        UserError: a URL or a template cannot be used.
    """
    hasty = {
        name: msgspec.structs.replace(model, attempts=min(model.attempts, _ATTEMPTS))
        for name, model in models.items()
    }
    groups: defaultdict[str | None, list[str]] = defaultdict(list)
    for name, model in hasty.items():
        groups[model.launch if one_server else None].append(name)
    found: dict[str, Checkup] = {}
    async with Fleet(hasty, log_dir) as fleet:
        for names in groups.values():
            await fleet.only(names)
            checkups = await asyncio.gather(*(_Doctor(name, hasty[name]).examine(fleet[name]) for name in names))
            found.update(zip(names, checkups, strict=True))
    return {name: found[name] for name in hasty}


class _Doctor:
    """Asks one model, one question at a time."""

    def __init__(self, name: str, settings: ModelSettings) -> None:
        self._name = name
        self._settings = settings
        self._endpoint: Endpoint | None = None
        self._replies: list[Reply] = []
        self._cold = True
        """It can be asked for a temperature of 0, so that the same question brings the same words."""
        self._seeds_refused = ""
        self._inputs: list[object] | None = None
        """What the server says that the model takes, as in ["text", "image"]; None where it does not say."""
        self._checkup = Checkup(name=name, model=settings.model)

    async def examine(self, gated: Gated) -> Checkup:
        found = self._checkup.findings
        reached = found["reachable"] = await self._reach(gated)
        if self._endpoint is None:
            return self._checkup
        await self._listed(reached)
        if reached.can == "no":
            return self._checkup
        looks: Mapping[Capability, Callable[[], Awaitable[Finding]]] = {
            "n": self._several,
            "seeds": self._seeds,
            "images": self._images,
            "prefill": Turns(self._endpoint, self._ask, self._checkup).look,
            "bad words": self._bad_words,
            "structured": self._structured,
        }
        for what, look in looks.items():
            found[what] = await told(look())
        found["usage"] = self._usage()
        found["cached tokens"] = self._cached()
        self._checkup.findings = {what: found[what] for what in CAPABILITIES if what in found}
        return self._checkup

    async def _reach(self, gated: Gated) -> Finding:
        """The first question, for which a launched server has its own time to start in."""
        wait = PATIENCE + (self._settings.launch_timeout if self._settings.launch else 0.0)
        try:
            self._replies.append(await asyncio.wait_for(gated.ask(quiz.request(quiz.TALK, max_tokens=64)), wait))
        except UserError as error:  # a key that is not there, a command that does not exist: nothing can be sent
            return Finding("no", said(error))
        except Refused as error:
            self._endpoint = gated.endpoint
            return Finding("no", said(error)) if isinstance(error, Denied) else await self._plainer(error)
        except (ModelError, asyncio.TimeoutError) as error:
            return Finding("no", said(error))
        self._endpoint = gated.endpoint
        return Finding("yes")

    async def _plainer(self, refusal: Refused) -> Finding:
        """Ask without a seed, or without a temperature: some take neither, and would refuse all that follows."""
        assert self._endpoint
        for seed, cold in ((False, True), (True, False), (False, False)):
            self._cold = cold
            self._endpoint.settings = msgspec.structs.replace(
                self._settings, sampling_seed=seed and self._settings.sampling_seed
            )
            try:
                await self._ask(quiz.request(quiz.TALK, max_tokens=64))
            except Refused:
                continue
            except (ModelError, asyncio.TimeoutError) as error:
                return Finding("no", said(error))
            self._seeds_refused = "" if seed else said(refusal)
            return Finding("yes", "" if cold else "if it is not asked for a temperature of 0")
        return Finding("no", said(refusal))

    async def _ask(self, request: Request, dialect: Dialect = "continue") -> Reply:
        """One question. Without a prefill all dialects are alike."""
        assert self._endpoint
        if not self._cold and request.sampling.temperature is not None:
            sampling = msgspec.structs.replace(request.sampling, temperature=None)
            request = msgspec.structs.replace(request, sampling=sampling)
        reply = await asyncio.wait_for(self._endpoint.try_out(request, dialect), PATIENCE)
        self._replies.append(reply)
        return reply

    async def _listed(self, reached: Finding) -> None:
        """What the server says of its models: whether this one is among them, and how long its context is."""
        assert self._endpoint
        cards = _cards(await self._endpoint.get("/models"))
        mine = next((card for card in cards if card.get("id") == self._settings.model), {})
        context = next((mine[name] for name in ("max_model_len", "context_length") if mine.get(name)), None)
        if context is None and isinstance(meta := mine.get("meta"), dict):  # llama.cpp's, a slot's share of it
            context = meta.get("n_ctx")
        if isinstance(kind := mine.get("architecture"), dict) and isinstance(kind.get("input_modalities"), list):
            self._inputs = kind["input_modalities"]
        names = ", ".join(str(card.get("id")) for card in cards[:8]) or "no models"
        found = self._checkup.findings
        if mine:
            found["name known"] = Finding("yes")
        elif reached.can == "yes":
            found["name known"] = Finding("yes", f"it answers to it, and lists {names}")
        else:
            found["name known"] = Finding("no" if cards else "unsure", f"it lists {names}")
        if isinstance(context, int):
            self._checkup.context = context
            found["context"] = Finding("yes", f"{context:,} tokens")
        else:
            found["context"] = Finding("unsure", "the server does not say")

    async def _several(self) -> Finding:
        reply = await self._ask(quiz.request(quiz.TALK, n=3, temperature=1.0, max_tokens=48, seed=101))
        texts = {choice.joined() for choice in reply.choices}
        self._checkup.findings["samples differ"] = (
            Finding("yes")
            if len(texts) > 1
            else Finding("no", "three samples at temperature 1 brought the same words")
        )
        if reply.attempts <= 1:
            return Finding("yes", "three choices in one reply")
        return Finding("no", f"three choices took {reply.attempts} requests")

    async def _seeds(self) -> Finding:
        if not self._settings.sampling_seed:
            return Finding("unsure", f"not sent: models.{self._name}.sampling_seed = false")
        if self._seeds_refused:
            return Finding("no", self._seeds_refused)
        first, again, other = [
            (await self._ask(quiz.request(quiz.TALK, temperature=1.0, max_tokens=48, seed=seed)))
            .choices[0]
            .joined()
            for seed in (11, 11, 12)
        ]
        if first != again:
            return Finding("no", "the same seed brought other words")
        if first == other:
            return Finding("no", "another seed brought the same words")
        return Finding("yes")

    async def _images(self) -> Finding:
        blank = await self._ask(quiz.request(quiz.COLOR))
        try:
            red, blue = [await self._ask(quiz.request(quiz.COLOR, images=(image,))) for image in quiz.pictures()]
        except ModelError as error:
            if error.fatal or self._inputs is None or "image" in self._inputs:
                raise
            return Finding("no", said(error))  # llama.cpp fails (500) where others refuse
        colors = [reply.choices[0].joined().lower() for reply in (red, blue)]
        more = red.usage.prompt_tokens - blank.usage.prompt_tokens
        named = [set(re.findall(r"\b(?:red|blue)\b", text)) for text in colors]
        if named == [{"red"}, {"blue"}]:
            return Finding("yes", "it named the colors of two pictures")
        if not red.usage.prompt_tokens:
            return Finding("unsure", "it named no colors, and reports no tokens to tell by")
        if more <= 0:
            return Finding("no", "the picture was left out: the prompt is no longer with it than without")
        if colors[0] != colors[1] and self._cold:
            return Finding("yes", f"{more} tokens a picture, and other words for another; it named no colors")
        return Finding(
            "unsure", f"it takes pictures ({more} tokens), but what it says of two of them tells nothing"
        )

    async def _bad_words(self) -> Finding:
        """Forbid words that it has just said: several, since one can also be put together from other tokens."""
        free = (await self._ask(quiz.request(quiz.TALK, max_tokens=96))).choices[0].joined()
        common = Counter(re.findall(r"\b[A-Za-z]{3,}\b", free)).most_common(_FORBIDDEN)
        words = tuple(word for word, _ in common)
        if not words:
            return Finding("unsure", "it says no words that could be forbidden")
        held = (await self._ask(quiz.request(quiz.TALK, max_tokens=96, bad_words=words))).choices[0].joined()
        back = [word for word in words if re.search(rf"\b{word}\b", held)]
        if not back:
            return Finding("yes", f"{len(words)} words that it likes to say stayed away")
        if held == free or len(back) == len(words):
            return Finding("no", f'it said "{back[0]}" although that was forbidden')
        return Finding("unsure", f"of {len(words)} forbidden words {len(back)} came back, perhaps in other tokens")

    async def _structured(self) -> Finding:
        """Ask for a form that nobody would choose unasked."""
        reply = await self._ask(quiz.request(quiz.TALK, max_tokens=512, schema=quiz.SCHEMA))
        if quiz.conforms(reply.choices[0].text):
            return Finding("yes", "it held to a schema that the prompt does not mention")
        if reply.choices[0].finish_reason == "length" and re.match(r'\s*\{\s*"surface"\s*:', reply.choices[0].text):
            return Finding("yes", "it began as a schema has it that the prompt does not mention; it was cut")
        return Finding("no", "it was given a schema and did not hold to it")

    def _usage(self) -> Finding:
        if all(reply.usage.prompt_tokens and reply.usage.completion_tokens for reply in self._replies):
            return Finding("yes")
        some = any(reply.usage.prompt_tokens or reply.usage.completion_tokens for reply in self._replies)
        return Finding("unsure", "with some replies only") if some else Finding("no", "no token counts in replies")

    def _cached(self) -> Finding:
        # Of several choices the tokens may be those of as many requests.
        single = (reply.usage.cached_tokens for reply in self._replies if len(reply.choices) == 1)
        most = max(single, default=0)
        if most:
            return Finding("yes", f"up to {most} tokens of a prompt that came again")
        return Finding("no", "none reported of prompts that came again: no prefix cache, or not told")


def _cards(body: bytes | None) -> list[dict[str, Any]]:
    """What a server says of its models; nothing where it is not what the protocol has."""
    try:
        listed = msgspec.json.decode(body or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    data = listed.get("data") if isinstance(listed, dict) else None
    return [card for card in data if isinstance(card, dict)] if isinstance(data, list) else []
