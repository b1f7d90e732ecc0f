# ruff: noqa: RUF001 - typographic quotes, dashes and primes are named in order to straighten them
r"""What a short piece of text names: an option by its letter, by its text, or by both.

This is the strict half of the grader: the *whole* piece must be a label, an option's text, or both in agreement.
`grade.py` applies it to what stands in `<answer>`, `grade_phrases.py` to what follows "the answer is".

Two texts are the same when they are equal after `normalise`: NFKC, case folded, invisible characters dropped,
white space collapsed, and paired wrappers (quotes, markdown, `$…$`, `\boxed{…}`) and one final full stop peeled
off. What carries meaning stays, so that normalising never makes two different answers equal:

- signs, units and unpaired marks: `-3`, `$5`, `5"`, `A*`, `n!`, `3.5`, and the brackets of `[0, 1)`;
- articles: "the dog" is not "dog". Whether it is the same thing is a judgement, and this module makes none.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

LONGEST = 20_000
"""Characters. A longer piece is no answer; the limit also bounds every step that is not strictly linear
(CPython's normalisation sorts runs of combining marks by insertion)."""

_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_STRAIGHT = str.maketrans(
    {**dict.fromkeys("‘’‚‛′`´", "'"), **dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‐‑‒−", "-"), "`": "`"}
)
_TOKEN = re.compile(
    r"<\|[a-z_]{1,40}\|>|</s>|</?(?:b|i|u|em|strong|p|br|span|code|center|conclusion)\s?/?>", re.IGNORECASE
)
_LATEX_FONT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|rm|bf)\s?\{([^{}]*)\}")
_FENCE = re.compile(r"```[a-z]{0,10}\n", re.IGNORECASE)
_ORNAMENT = "✅✔☑👉🔹🔸🎯💡🏆"  # what chat models put around an answer

_PAIRS = (
    ("**", "**"),
    ("__", "__"),
    ("~~", "~~"),
    ("*", "*"),
    ("_", "_"),
    ("`", "`"),
    ('"', '"'),
    ("'", "'"),
    ("$", "$"),
    ("«", "»"),
    ("「", "」"),
    ("『", "』"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
)
_BOX = re.compile(r"\\f?box(?:ed)?\s?\{(.*)\}", re.DOTALL)
_BULLET = re.compile(r"(?:[-*•>]|#{1,6}) (?=[^\d\s])")
_SHOUT = re.compile(r"[^\W\d_]{2}!$")
_BRACKETED_WORDS = re.compile(r"[(\[]\s*([^()\[\],;]*[^\W\d_][^()\[\],;]*)[)\]]")

_WORD = r"(?:(?P<word>(?:the\s)?(?:option|choice|letter|选项)\s?[:#]?\s?)|answer\s|选择?\s?)?"
_LETTER = re.compile(
    _WORD + r"[(\[{【]{0,2}\s?(?P<letter>[A-Za-z])\s?\.?[)\]}】]{0,2}\s?[.:,、)]?(?:\s?(?:选项|项))?", re.IGNORECASE
)
_LETTER_TEXT = re.compile(
    _WORD + r"[(\[{【]{0,2}\s?(?P<letter>[A-Za-z])"
    r"(?:\s?[)\]}】]{1,2}\s?[.:,、=–—-]{0,2}|\s?[.:,、=–—-]{1,2}|(?=\s|[(\[]|[\u3040-\u9fff]))\s?(?P<text>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_FINAL_LETTER = re.compile(r"[(\[【]\s?(?:option\s)?(?P<letter>[A-Za-z])\s?[)\]】]$", re.IGNORECASE)


class Reading(NamedTuple):
    """One option, and how it was named: "letter", "text", "letter-text" or "boxed"."""

    letter: str
    kind: str


def plain(text: str) -> str:
    """NFKC, without what is not seen: invisible characters, chat tokens, inline HTML, LaTeX font commands.

    Typographic quotes, hyphens and primes become straight ones. Lines are kept.
    """
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_STRAIGHT)
    shown = _TOKEN.sub(" ", text)
    if shown.strip():  # an option that *is* a tag ("<b>") keeps it
        text = shown
    for _ in range(2):  # \boxed{\textbf{\text{C}}}
        text = _LATEX_FONT.sub(r"\1", text)
    return text.replace("\\ ", " ").replace("\\,", " ")


def bare(text: str) -> str:
    """`text` on one line, with what wraps the whole of it peeled off; letter case is kept.

    A text that consists of wrappers only (an option such as `"*"`) is left as it is.
    """
    text = _FENCE.sub(" ", plain(text)).replace("```", " ")
    text = " ".join(text.split())
    for _ in range(10):
        peeled = _peel(text)
        if peeled == text or not peeled:
            break
        text = peeled
    return text


def _peel(text: str) -> str:
    text = text.strip().strip(_ORNAMENT).strip()
    if (
        len(text) > 1 and text[-1] in ".,;:。" and text[-2] not in ".。"
    ):  # "blue..." hesitates: not the same as "blue"
        return text[:-1]
    if _SHOUT.search(text[-3:]):  # "blue!", never "n!"
        return text[:-1]
    if bullet := _BULLET.match(text):
        return text[bullet.end() :]
    for start, end in _PAIRS:
        inner = text[len(start) : len(text) - len(end)]
        wrapped = len(text) >= len(start) + len(end) and text.startswith(start) and text.endswith(end)
        if wrapped and inner and start not in inner and end not in inner:
            return inner
    if (box := _BOX.fullmatch(text)) and _balanced(box[1]):
        return box[1]
    return text


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


def fold(text: str) -> str:
    """Case folded, and composed again (folding decomposes some letters: `İ`, `ΐ`)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.casefold()).casefold())


def normalise(text: str) -> str:
    """The form in which two texts are compared."""
    return " ".join(fold(bare(text)).split())


class Choices:
    """The options of one question, ready to be compared with.

    Args:
        options: letter → text. Letters are matched whatever their case and come back as the mapping spells them; a
            key that is not one Latin letter can be named by its text only. Empty texts are never matched.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.by_label: dict[str, set[str]] = {}
        self.by_text: dict[str, set[str]] = {}
        self._written: dict[str, str] = {}
        for key, text in options.items():
            label = plain(key).strip().upper()
            if len(label) == 1 and "A" <= label <= "Z":
                self.by_label.setdefault(label, set()).add(key)
            if normal := normalise(text):
                self.by_text.setdefault(normal, set()).add(key)
            self._written[key] = plain(text).strip()
        self.longest = max(map(len, self.by_text), default=0)

    def labelled(self, letter: str) -> set[str]:
        """The options with this letter: one or none (two only if the mapping has both "a" and "A")."""
        return self.by_label.get(letter.upper(), set())

    def named(self, text: str) -> set[str]:
        """The options with exactly this text; more than one if their texts differ only in what is normalised."""
        text = bare(text)
        found = self.by_text.get(normalise(text), set())
        if not found and (inner := _BRACKETED_WORDS.fullmatch(text)):  # "(blue)", but never "[0, 1]" for "(0, 1)"
            found = self.by_text.get(normalise(inner[1]), set())
        return found

    def read(self, text: str) -> Reading | None:
        """The one option that the whole of `text` names, or None.

        Every possible reading is collected (as a letter, as a text, as a letter beside a text); they must agree on
        one option. So "B" is nothing where A's text is "B", "A dog" is never the letter A, and "(C) Right" is
        nothing where C is "Left".
        """
        text = text.strip()
        if not text or len(text) > LONGEST:
            return None
        found: dict[str, str] = {}
        stripped = bare(text)
        unmarked = bare(stripped.replace("**", "").replace("__", "").replace("`", ""))
        for form in dict.fromkeys((stripped, unmarked)):
            for key in self.named(form):
                found.setdefault(key, "text")
            found.update(self._lettered(form))
        if len(found) != 1:
            return None
        ((letter, kind),) = found.items()
        return Reading(letter, "boxed" if "\\boxed" in text or "\\fbox" in text else kind)

    def _lettered(self, form: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        if match := _LETTER.fullmatch(form):
            labelled = self.labelled(match["letter"])
            found += [(key, "letter") for key in labelled]
            if labelled and not match["word"]:  # "Option B" says that it is a letter; "B" and "(B)" may be a text
                found += [(key, "text") for key in self.named(match["letter"]) - labelled]
        if match := _LETTER_TEXT.fullmatch(form):
            both = self.labelled(match["letter"]) & self.named(match["text"])
            found += [(key, "letter-text") for key in both]
        if match := _FINAL_LETTER.search(form):
            both = self.labelled(match["letter"]) & self.named(form[: match.start()])
            found += [(key, "letter-text") for key in both]
        return found

    def begun_by(self, text: str) -> tuple[set[str], str]:
        """The options whose text `text` begins with, the longest one; and what follows it, case folded.

        The text must end there as a word does: "3" does not begin "3.5 m", nor "left" "leftmost".
        """
        folded = fold(text).lstrip(" \"'*(")
        best = ""
        for normal in self.by_text:
            if len(normal) > len(best) and folded.startswith(normal) and _ends_word(folded, len(normal)):
                best = normal
        return (self.by_text[best] if best else set()), folded[len(best) :].lstrip("\"'*)")

    def may_become(self, text: str) -> set[str]:
        """The options that a reply cut off right after `text` may have been about to write out in full.

        A lone letter is compared as it is written: after "A" may have come " dog", but not "nt" of "ant".
        """
        text = plain(text).strip()
        if len(text) == 1:
            return {key for key, whole in self._written.items() if whole.startswith(text)}
        cut = normalise(text)
        return {key for normal, keys in self.by_text.items() if normal.startswith(cut) for key in keys}


def _ends_word(text: str, end: int) -> bool:
    after = text[end : end + 2]
    if not after or after[0].isspace():
        return True
    if after[0] in ".,;:!?)]\"'*。、":
        return len(after) == 1 or not after[1].isalnum() or after[0] in "。、"
    return not after[0].isascii() and not text[end - 1].isascii()  # written without spaces
