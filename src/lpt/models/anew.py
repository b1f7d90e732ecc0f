"""Replies that begin anew where a turn was to be continued: a server that ignores a prefill, caught in the act.

`probe` finds out how a server continues a turn, once. One replica among others, another model under the same name
or a router may still not do it, and says so in no other way than by how its reply begins.
"""

from lpt.models.base import Choice

_TAG = "<think>"


def begun_anew(choice: Choice, prefill: str) -> bool:
    """Whether a reply opens the thought again that the turn has opened already.

    A server that says the whole prefill again, and goes on, echoes it: that is another matter. A reply that begins
    anew without the tag cannot be told from one that goes on: models repeat themselves, too.
    """
    said = (choice.text if choice.reasoning is None else choice.reasoning).lstrip()
    return prefill.startswith(_TAG) and said.startswith(_TAG) and not said.startswith(prefill)
