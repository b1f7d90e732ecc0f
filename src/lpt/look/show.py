"""One example in the terminal, with its way back to the caption.

What models, captions and file names say is data from strangers: it is made `safe` before anything is printed, and
nothing of it is read as markup.
"""

from typing import Any

import msgspec
import polars as pl
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from lpt.errors import UserError
from lpt.look.safe import safe
from lpt.records import Caption, Drop, Example, LongThought, Pair, Question, Thought
from lpt.store.ledger import Ledger
from lpt.store.run import Run
from lpt.store.tables import TABLES

_VERDICT_STYLE = {"correct": "green", "wrong": "red", "unparsed": "yellow"}
_SEARCHED = ("sft", "preferences", "long_thoughts", "thoughts", "questions", "captions", "drops")


class Lineage(msgspec.Struct):
    """A record with all that it came from, and what became of it."""

    caption: Caption | None = None
    question: Question | None = None
    thought: Thought | None = None
    long: LongThought | None = None
    examples: list[Example] = []
    pairs: list[Pair] = []
    drops: list[Drop] = []


def find(run: Run, id: str | None) -> Lineage:  # noqa: A002 (it is what a record calls it)
    """Find a record by its id or the start of one, and follow it back to the caption.

    Without an id: the X→O example of the SFT set whose length is nearest to the median (or, where there is none,
    any example, any long thought, any question).

    Raises:
        UserError: nothing or more than one record has such an id.
    """
    if id is None:
        name, row = _typical(run)
    else:
        hits = [
            (name, row)
            for name in _SEARCHED
            for row in run.table(name).filter(pl.col("id").str.starts_with(id.lower())).head(3).collect().to_dicts()
        ]
        if not hits:
            raise UserError(f'no record of {run.path} has an id that starts with "{safe(id)}"')
        if len({row["id"] for _, row in hits}) > 1:
            found = ", ".join(f"{row['id'][:12]} ({name})" for name, row in hits[:6])
            raise UserError(f'more than one id starts with "{safe(id)}": {found}; give more of it')
        name, row = hits[0]
    return _follow(run, name, row)


def _typical(run: Run) -> tuple[str, dict[str, Any]]:
    examples = (
        run.table("sft")
        .filter(pl.col("set") == "long")
        .with_columns(back=pl.col("category") == "X→O", length=pl.col("target").str.len_chars())
    )
    middle = (
        examples.filter(pl.col("back") == pl.col("back").max())
        .with_columns(off=(pl.col("length") - pl.col("length").median()).abs())
        .sort("off", "id")
        .head(1)
        .collect()
        .to_dicts()
    )
    if middle:
        return "sft", middle[0]
    for name in ("long_thoughts", "thoughts", "questions", "captions"):
        rows = run.table(name).head(1).collect().to_dicts()
        if rows:
            return name, rows[0]
    raise UserError(f"{run.path} has no records yet: `lpt run RECIPE --out {run.path}` makes some")


def _follow(run: Run, name: str, row: dict[str, Any]) -> Lineage:
    found = Lineage()

    def one(table: str, id: str, kind: Any) -> Any:  # noqa: A002
        rows = run.table(table).filter(pl.col("id") == id).head(1).collect().to_dicts()
        return msgspec.convert(rows[0], kind) if rows else None

    source = row["id"]
    if name == "sft":
        source = row["source"]
    elif name == "preferences":
        source = row["chosen_source"]
    elif name == "drops":
        source = row["record"]
    found.long = one("long_thoughts", source, LongThought)
    found.thought = one("thoughts", found.long.thought if found.long else source, Thought)
    found.question = one("questions", found.thought.question if found.thought else source, Question)
    found.caption = one("captions", found.question.caption if found.question else source, Caption)
    ids = [record.id for record in (found.caption, found.question, found.thought, found.long) if record]
    # `source` itself may be no record: an image that could not be read never became one.
    found.drops = _all(run, "drops", pl.col("record").is_in([*ids, source]), Drop)
    found.examples = _all(run, "sft", pl.col("source").is_in(ids[-1:]), Example)
    side = pl.col("chosen_source").is_in(ids[-1:]) | pl.col("rejected_source").is_in(ids[-1:])
    found.pairs = _all(run, "preferences", side, Pair)
    return found


def _all(run: Run, table: str, where: pl.Expr, kind: Any) -> list[Any]:
    names = [field.name for field in msgspec.structs.fields(TABLES[table])]
    return [msgspec.convert(row, kind) for row in run.table(table).filter(where).select(names).collect().to_dicts()]


def show_record(run: Run, id: str | None, console: Console, *, prompts: bool = False) -> None:  # noqa: A002
    """Print one record with its lineage; with `prompts`, also what the models were sent and said."""
    found = find(run, id)
    if found.caption:
        _head(console, "Caption", found.caption.id, f"image {found.caption.path}")
        _body(console, Text(safe(found.caption.text)))
    if found.question:
        question = found.question
        _head(console, "Ask", question.id, question.kind)
        _body(console, _question(question))
    if found.thought:
        thought = found.thought
        _head(console, "Think", thought.id, f"sample {thought.index}")
        text = Text(safe(thought.thought))
        _body(console, text.append_text(_verdict(thought.answer, thought.verdict)))
    if found.long:
        long = found.long
        _head(console, "Think harder", long.id, f"cue {safe(long.cue) or 'none'} sample {long.index}")
        _body(console, _long(long))
    _fate(console, found)
    if prompts:
        _prompts(run, console, found)


def _head(console: Console, title: str, id: str, detail: str) -> None:  # noqa: A002
    label = Text.assemble((safe(title), "bold cyan"), ("  " + id[:12], "dim"), ("  " + safe(detail), "dim"))
    console.print(Rule(label, align="left", style="dim"))


def _body(console: Console, text: Text) -> None:
    console.print(Padding(text, (0, 0, 1, 2)), soft_wrap=False)


def _question(question: Question) -> Text:
    text = Text(safe(question.stem), style="bold")
    for letter, option in question.letters.items():
        right = letter == question.answer
        text.append(f"\n({letter}) {safe(option)}", style="green" if right else "not bold")
        text.append("  ✓" if right else "", style="green")
    return text


def _verdict(answer: str | None, verdict: str) -> Text:
    return Text.assemble("\n→ ", (safe(answer or "no answer"), "bold"), "  ", (verdict, _VERDICT_STYLE[verdict]))


def _long(long: LongThought) -> Text:
    """The student's words dimmed, the cue lit, what thinking harder added in plain."""
    text = Text()
    text.append(safe(long.prefix), style="dim")
    text.append(safe(long.joint))
    text.append(safe(long.cue), style="bold black on yellow")
    text.append(safe(long.continuation))
    text.append_text(_verdict(long.answer, long.verdict))
    letters = {"correct": "O", "wrong": "X", "unparsed": "?"}
    text.append(f"  {letters[long.before]}→{letters[long.verdict]}", style="bold")
    if long.instructed:
        text.append("  (the server was asked in words to continue)", style="yellow")
    return text


def _fate(console: Console, found: Lineage) -> None:
    _head(console, "What became of it", "", "")
    lines = Text()
    for example in found.examples:
        lines.append(f"in the SFT set ({example.set}, {example.split}) as {example.category}  ", style="green")
        lines.append(f"{example.id[:12]}", style="dim")
        if example.prefix:
            lines.append("  the student's thought is given, and carries no loss", style="dim")
        lines.append("\n")
    for pair in found.pairs:
        ids = {record.id for record in (found.long, found.thought) if record}
        side = "chosen" if pair.chosen_source in ids else "rejected"
        lines.append(f"in the preference set ({pair.split}) as {pair.category}, {side}  ", style="green")
        lines.append(f"{pair.id[:12]}\n", style="dim")
    for drop in found.drops:
        lines.append(f"left at {drop.stage}: {drop.reason}", style="yellow")
        lines.append(f"  {safe(drop.detail)}\n", style="dim")
    if not lines:
        lines.append("it is in no set, and nothing was dropped on the way: the sets are not composed yet")
    lines.rstrip()
    _body(console, lines)


def _prompts(run: Run, console: Console, found: Lineage) -> None:
    if not run.ledger_path.exists():
        console.print("no ledger: the run was imported, and prompts and raw replies are not known", style="yellow")
        return
    with Ledger(run.ledger_path) as ledger:
        for title, record in (("Ask", found.question), ("Think", found.thought), ("Think harder", found.long)):
            entry = ledger.lookup(record.reply) if record and record.reply else None
            if not entry:
                continue
            choice, call = entry
            _head(
                console, f"{title}: sent to {call.model}", choice.key, f"{call.usage.prompt_tokens} prompt tokens"
            )
            for role, words, images in call.request["messages"]:
                _body(console, Text.assemble((f"{role}  ", "cyan"), "🖼 " * len(images), safe(words)))
            if "prefill" in call.request:
                _body(
                    console, Text.assemble(("assistant, to be continued  ", "cyan"), safe(call.request["prefill"]))
                )
            _head(console, f"{title}: came back", "", choice.finish_reason)
            _body(console, Text(safe(choice.joined())))
