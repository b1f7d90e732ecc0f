"""Examples and pairs as the texts that a trainer is given, whatever its file format."""

import msgspec

from lpt.chat import Template
from lpt.errors import UserError
from lpt.exports.safe import safe_text, safe_turn
from lpt.models.base import Image, Message
from lpt.records import Example, Pair

_PICTURE = Image(key="", data=b"")  # a template wants to know that there is one, not what it shows


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One example, safe to render: no text in it can spell a token that a trainer acts on."""

    system: str
    prompt: str
    prefix: str
    """What is conditioned on and not learnt."""
    target: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One preference pair, safe to render."""

    system: str
    prompt: str
    shared: str
    """What both sides begin with, word for word; empty where they differ from the start."""
    chosen: str
    """What follows `shared` on the side that is preferred."""
    rejected: str


def turn_of(example: Example) -> tuple[Turn, bool]:
    """An example's texts, made safe, and whether that changed any."""
    prefix, target = safe_turn(example.prefix, example.target)
    turn = Turn(system=safe_text(example.system), prompt=safe_text(example.prompt), prefix=prefix, target=target)
    before = (example.system, example.prompt, example.prefix, example.target)
    return turn, before != (turn.system, turn.prompt, turn.prefix, turn.target)


def choice_of(pair: Pair) -> tuple[Choice, bool] | None:
    """A pair's texts, made safe, and whether that changed any.

    None when its two sides do not begin with what they are said to share.
    """
    head = _head(pair)
    if head is None:
        return None
    shared, chosen = safe_turn(head, pair.chosen[len(head) :])
    same, rejected = safe_turn(head, pair.rejected[len(head) :])
    if shared != same:  # a mark that only one of the two sides completes: what they share ends before it
        cut = next((at for at, (a, b) in enumerate(zip(shared, same, strict=False)) if a != b), 0)
        chosen, rejected, shared = shared[cut:] + chosen, same[cut:] + rejected, shared[:cut]
    choice = Choice(
        system=safe_text(pair.system),
        prompt=safe_text(pair.prompt),
        shared=shared,
        chosen=chosen,
        rejected=rejected,
    )
    before = (pair.system, pair.prompt, pair.chosen, pair.rejected)
    return choice, before != (choice.system, choice.prompt, shared + chosen, shared + rejected)


def _head(pair: Pair) -> str | None:
    """All that both sides have in common up to the end of `shared`, an opening tag before it included."""
    if not pair.shared:
        return ""
    start = pair.chosen.find(pair.shared)
    head = pair.chosen[: start + len(pair.shared)]
    return head if start >= 0 and pair.rejected.startswith(head) else None


class Renderer:
    """Renders turns by a chat template, whose own marks stand for the image unless `image` says what does."""

    def __init__(self, template: str, *, image: str | None = None) -> None:
        self._template = Template.load(template)
        self._image = image
        self.ending = self._template.ending(self._turns("", "a"))
        """What the template puts behind an assistant's words."""

    def turn(self, turn: Turn) -> tuple[str, str]:
        """An example as text: what is given, and what is learnt without the end of the turn.

        Raises:
            UserError: the template would change the assistant's words.
        """
        given, learnt = self._template.split(self._turns(turn.system, turn.prompt), turn.prefix, turn.target)
        return given, learnt.removesuffix(self.ending)

    def choice(self, choice: Choice, *, give_shared: bool) -> tuple[str, str, str]:
        """A pair as text: what is given, and the two sides without the end of the turn.

        Args:
            choice: the pair.
            give_shared: put what both sides begin with at the end of what is given.

        Raises:
            UserError: the template would change the assistant's words.
        """
        turns = self._turns(choice.system, choice.prompt)
        given, said = (choice.shared, "") if give_shared else ("", choice.shared)
        one, chosen = self._template.split(turns, given, said + choice.chosen)
        other, rejected = self._template.split(turns, given, said + choice.rejected)
        if one != other:
            raise UserError("the chat template begins the two sides of a pair in two ways")
        return one, chosen.removesuffix(self.ending), rejected.removesuffix(self.ending)

    def _turns(self, system: str, prompt: str) -> list[Message]:
        user = (
            Message("user", prompt, (_PICTURE,)) if self._image is None else Message("user", self._image + prompt)
        )
        return [Message("system", system), user] if system else [user]
