"""The model card: what a model was trained on and how, so that somebody else can do it again."""

from collections.abc import Sequence
from typing import Any

import msgspec

from lpt.train.prepare import Prepared, shown, summary

_ROWS = 40


def card(prepared: Prepared, trained: Any, history: Sequence[dict[str, float]]) -> str:
    """The card as Markdown.

    Args:
        prepared: data and recipe.
        trained: a `session.Trained`.
        history: what the trainer logged, an entry a report.
    """
    recipe, numbers = prepared.recipe, summary(prepared)
    name = str(recipe.model.name)
    base = name if name.count("/") == 1 and name[0] not in "./~" else prepared.model.name
    command = f"lpt train {recipe.stage} {prepared.source} --recipe recipe.toml --model {name} --out OUT"
    best = [f"{key.removeprefix('eval_')} {value:.4g}" for key, value in trained.best.items() if _told(key)]
    parts = [
        "\n".join(
            (
                "---",
                f"base_model: {msgspec.json.encode(base).decode()}",
                f"tags: [lpt, {recipe.stage}, trl]",
                "pipeline_tag: image-text-to-text",
                "---",
            )
        ),
        f"# {recipe.stage.upper()} of {_line(base)}",
        f"{trained.steps:,} steps in {trained.seconds / 3600:.2f} h; loss {trained.first_loss:.4f} → "
        f"{trained.last_loss:.4f}." + (f" Best checkpoint: {', '.join(best)}." if best else ""),
        "## Data",
        f"Fingerprint `{numbers.fingerprint}`: a hash of every word that was learnt from, and of which images.",
        _table(
            [(key, _short(value)) for key, value in msgspec.structs.asdict(numbers).items() if key != "fingerprint"]
        ),
        "## Commands",
        _fenced(f"{command}\n{command} --show-masks 5", "sh"),
        "## Recipe",
        _fenced(recipe.toml(), "toml"),
        "## Masks",
        "What stands between ⟦ and ⟧ carries loss, and nothing else does. One example a category:",
        *_masks(prepared, len(numbers.categories)),
        "## Curves",
        _curves(history),
    ]
    return "\n\n".join(parts) + "\n"


def _told(key: str) -> bool:
    return key in {"eval_loss", "eval_accuracy", "eval_unparsed", "eval_cut_off", "eval_rewards/margins"}


def _masks(prepared: Prepared, number: int) -> list[str]:
    made = []
    for title, side, pieces in shown(prepared, number):
        text, inside = "", False
        for piece, learnt, _ in pieces:
            text += ("⟦" if learnt else "⟧") if learnt != inside else ""
            text, inside = text + piece, learnt
        made += [f"{_line(title)} {side}".strip(), _fenced(text + ("⟧" if inside else ""), "text")]
    return made


def _curves(history: Sequence[dict[str, float]]) -> str:
    """Reports at even distances, and every validation."""
    steps = [entry for entry in history if "loss" in entry]
    rows = steps[:: max(1, -(-len(steps) // _ROWS))] + [entry for entry in history if "eval_loss" in entry]
    lines = ["| step | loss | learning rate | validation loss | accuracy |", "|---:|---:|---:|---:|---:|"]
    for entry in sorted(rows, key=lambda entry: (entry.get("step", 0), "eval_loss" in entry)):
        keys = ("loss", "learning_rate", "eval_loss", "eval_accuracy")
        values = [f"{entry[key]:.4g}" if key in entry else "" for key in keys]
        lines.append(f"| {int(entry.get('step', 0))} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)])


def _short(value: object) -> str:
    if isinstance(value, dict):
        return _line(", ".join(f"{key} {number:,}" for key, number in value.items())) or "none"
    return f"{value:,}" if isinstance(value, int) else _line(str(value))


def _line(text: str) -> str:
    """Words of strangers on one line of a page: no markup of theirs."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else " " if c.isspace() else c for c in text)


def _fenced(text: str, language: str) -> str:
    """A block that no text within it can end."""
    longest = max((len(run) for run in _runs(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _runs(text: str) -> list[str]:
    return "".join(c if c == "`" else " " for c in text).split()
