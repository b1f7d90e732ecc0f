"""A conversation and a chat template → text and spans: the one place where turns become text. No torch.

Templates are Jinja, as tokenizers ship them, and come from strangers: they run in a sandbox. An assistant turn that
is to be continued is appended to the generation prompt here, never handed to the template, since templates trim
white space and strip `<think>` from turns that they take for history.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox
import msgspec

from lpt.errors import UserError
from lpt.models.base import Image, Message

_PROBE = "\N{OBJECT REPLACEMENT CHARACTER}"
_THINK = "<think>"
BUILT_IN = ("chatml", "deepseek-r1")


class Span(msgspec.Struct, frozen=True):
    """A stretch of rendered text, from `start` to `end`."""

    start: int
    end: int
    role: str
    learnt: bool


class Rendered(msgspec.Struct, frozen=True):
    """A conversation as text, and which stretches of it are learnt."""

    text: str
    spans: tuple[Span, ...]


class Template:
    """A chat template."""

    def __init__(self, source: str, name: str, special: dict[str, str] | None = None) -> None:
        self.name = name
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation]
        )
        environment.filters["tojson"] = _tojson
        environment.globals.update(raise_exception=_refuse, strftime_now=_now)
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise UserError(f"the chat template {name} is not valid Jinja: {error}") from error
        self._special = special or {}
        self._parts = self._wants_parts()

    @staticmethod
    def load(spec: str) -> "Template":
        """Load a template: a built-in name, a Jinja file, or a tokenizer folder.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        if spec in BUILT_IN:
            text = resources.files("lpt").joinpath("templates", f"{spec}.jinja").read_text(encoding="utf-8")
            return Template(text, spec)
        path = Path(spec)
        try:
            if path.is_dir():
                return _of_tokenizer(path)
            return Template(path.read_text(encoding="utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f'the chat template "{spec}" cannot be read: give a tokenizer folder, a Jinja file, or one of '
                f"{', '.join(BUILT_IN)} ({error})"
            ) from error

    def render(self, turns: Sequence[Message], *, prefill: str | None = None) -> Rendered:
        """Render a conversation up to where the assistant speaks, and a prefill that it has spoken already.

        The prefill stands as it is, to the letter. Where the template itself opens the thought (`<think>`), that is
        not said twice.
        """
        text = self._start(turns, prefill or "") + (prefill or "")
        return Rendered(text, (Span(0, len(text), "prompt", learnt=False),))

    def _start(self, turns: Sequence[Message], words: str) -> str:
        """All that stands before the assistant's words; without a tag that they begin with themselves."""
        text = self._render(turns, generate=True)
        opened = text.rstrip()
        twice = words.lstrip().startswith(_THINK) and opened.endswith(_THINK)
        return opened.removesuffix(_THINK) if twice else text

    def split(self, turns: Sequence[Message], prefix: str, target: str) -> tuple[str, str]:
        """A training example as (what is given, what is learnt): the whole is the closed conversation.

        Given are the prompt and the assistant's prefix; learnt are the target and the end of the turn.

        Raises:
            UserError: the template changes the assistant's words, so that they cannot be told apart.
        """
        return self._start(turns, prefix + target) + prefix, target + self.ending(turns)

    def whole(self, turns: Sequence[Message], prefix: str, target: str) -> Rendered:
        """A training example as one text, with the span that is learnt."""
        given, learnt = self.split(turns, prefix, target)
        spans = (
            Span(0, len(given), "prompt", learnt=False),
            Span(len(given), len(given) + len(learnt), "assistant", learnt=True),
        )
        return Rendered(given + learnt, spans)

    def ending(self, turns: Sequence[Message]) -> str:
        """What the template puts behind an assistant's turn: the end of the turn.

        Raises:
            UserError: the template does not leave an assistant's words as they are.
        """
        closed = self._render([*turns, Message("assistant", _PROBE)], generate=False)
        head, found, tail = closed.rpartition(_PROBE)
        if not found or _PROBE in tail:
            raise UserError(f"the chat template {self.name} does not keep an assistant's words as they are")
        start = self._render(turns, generate=True)
        if not start.startswith(head) and not head.startswith(start):
            raise UserError(
                f"the chat template {self.name} begins an assistant's turn in one way when it is generated and in "
                "another when it is history: what is trained would not be what is asked for"
            )
        return tail

    def _render(self, turns: Sequence[Message], *, generate: bool) -> str:
        return self._said([_message(turn, parts=self._parts) for turn in turns], generate=generate)

    def _said(self, messages: list[dict[str, Any]], *, generate: bool) -> str:
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=generate, tools=None, **self._special
            )
        except (jinja2.TemplateError, TypeError, KeyError) as error:
            raise UserError(f"the chat template {self.name} refuses this conversation: {error}") from error

    def _wants_parts(self) -> bool:
        """Whether a user's words go in as a list of parts: some templates put an image mark only then."""
        try:
            seen = Message("user", _PROBE, (Image(key="", data=b""),))
            as_parts = self._said([_message(seen, parts=True)], generate=False)
        except UserError:
            return False
        return _PROBE in as_parts and "'type'" not in as_parts


def _message(turn: Message, *, parts: bool) -> dict[str, Any]:
    if parts and turn.images:
        images = [{"type": "image"} for _ in turn.images]
        return {"role": turn.role, "content": [*images, {"type": "text", "text": turn.text}]}
    return {"role": turn.role, "content": turn.text}


def _of_tokenizer(folder: Path) -> Template:
    config: dict[str, Any] = {}
    if (folder / "tokenizer_config.json").exists():
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    source: Any = config.get("chat_template")
    if (folder / "chat_template.jinja").exists():
        source = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    elif (folder / "chat_template.json").exists():
        source = json.loads((folder / "chat_template.json").read_text(encoding="utf-8")).get(
            "chat_template", source
        )
    if isinstance(source, list):  # several, by name
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default")
    if not isinstance(source, str):
        raise UserError(f"the tokenizer in {folder} has no chat template; give a Jinja file")
    special = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = config.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            special[name] = token
    return Template(source, folder.name, special)


class _Generation(jinja2.ext.Extension):
    """Passes `{% generation %}` through: it marks assistant words for trainers that look for it."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(value: Any, indent: int | None = None) -> str:
    # Not Jinja's own, which escapes for HTML: prompts are no pages.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
