"""Replies that begin anew where a turn was to be continued: a server that ignores a prefill, caught in the act.

`probe` finds out how a server continues a turn, once. One replica among others, another model under the same name
or a router may still not do it, and says so in no other way than by how its reply begins.
"""

from lpt.models.base import Choice

_TAG = "<think>"
_TELLING = 40
"""Characters of the turn's beginning that nobody repeats by chance."""


def begun_anew(choice: Choice, prefill: str) -> bool:
    """Whether a reply opens the thought again, or repeats the beginning of the turn and not all of it.

    A server that says the whole prefill again, and goes on, echoes it: that is another matter. A reply that begins
    anew in other words cannot be told from one that goes on.
    """
    said = (choice.text if choice.reasoning is None else choice.reasoning).lstrip()
    thought = prefill.removeprefix(_TAG).lstrip()
    if said.startswith(prefill) or (choice.reasoning is not None and thought and said.startswith(thought)):
        return False
    if said.startswith(_TAG):
        if prefill.startswith(_TAG):
            return True
        said = said.removeprefix(_TAG).lstrip()
    return len(thought) >= _TELLING and said.startswith(thought[:_TELLING])
