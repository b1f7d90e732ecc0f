"""What a server makes of a turn that it is to continue: found out by asking it, when that is first of account.

Three things that servers do and say nowhere:

- **Echo.** Some say the turn again before the continuation. When a reply first begins with its turn, the server is
  asked for a single token behind words that nobody says: who echoes says them all, who does not cannot.
- **A tag of its own.** llama.cpp puts a trailing turn behind its generation prompt. Where the template opens the
  thought there, ours would come second; where the model is known to think, the server closes the thought first, and
  a turn that goes on with one must be sent as `reasoning_content`. It says what it renders (`/apply-template`), so
  the first form that comes out as it should is the one that is used.
- **A mark of its own.** Some put the tokenizer's first mark before a text that has it already: by the number of
  tokens of the mark alone.
"""

import asyncio
import contextlib
import re
from typing import Protocol

import msgspec

from lpt.chat import Template
from lpt.errors import BadReply, Refused, UserError
from lpt.models import dialects, wire
from lpt.models.base import Choice, Message, Request, Sampling
from lpt.models.dialects import Dialect, Way
from lpt.models.wire import Answer, Fields
from lpt.settings import ModelSettings

_TAG, _END = "<think>", "</think>"
_ASKED = "Say a word."
_NOBODY_SAYS = "Vlemp qorrid: 7391 snorf ubbal kwist,"
"""Several tokens in any vocabulary, so that a reply of one token cannot repeat it."""
_LIKELY = 12
"""Where asking does not help: a turn of fewer characters ("A", "I") may begin a continuation by chance."""
_GOOD, _BUSY, _FAILED = 200, 429, 500


class Unfit(UserError):
    """The server does not go on from such a turn, however it is sent."""


class Server(Protocol):
    """Who is asked."""

    settings: ModelSettings

    async def post(self, request: Request, path: str, fields: Fields) -> Answer:
        """One call, with all the patience there is."""
        ...

    async def beside(self, path: str, fields: Fields) -> tuple[int, bytes]:
        """A POST next to the protocol's base URL: status and body, (0, nothing) where there is no answer."""
        ...


class _Applied(msgspec.Struct):
    prompt: str


class Manners:
    """What is known of one server, and whom to ask for the rest."""

    def __init__(self, server: Server, name: str, template: Template | None) -> None:
        self._server = server
        self._name = name
        self._template = template
        self._asking = asyncio.Lock()
        self._echoes: dict[tuple[Way, bool], bool | None] = {}
        self._ways: dict[tuple[bool, bool, bool], Way | str] = {}
        self._marks: bool | None = None
        self._renders: bool | None = None

    async def way(self, request: Request, dialect: Dialect) -> Way:
        """How a request's turn is sent in a dialect.

        Raises:
            Unfit: it would come out as another turn, whatever is done.
            ModelError: the server does not answer.
        """
        prefill = request.prefill
        if not prefill or dialect not in ("trailing", "completions"):
            return Way(dialect)
        if dialect == "completions":
            return Way(dialect, marks=await self._puts_mark(request))
        kind = (prefill.startswith(_TAG), prefill == _TAG, _END in prefill)
        async with self._asking:
            if kind not in self._ways:
                self._ways[kind] = await self._shaped(request, *kind)
        found = self._ways[kind]
        if isinstance(found, str):
            raise Unfit(found)
        return found

    async def heard(self, choice: Choice, request: Request, way: Way) -> Choice:
        """A choice as it is meant: the continuation alone, where the server says the turn again.

        Args:
            choice: as it came.
            request: as it was sent.
            way: how.
        """
        if way.dialect == "instructed":
            choice = msgspec.structs.replace(choice, instructed=True)
        prefill = request.prefill
        if not prefill or not dialects.said_again(choice, prefill):
            return choice
        # Who is asked in words to go on says it again of his own accord, and not every time.
        echoes = None if way.dialect == "instructed" else await self._says_again(way, request)
        if echoes is None:  # then only what cannot be chance
            echoes = len(prefill) >= _LIKELY or prefill.startswith(_TAG)
        return dialects.without_echo(choice, prefill) if echoes else choice

    async def opening(self) -> str | None:
        """What the server's generation prompt ends in, where it renders prompts for us; None where it does not."""
        plain = Request(stage="probe", record="probe", messages=(Message("user", _ASKED),), seed=0)
        return await self._applied(plain, Way("trailing"))

    # Echo.

    async def _says_again(self, way: Way, request: Request) -> bool | None:
        thought = (request.prefill or "").startswith(_TAG)
        async with self._asking:
            if (way, thought) not in self._echoes:
                self._echoes[way, thought] = await self._tries_echo(way, request, thought=thought)
        return self._echoes[way, thought]

    async def _tries_echo(self, way: Way, request: Request, *, thought: bool) -> bool | None:
        turn = f"{_TAG}\n{_NOBODY_SAYS}" if thought else _NOBODY_SAYS
        asked = msgspec.structs.replace(self._short(request), prefill=turn)
        path, fields = dialects.body(asked, self._server.settings, way, self._template, self._name)
        try:
            answer = await self._server.post(asked, path, fields)
        except (Refused, BadReply) as error:
            if error.fatal:
                raise
            return None
        return dialects.said_again(answer.choices[0], turn)

    def _short(self, request: Request) -> Request:
        """One token after a short question, sampled and with the fields that the request has."""
        extra = {**self._server.settings.extra, **request.sampling.extra}
        if "max_completion_tokens" in extra:
            extra["max_completion_tokens"] = 1
        sampling = Sampling(temperature=request.sampling.temperature, max_tokens=1, extra=extra)
        question = (Message("user", _ASKED),)
        return Request(stage="probe", record="probe", messages=question, sampling=sampling, seed=request.seed)

    # A tag of its own.

    async def _shaped(self, request: Request, thought: bool, alone: bool, closed: bool) -> Way | str:
        """The first way of sending such a turn that comes out as it should; what to say where none does.

        Args:
            request: whose fields are sent along.
            thought: the turn begins with the tag.
            alone: it is the tag.
            closed: it holds the end of the thought, too.
        """
        plain = self._short(request)
        start = await self._applied(plain, Way("trailing"))
        if start is None:
            return Way("trailing")
        words = f"{_NOBODY_SAYS}\n{_END}\n\n{_NOBODY_SAYS}" if closed else _NOBODY_SAYS
        turn = _TAG if alone else f"{_TAG}\n{words}" if thought else words
        opened = start.rstrip()
        wanted = (opened.removesuffix(_TAG) if thought and opened.endswith(_TAG) else start) + turn
        forms = [
            Way("trailing", opens=opens if thought else "", apart=apart)
            for apart in ((False,) if closed or alone else (False, True))
            for opens in (("", f"{_TAG}\n", _TAG) if thought and not apart else (f"{_TAG}\n", _TAG))
        ]
        asked = msgspec.structs.replace(plain, prefill=turn)
        made = {form: await self._applied(dialects.sent(asked, form), form) for form in dict.fromkeys(forms)}
        for same in (str, _loosely):  # not every template leaves alone what stands behind a tag
            for form, prompt in made.items():
                if prompt is not None and same(prompt) == same(wanted):
                    return form
        shown = next((prompt for prompt in made.values() if prompt is not None), None)
        makes = f"makes {_tail(shown)!r} of it" if shown is not None else "refuses it"
        return (
            f"models.{self._name}: this server does not go on from a turn like {turn[:24]!r} when it is the last "
            f'message (prefill = "trailing"): where {_tail(wanted)!r} is to be continued, it {makes}. Set '
            f'models.{self._name}.prefill = "completions" and models.{self._name}.template (the folder of the '
            "model's tokenizer, or its Jinja file), which needs no rendering by the server"
        )

    async def _applied(self, request: Request, way: Way) -> str | None:
        """The prompt that the server makes of a request; None where it cannot be asked, or refuses."""
        if self._renders is False:
            return None
        _, fields = dialects.body(request, self._server.settings, way, self._template, self._name)
        status, body = await self._server.beside("/apply-template", fields)
        if self._renders is None and (status in (0, _BUSY) or status >= _FAILED):
            # It may not be there yet: a call waits for that as long as a run is willing to.
            await self._talk(request)
            status, body = await self._server.beside("/apply-template", fields)
        if status == _GOOD:
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                prompt = msgspec.json.decode(body, type=_Applied).prompt
                self._renders = True
                return prompt
        self._renders = self._renders or False
        return None

    async def _talk(self, request: Request) -> None:
        path, fields = dialects.body(self._short(request), self._server.settings, Way("continue"), None, self._name)
        try:
            await self._server.post(self._short(request), path, fields)
        except (Refused, BadReply) as error:
            if error.fatal:
                raise

    # A mark of its own.

    async def _puts_mark(self, request: Request) -> bool:
        mark = self._template.bos if self._template else ""
        if not mark:
            return False
        async with self._asking:
            if self._marks is None:
                asked = self._short(request)
                fields = wire.parameters(asked, self._server.settings)
                more: Fields = {"prompt": mark, "add_special_tokens": fields.get("add_special_tokens", False)}
                try:
                    answer = await self._server.post(asked, dialects.COMPLETIONS, {**fields, **more})
                except (Refused, BadReply) as error:
                    if error.fatal:
                        raise
                    self._marks = False
                else:
                    self._marks = answer.usage.prompt_tokens == 2  # its own, and ours
        return self._marks


def _loosely(prompt: str) -> str:
    return re.sub(rf"{_TAG}\s*", _TAG, prompt)


def _tail(prompt: str) -> str:
    return prompt[-80:]
