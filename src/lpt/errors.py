"""Every error that this package raises on purpose, by the boundary at which it arose.

```
LptError
├── UserError            what the user gave us: says what, where, and what to do next   (exit 2)
│   ├── RecipeError      a recipe: the file, the line, the key, the nearest right name
│   ├── SourceError      a caption source that cannot be read at all (one bad row is a drop, not an error)
│   └── RunError         a run folder that is missing, of another recipe, or held by another process
├── ModelError           the network and the server behind it                            (exit 3)
│   ├── Unavailable      refused, reset, silent or 5xx, after all retries
│   │   └── Down         so many in a row that the run stops
│   ├── Unaffordable     not asked: what the run may take is spent
│   ├── Refused          a 4xx other than 429, with the server's own words
│   │   └── Denied       the kind that no other request would escape: key, permission, no such model
│   └── BadReply         a reply that is not what the protocol promises
├── StoreError           the disk: full, read-only, damaged                              (exit 4)
└── Interrupted          the user pressed Ctrl-C; what was answered is kept              (exit 130)
```

An exception that is none of these is a bug of ours, and it alone shows a traceback.
"""


class LptError(Exception):
    """The root. `str(error)` is a whole message: what happened, to what, and what to do next."""

    exit_code = 1


class UserError(LptError):
    """What the user gave us cannot be used."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe does not say what a recipe must."""


class SourceError(UserError):
    """A caption source cannot be read at all."""


class RunError(UserError):
    """A run folder is missing, incomplete, of another recipe, or in use."""


class ModelError(LptError):
    """A model could not be asked, or did not answer.

    `kind` is a short, stable word for counting ("timeout", "http-500", …): it stands in tables, so it holds
    nothing that depends on time, attempts or a URL. The message may.
    """

    exit_code = 3
    fatal = False
    """True where every other request would fare the same, so that the run stops instead of going on."""

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Unavailable(ModelError):
    """No answer after all retries: refused, reset, silent, overloaded or 5xx."""


class Unaffordable(ModelError):
    """The call was not made: the tokens, money or time that the run may take are spent."""


class Refused(ModelError):
    """The server understood and said no (a 4xx other than 429). Asking again would change nothing."""


class Denied(Refused):
    """Refused in a way that every other request would be, too: a wrong key, no permission, no such model."""

    fatal = True


class Down(Unavailable):
    """So many requests in a row went unanswered that going on would only turn the rest into drops."""

    fatal = True


class BadReply(ModelError):
    """The server answered with something that the protocol does not allow."""


class StoreError(LptError):
    """The disk failed us: full, read-only, or a file is damaged."""

    exit_code = 4


class Interrupted(LptError):
    """The user asked to stop. Everything that was answered is kept; the same command goes on from there."""

    exit_code = 130
