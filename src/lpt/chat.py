"""A conversation and a chat template → text and spans: the one place where turns become text. No torch.

Templates are Jinja, as tokenizers ship them, and come from strangers: they run in a sandbox. An assistant turn that
is to be continued is appended to the generation prompt here, never handed to the template, since templates trim
white space and strip `<think>` from turns that they take for history.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.runtime
import jinja2.sandbox
import msgspec

from lpt.errors import UserError
from lpt.models.base import Image, Message
from lpt.paths import expanded
from lpt.records import digest

BUILT_IN = ("chatml", "deepseek-r1")

_PROBE = "\N{OBJECT REPLACEMENT CHARACTER}"
_THINK = "<think>"
_WIDE = re.compile(r"%[^%a-zA-Z]*(?:\d{4}|\*)")
_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Span(msgspec.Struct, frozen=True):
    """A stretch of rendered text, from `start` up to `end`, in characters."""

    start: int
    end: int
    role: str
    """Whose turn it belongs to, the turn's marks included."""
    learnt: bool
    """True for what a trainer learns: an assistant's words and the end of the turn."""


class Rendered:
    """A conversation as text, and its spans: in order, without gaps, worked out when first looked at."""

    def __init__(self, text: str, cut: Callable[[], tuple[Span, ...]]) -> None:
        self.text = text
        self._cut = cut

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Whose each stretch of the text is, and which of them are learnt."""
        return self._cut()


class Template:
    """A chat template."""

    def __init__(self, source: str, name: str, special: dict[str, str] | None = None) -> None:
        self.name = name
        environment = _Sandbox(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[jinja2.ext.loopcontrols, _Generation],
            optimized=False,  # folding constants takes the cube of how deep an expression nests
        )
        environment.filters["tojson"] = _tojson
        environment.globals.update(raise_exception=_refuse, strftime_now=_now)
        try:
            self._template = environment.from_string(source)
        except Exception as error:  # compiling a stranger's program may fail in any way, too
            raise UserError(f"the chat template {name} is not valid Jinja: {error}") from error
        self._special = special or {}
        self.bos = self._special.get("bos_token", "")
        """What the tokenizer puts before every text; empty where nothing is known of one."""
        self.key = digest("template", source, *sorted(f"{mark}={text}" for mark, text in self._special.items()))
        """A hash of all that its renderings depend on: two templates of one key say the same."""
        self._only_parts = self._shows(parts=False) is None and self._shows(parts=True) is not None
        self._sees = self._has_place_for_images()

    @staticmethod
    def load(spec: str, base: Path | None = None) -> "Template":
        """Load a template: a built-in name, a Jinja file, or a tokenizer folder.

        Args:
            spec: which one.
            base: the folder that a relative path is relative to; by default the working directory.

        Raises:
            UserError: there is none, or it cannot be used.
        """
        if spec in BUILT_IN:
            text = (resources.files("lpt") / "templates" / f"{spec}.jinja").read_text(encoding="utf-8")
            # R1's tokenizer knows it as its first token; chatml's tokenizers have none.
            special = {"bos_token": "<\uff5cbegin\u2581of\u2581sentence\uff5c>"} if spec == "deepseek-r1" else {}
            return Template(text, spec, special)
        path = (base or Path()) / expanded(spec)
        try:
            if path.is_dir():
                return _of_tokenizer(path)
            return Template(path.read_text(encoding="utf-8"), path.name)
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f'the chat template "{spec}" cannot be read: give a tokenizer folder, a Jinja file, or one of '
                f"{', '.join(BUILT_IN)} ({error})"
            ) from error

    def render(self, turns: Sequence[Message], *, prefill: str | None = None) -> Rendered:
        """Render a conversation up to where the assistant speaks, and a prefill that it has spoken already.

        The prefill stands as it is, to the letter. Where the template itself opens the thought (`<think>`), that is
        not said twice.

        Raises:
            UserError: the template refuses the conversation, or has no place for its images.
        """
        words = prefill or ""
        text = self._start(turns, words) + words
        return Rendered(text, lambda: _filled(self._cuts(turns, text), "assistant", text, learnt=False))

    def whole(self, turns: Sequence[Message], prefix: str, target: str) -> Rendered:
        """Render a training example: the closed conversation, in which target and end of turn are learnt.

        Raises:
            UserError: as `split`.
        """
        given, learnt = self.split(turns, prefix, target)
        text = given + learnt

        def cut() -> tuple[Span, ...]:
            spans = _filled(self._cuts(turns, given), "assistant", given, learnt=False)
            return (*spans, Span(len(given), len(text), "assistant", learnt=True))

        return Rendered(text, cut)

    def split(self, turns: Sequence[Message], prefix: str, target: str) -> tuple[str, str]:
        """A training example as (what is given, what is learnt): together the closed conversation, to the letter.

        Given are the prompt and the assistant's prefix; learnt are the target and the end of the turn.

        Raises:
            UserError: the template changes the assistant's words when they are history (it trims them, or strips
                the thought), so that what is trained would not be what is asked for.
        """
        words = prefix + target
        start = self._start(turns, words)
        closed = self._render([*turns, Message("assistant", words)], generate=False)
        # Where the generation prompt opens a thought and these words begin with none, history has none either.
        opened = start.rstrip()
        for head in (start, opened.removesuffix(_THINK) if opened.endswith(_THINK) else start):
            if closed.startswith(head + words):
                return head + prefix, closed[len(head) + len(prefix) :]
        self.ending(turns)  # says what is wrong, where it is wrong for any words
        raise UserError(
            f"the chat template {self.name} changes an assistant's words when they are history (it trims white "
            f"space, or strips what stands before </think>), here {words[:80]!r}: what is trained would not be what"
            " was said. Use a template that leaves them alone, or one of " + ", ".join(BUILT_IN)
        )

    def ending(self, turns: Sequence[Message]) -> str:
        """What the template puts behind an assistant's turn: the end of the turn.

        Raises:
            UserError: the template does not leave an assistant's words as they are.
        """
        closed = self._render([*turns, Message("assistant", _PROBE)], generate=False)
        head, found, tail = closed.rpartition(_PROBE)
        if not found:
            raise UserError(f"the chat template {self.name} does not keep an assistant's words as they are")
        start = self._render(turns, generate=True)
        if not start.startswith(head) and not head.startswith(start):
            raise UserError(
                f"the chat template {self.name} begins an assistant's turn in one way when it is generated and in "
                "another when it is history: what is trained would not be what is asked for"
            )
        return tail

    def _start(self, turns: Sequence[Message], words: str) -> str:
        """All that stands before the assistant's words; without a tag that they begin with themselves."""
        text = self._render(turns, generate=True)
        opened = text.rstrip()
        twice = words.lstrip().startswith(_THINK) and opened.endswith(_THINK)
        return opened.removesuffix(_THINK) if twice else text

    def _cuts(self, turns: Sequence[Message], text: str) -> list[Span]:
        """One span a turn, each up to where the conversation so far would end.

        A turn that the template renders otherwise once more turns follow has no end of its own: it is counted to
        the next one.
        """
        spans: list[Span] = []
        at = 0
        for i, turn in enumerate(turns, 1):
            try:
                so_far = self._render(turns[:i], generate=False)
            except UserError:  # such as a system message alone
                continue
            if len(so_far) > at and text.startswith(so_far):
                spans.append(Span(at, len(so_far), turn.role, learnt=False))
                at = len(so_far)
        return spans

    def _render(self, turns: Sequence[Message], *, generate: bool) -> str:
        if not self._sees and any(turn.images for turn in turns):
            raise UserError(
                f"the chat template {self.name} has no place for an image: give the one of a vision model"
            )
        messages = [_message(turn, parts=self._only_parts or bool(turn.images)) for turn in turns]
        return self._said(messages, generate=generate)

    def _said(self, messages: list[dict[str, Any]], *, generate: bool) -> str:
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=generate, tools=None, documents=None, **self._special
            )
        except Exception as error:  # a template is a stranger's program: it may fail in any way
            raise UserError(f"the chat template {self.name} refuses this conversation: {error}") from error

    def _shows(self, *, parts: bool, images: tuple[Image, ...] = ()) -> str | None:
        """A short conversation in one of the two forms of content; None where its words do not come out of it."""
        asked, said = f"{_PROBE}1", f"{_PROBE}2"
        turns = [Message("user", asked, images), Message("assistant", said)]
        try:
            text = self._said([_message(turn, parts=parts) for turn in turns], generate=False)
        except UserError:
            return None
        # A template for strings prints a list as Python does.
        good = asked in text and said in text and "'type'" not in text and '"type"' not in text
        return text if good else None

    def _has_place_for_images(self) -> bool:
        with_one = self._shows(parts=True, images=(Image(key="", data=b""),))
        without = self._shows(parts=True)
        if with_one is None or without is None:
            return False
        # What an image adds, before the words or behind them, is its mark if nothing like it is there without one.
        begun = len(os.path.commonprefix([with_one, without]))  # noqa: RUF071 (letters, not paths)
        mark = with_one[begun : begun + len(with_one) - len(without)]
        return bool(mark) and mark not in without


def _filled(spans: list[Span], role: str, text: str, *, learnt: bool) -> tuple[Span, ...]:
    """The spans, and one more for what is left of the text."""
    at = spans[-1].end if spans else 0
    return (*spans, Span(at, len(text), role, learnt)) if at < len(text) else tuple(spans)


def _message(turn: Message, *, parts: bool) -> dict[str, Any]:
    if not parts:
        return {"role": turn.role, "content": turn.text}
    images = [{"type": "image"} for _ in turn.images]
    return {"role": turn.role, "content": [*images, {"type": "text", "text": turn.text}]}


def _of_tokenizer(folder: Path) -> Template:
    """The template of a tokenizer folder: its Jinja file, its processor's, or that of its configuration."""
    config = _json(folder / "tokenizer_config.json")
    source: Any = config.get("chat_template")
    if (folder / "chat_template.jinja").exists():
        source = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    elif (folder / "chat_template.json").exists():
        source = _json(folder / "chat_template.json").get("chat_template", source)
    if isinstance(source, list):  # several, by name
        named = (
            entry.get("template") for entry in source if isinstance(entry, dict) and entry.get("name") == "default"
        )
        source = next(named, None)
    if not isinstance(source, str):
        raise UserError(f"the tokenizer in {folder} has no chat template; give a Jinja file")
    tokens = {**_json(folder / "special_tokens_map.json"), **config}
    special = {}
    for name in _TOKENS:
        token = tokens.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            special[name] = token
    return Template(source, folder.name, special)


def _json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is no such file."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no object")  # noqa: TRY004 (a wrong file, not a wrong call)
    return found


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which one operation cannot take all time or memory either (many still can)."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """Work out what the sandbox hands over.

        Raises:
            jinja2.exceptions.SecurityError: it could become larger than any template has use for.
        """
        if operator == "**" and not (_small(left, 10**6) and _small(right, 16)):
            raise jinja2.exceptions.SecurityError("a power of numbers that large is not worked out")
        for one, times in ((left, right), (right, left)):
            if operator == "*" and isinstance(one, (str, bytes, list, tuple)) and not _small(times, 10**5):
                raise jinja2.exceptions.SecurityError("a text or list is not repeated so often")
        if operator == "%" and isinstance(left, (str, bytes)) and _WIDE.search(str(left)):
            raise jinja2.exceptions.SecurityError("no field is so wide")
        return super().call_binop(context, operator, left, right)


def _small(value: object, most: int) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= most


class _Generation(jinja2.ext.Extension):
    """Passes `{% generation %}` through: it marks assistant words for trainers that look for it."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Not Jinja's own, which escapes for HTML: prompts are no pages.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
