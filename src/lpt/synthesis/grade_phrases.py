r"""Which option a reply in prose declares as its answer: "the answer is (B), because …", "故选 D", "C is correct".

The reply is read as a sequence of *events*, in its own order:

- a declaration ("the answer is B", "B is the right option", `\\boxed{B}`) sets the answer; the last one wins;
- a rejection ("the answer is not B", "B is wrong") takes it back if it was that one, and never sets any;
- a retraction ("no wait", "on second thought") takes back whatever stood;
- a declaration that cannot be read ("the answer is A or B", "the answer is the left one") takes it back too: it was
  the reply's last word, and to fall back on an earlier one would be a guess.

Questions ("is the answer B?") and suppositions ("if it were red, the answer would be A") are no events.
Only the last `TAIL` characters are looked at: what was declared before them is not a final answer.
"""

import re
from typing import Literal, NamedTuple

from lpt.synthesis import grade_cues as cues
from lpt.synthesis.grade_forms import Choices, Reading, plain

TAIL = 20_000


class _Event(NamedTuple):
    kind: Literal["declared", "rejected", "retracted", "unreadable", "none"]
    letter: str | None = None


class _Found(NamedTuple):
    start: int
    source: Literal["phrase", "verdict", "boxed", "retraction"]
    event: _Event


_NONE = _Event("none")
_UNREADABLE = _Event("unreadable")


def read_prose(text: str, choices: Choices) -> Reading | None:
    """The option that a reply declares in its own words, as "phrase" or "boxed"; None if none, or no single one."""
    prose = _Prose(_view(text), choices)
    found = sorted(
        [*prose.declarations(), *prose.boxes(), *prose.verdicts(), *prose.retractions()],
        key=lambda item: item.start,
    )
    standing: Reading | None = None
    source = ""
    said = False
    for item in found:
        event = item.event
        said = said or event.kind in ("declared", "unreadable")
        if event.kind == "declared" and event.letter is not None:
            clash = source == item.source == "verdict" and standing != Reading(event.letter, "phrase")
            # "A is correct. B is correct." answers no question that has one answer
            standing = None if clash else Reading(event.letter, "boxed" if item.source == "boxed" else "phrase")
            source = item.source
        elif event.kind != "rejected" or (standing is not None and event.letter == standing.letter):
            standing, source = None, ""
    if said:
        return standing
    return prose.last_words()


def read_lines(text: str, choices: Choices) -> Reading | None:
    """An option that stands alone on the first or last line, with an explanation after or before it.

    A "B" above its explanation is an answer; a line of an echoed option list is not. So no other line may begin
    with a label, and nothing may be taken back. A last line that has a text beside its letter may be the start of
    a list that was cut off: it counts only after a finished sentence that does not speak of options.
    """
    if len(text) > TAIL:
        return None
    view = _view(text)
    lines = [line for line in view.split("\n") if line.strip()]
    if len(lines) < 2 or cues.RETRACTED.search(view):
        return None
    for line, others, kind in ((lines[0], lines[1:], "first-line"), (lines[-1], lines[:-1], "last-line")):
        reading = choices.read(line)
        if reading is None or reading.kind == "text" or any(cues.LABEL_LED.match(other) for other in others):
            continue
        if any(choices.read(other) is not None for other in others):
            continue
        if kind == "last-line" and line.strip().upper() in ("A", "I"):
            continue  # "A" may be the first word of a sentence that was cut off
        neighbour = others[0] if kind == "first-line" else others[-1]
        finished = neighbour.rstrip().endswith((".", "!", "。"))
        if kind == "last-line" and (neighbour.rstrip().endswith((":", "?", ",")) or not finished):
            continue
        if kind == "last-line" and reading.kind == "letter-text" and cues.OF_OPTIONS.search(neighbour):
            continue
        return Reading(reading.letter, kind)
    return None


def _view(text: str) -> str:
    """`text` as it is read: its tail, plain, without emphasis, one space at most, lines kept."""
    if len(text) > TAIL:
        text = text[-TAIL:]
        start = cues.SENTENCE_END.search(text)  # never begin in the middle of "the answer is not …"
        text = text[start.end() :] if start else ""
    text = cues.ITALIC.sub(r"\1", cues.MARKS.sub("", plain(text).replace("\r", "\n")))
    return "\n".join(" ".join(line.split()) for line in text.split("\n"))


class _Prose:
    def __init__(self, view: str, choices: Choices) -> None:
        self.view = view
        self.choices = choices
        self.reach = max(400, 2 * choices.longest + 100)

    def declarations(self) -> list[_Found]:
        found: list[_Found] = []
        for pattern in (cues.DECLARED, cues.CHOSEN, cues.CHINESE):
            for cue in pattern.finditer(self.view):
                event = self._declaration(cue, certain=pattern is not cues.CHOSEN)
                if event.kind != "none":
                    found.append(_Found(cue.start(), "phrase", event))
        return found

    def _declaration(self, cue: re.Match[str], *, certain: bool) -> _Event:
        heading = cue.re is cues.DECLARED and not cue["link"].strip()
        line_start = self.view.rfind("\n", 0, cue.start()) + 1
        if (
            heading
            and self.view[cue.end() : cue.end() + 1] == "\n"
            and self.view[line_start : cue.start()].strip("- ")
        ):
            return _NONE  # "…\nAnswer\nB" is a heading, "…is not the answer\nB" is not
        before = self._sentence_before(cue.start())
        before = before[_last_end(cues.LABEL_STOP, before) :]
        clause = before[_last_end(cues.CLAUSE, before) :]
        groups = cue.groupdict()
        if groups.get("neg") or groups.get("neg2"):
            return self._denied(self._after(cue.end()))
        event = self._span(self._after(cue.end()))
        if event.kind == "declared" and self._lists_options(cue.end()):
            event = _UNREADABLE
        if cues.SUPPOSED.search(_conceded(before[_last_end(cues.BREAK, before) :])) or cues.OTHERS.search(before):
            return _NONE
        if cues.DENIED.search(clause):
            return _Event("rejected", event.letter) if event.kind == "declared" else _NONE
        if event.kind == "unreadable" and not certain:
            return _NONE  # "we pick up on …": no declaration at all
        return event

    def _lists_options(self, position: int) -> bool:
        """Whether what follows a cue is a list of options, "Answer: A. red" and "B. blue" below, not a choice."""
        lines = self.view[position : position + 2 * self.reach].split("\n")
        readings = [self.choices.read(line) for line in lines if line.strip()][:2]
        letters = {reading.letter for reading in readings if reading is not None and reading.kind != "text"}
        return len(letters) == 2

    def boxes(self) -> list[_Found]:
        found: list[_Found] = []
        end = 0
        for box in cues.BOXED.finditer(self.view):
            reading = self.choices.read(box[1])
            event = _Event("declared", reading.letter) if reading else _UNREADABLE
            if found and event != found[-1].event and cues.JOINED.fullmatch(self.view, end, box.start()):
                event = _UNREADABLE
            end = box.end()
            found.append(_Found(box.start(), "boxed", event))
        return found

    def verdicts(self) -> list[_Found]:
        """What is said *of* an option: "B is the correct answer", "option A is wrong", "C项错误"."""
        found = []
        for match in cues.VERDICT.finditer(self.view):
            yes = match["yes"]
            if yes and any(yes.casefold() in text.split() for text in self.choices.by_text):
                continue  # where "right" is an option, "A is right" may say where A is
            before = self._sentence_before(match.start())
            letter = None if cues.SUPPOSED.search(before) or self._asked(match.end()) else self._subject(before)
            if letter is not None:
                denied = (
                    (match["neg"] or "").strip() == "not"
                    or "n't" in match[0]
                    or "cannot" in match[0]
                    or match["no"]
                )
                if "could" in match[0] and not denied:
                    continue
                found.append(_Found(match.start(), "verdict", _Event("rejected" if denied else "declared", letter)))
        for match in cues.CHINESE_VERDICT.finditer(self.view):
            keys = self.choices.labelled(match["letter"])
            if len(keys) == 1 and not cues.SUPPOSED.search(self._sentence_before(match.start())):
                event = _Event("rejected" if match["neg"] else "declared", *keys)
                found.append(_Found(match.start(), "verdict", event))
        return found

    def retractions(self) -> list[_Found]:
        return [_Found(m.start(), "retraction", _Event("retracted")) for m in cues.RETRACTED.finditer(self.view)]

    def last_words(self) -> Reading | None:
        """A reply that ends in "so it's B." or "Therefore, (B) blue": only where nothing else was declared."""
        view = self.view.rstrip()[-self.reach :]
        sentence = view[_last_end(cues.SENTENCE_END, view[:-1]) :].strip()
        match = cues.LAST_WORDS.fullmatch(sentence)
        opened = sentence[: match.start("what")].strip() if match else ""
        if match is None or not opened or cues.SUPPOSED.search(sentence) or cues.DENIED.search(sentence):
            return None
        reading = self.choices.read(match["what"])
        if reading is None or reading.kind == "text":
            return None
        return Reading(reading.letter, "phrase")

    def _after(self, position: int) -> str:
        """The line that follows a cue; the next one that is not empty if the cue ends its own."""
        span = self.view[position : position + self.reach].lstrip()
        return span.split("\n", 1)[0] if span else ""

    def _sentence_before(self, position: int) -> str:
        before = self.view[max(0, position - 300) : position]
        return before[_last_end(cues.SENTENCE_END, before) :]

    def _asked(self, position: int) -> bool:
        end = cues.SENTENCE_END.search(self.view, position)
        return end is not None and end[0] == "?"

    def _subject(self, before: str) -> str | None:
        """Which option a verdict is about: the whole clause before it, or its end, must name it."""
        clause = before[_last_end(cues.BREAK, before) :]
        for separator in ("", ",", " that ", ". "):
            head, _, cut = clause.rpartition(separator) if separator else ("", "", clause)
            if cues.DENIED.search(cut) or (separator == "," and self.choices.read(head.rpartition(",")[2])):
                return None  # "all of A, B, C"
            subject = cues.OPENING.sub("", cut.strip())
            reading = self.choices.read(subject)
            prose = not separator or subject != cut.strip() or (separator == "," and len(head.split()) > 2)
            if reading is not None and (prose or reading.kind != "text"):
                return reading.letter
        return None

    def _span(self, span: str) -> _Event:
        """What "the answer is" is followed by."""
        whole = self.choices.read(span)
        if whole is not None:
            return _Event("declared", whole.letter)
        if not span.strip() or cues.NO_ANSWER.match(span):
            return _NONE if span.strip() else _UNREADABLE
        by_text, question = self._by_text(span)
        if denial := cues.NOT.match(span):
            return by_text if by_text.kind == "declared" else self._denied(span[denial.end() :])
        by_label, question_too = self._by_label(span)
        if question or question_too:
            return _NONE
        declared = {event.letter for event in (by_text, by_label) if event.kind == "declared"}
        if len(declared) != 1:
            return _UNREADABLE
        return _Event("declared", *declared)

    def _denied(self, span: str) -> _Event:
        label = cues.LABEL.match(span)
        if label is None:
            return _NONE
        if turn := cues.BUT.match(span, label.end()):
            return self._span(span[turn.end() :])
        keys = self.choices.labelled(label["letter"])
        return _Event("rejected", *keys) if len(keys) == 1 else _NONE

    def _by_text(self, span: str) -> tuple[_Event, bool]:
        """An option's text that `span` begins with and that clearly ends there."""
        keys, after = self.choices.begun_by(span)
        if len(keys) != 1:
            return _NONE, False
        (key,) = keys
        if any(
            keys != self.choices.labelled(text)
            for text, named in self.choices.by_text.items()
            if key in named and self.choices.labelled(text)
        ):
            return _NONE, False
        if label := cues.BESIDE.match(after):
            return (_Event("declared", key) if self.choices.labelled(label[1]) == {key} else _NONE), False
        if re.match(r"\s?\?", after):
            return _NONE, True
        return (_Event("declared", key) if _ends(after) else _NONE), False

    def _by_label(self, span: str) -> tuple[_Event, bool]:
        """A letter that `span` begins with, if what follows it agrees or is beside the point."""
        label = cues.LABEL.match(span)
        keys = self.choices.labelled(label["letter"]) if label else set()
        if label is None or len(keys) != 1:
            return _NONE, False
        (key,) = keys
        after = span[label.end() :]
        if (stop := re.search(r"[.!?。](?=\s|$)|\?", after.removeprefix("."))) and stop[0] == "?":
            return _NONE, True
        bracketed = bool(re.search(r"[\])}>】]", label["close"] or ""))
        if not self._agrees(label, key, after, bracketed=bracketed):
            return _NONE, False
        if label["letter"].islower() and not bracketed and not re.match(r"\s?(?:[.,;:!]|$)", after):
            return _NONE, False  # "the answer is a matter of …"
        return _Event("declared", key), False

    def _agrees(self, label: re.Match[str], key: str, after: str, *, bracketed: bool) -> bool:
        if self.choices.by_text.get(label["letter"].casefold(), {key}) != {key}:
            return False  # this letter is another option's text
        another = cues.ANOTHER.match(after)
        if (
            another
            and (another["letter"].isupper() or label["letter"].islower())
            and self._other(another["letter"], key)
        ):
            return False  # "A or B", "A, B"
        beside = cues.SEPARATED.sub("", after)
        if not beside.strip("])}>\"'*$! "):
            return True
        named, rest = self.choices.begun_by(beside)
        sentence = bool(re.match(r"\s?[.;!。]", after))
        if named and key not in named:
            return sentence and not bracketed and bool(re.match(r"\s\w", rest)) and not cues.ECHO.match(beside)
        if named and not bracketed and not label["open"] and after == f" {beside}":
            return _ends(rest)  # "A red one": an article
        if named:
            return not cues.ECHO.match(beside[len(beside) - len(rest) :])
        return bool(sentence or cues.REASON.match(after) or re.match(r"\s?,|\s?[\"'][,}\s]|\s?[}\]]", after))

    def _other(self, letter: str, key: str) -> bool:
        keys = self.choices.labelled(letter)
        return bool(keys) and keys != {key}


def _ends(after: str) -> bool:
    """Whether an option's text, followed by this, is the whole of what was named."""
    return bool(not after.strip() or cues.TEXT_ENDS.match(after) or cues.TEXT_REASON.match(after))


def _conceded(sentence: str) -> str:
    """What is left of a sentence without its concession: "although it might be red, …"."""
    return sentence.rpartition(",")[2] if cues.CONCESSION.match(sentence) else sentence


def _last_end(pattern: re.Pattern[str], text: str) -> int:
    end = 0
    for match in pattern.finditer(text):
        end = match.end()
    return end
