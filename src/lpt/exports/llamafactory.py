"""For LLaMA-Factory 0.9.5: sharegpt JSON, images by relative path, and a `dataset_info.json` that registers both.

Two dialects, by how the assistant's prefix (which is given, not learnt) is told:

- `raw`: as stock LLaMA-Factory can train it. It closes every turn and knows no column for a prefix, so here the
  user's content is the whole rendered chat, up to and including the prefix, and the assistant's is what is learnt.
  That wants a template that adds nothing: `train.py`, written beside the sets, registers it and starts training.
- `column`: as the paper's authors publish theirs, with an `assistant_prefix` column. A stock LLaMA-Factory drops
  that column in silence and trains on the prefix; it is for forks and tools that read it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from lpt.errors import UserError
from lpt.exports.base import (
    Exported,
    Rows,
    Shared,
    beside,
    example_metadata,
    export_rows,
    in_prompt,
    pair_metadata,
)
from lpt.exports.images import Progress
from lpt.exports.rows import put
from lpt.exports.turns import Choice, Renderer, Turn
from lpt.records import Example, Pair
from lpt.store.run import Run

IMAGE = "<image>"
"""What LLaMA-Factory counts in a conversation, and puts the image's tokens in the place of."""

Row = dict[str, Any]


def export(
    run: Run,
    out: Path,
    *,
    prefix: Literal["raw", "column"] = "raw",
    template: str = "chatml",
    base_template: str = "qwen2_vl",
    shared: Shared = "prompt",
    allow_missing_images: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write a run's sets for LLaMA-Factory.

    Args:
        run: the run.
        out: the folder to write into; its `dataset_dir`.
        prefix: the dialect; see above.
        template: the chat template of the model to be trained (raw only).
        base_template: LLaMA-Factory's own template for that model, whose handling of images is taken over.
        shared: where the wrong thought goes that both sides of an X→O pair begin with (raw only). In the prompt it
            leaves the preference term as it is, since it cancels there, and stays out of the SFT term.
        allow_missing_images: let rows refer to images that are not there by their recorded names.
        progress: is told how many images are done, of how many.

    Raises:
        UserError: no sets, no images, an unknown option.
        StoreError: the disk failed.
    """
    if prefix not in ("raw", "column"):
        raise UserError(f'the prefix is told as "raw" or as a "column", not as "{prefix}"')
    shared_is_given = in_prompt(shared)
    info = _read_info(out)
    renderer = Renderer(template, image=IMAGE)
    rows = _Column() if prefix == "column" else _Raw(renderer, given=shared_is_given)
    exported = export_rows(run, out, rows, "json", allow_missing_images=allow_missing_images, progress=progress)
    files = [*exported.files, put(out / "dataset_info.json", _info(info, exported))]
    if prefix == "raw":
        files.extend(_companions(out, exported, renderer.ending, base_template))
    else:
        files.append(put(out / "README.md", beside("llamafactory_column.md").encode()))
    return msgspec.structs.replace(exported, files=tuple(files))


class _Column(Rows):
    """The authors' dialect."""

    def example(self, example: Example, turn: Turn, image: str) -> Row:
        return {
            "messages": [
                *_conversation(turn.system, turn.prompt),
                {"role": "assistant", "content": turn.prefix + turn.target},
            ],
            "images": [image],
            "assistant_prefix": turn.prefix,
            "metadata": example_metadata(example),
        }

    def pair(self, pair: Pair, choice: Choice, image: str) -> Row:
        return {
            "messages": _conversation(choice.system, choice.prompt),
            "chosen": {"role": "assistant", "content": choice.shared + choice.chosen},
            "rejected": {"role": "assistant", "content": choice.shared + choice.rejected},
            "images": [image],
            "metadata": pair_metadata(pair),
        }


class _Raw(Rows):
    """The dialect that a stock LLaMA-Factory trains right, by the template of `train.py`."""

    def __init__(self, renderer: Renderer, *, given: bool) -> None:
        self._renderer = renderer
        self._given = given

    def example(self, example: Example, turn: Turn, image: str) -> Row:
        given, learnt = self._renderer.turn(turn)
        return {
            "messages": [{"role": "user", "content": given}, {"role": "assistant", "content": learnt}],
            "images": [image],
            "metadata": example_metadata(example),
        }

    def pair(self, pair: Pair, choice: Choice, image: str) -> Row:
        given, chosen, rejected = self._renderer.choice(choice, give_shared=self._given)
        return {
            "messages": [{"role": "user", "content": given}],
            "chosen": {"role": "assistant", "content": chosen},
            "rejected": {"role": "assistant", "content": rejected},
            "images": [image],
            "metadata": pair_metadata(pair),
        }


def _conversation(system: str, prompt: str) -> list[dict[str, str]]:
    user = {"role": "user", "content": IMAGE + prompt}
    return [{"role": "system", "content": system}, user] if system else [user]


# What stands beside the sets.


def _read_info(out: Path) -> dict[str, Any]:
    """The registrations that are there already, but for those that an earlier export made."""
    path = out / "dataset_info.json"
    try:
        info = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{path} is there and cannot be read, so it cannot be added to ({error}): choose another --out"
        ) from error
    return {name: entry for name, entry in info.items() if not name.startswith("lpt_")}


def _info(info: dict[str, Any], exported: Exported) -> bytes:
    entries = {name: _entry(name) for name in sorted(exported.counts)}
    data = msgspec.json.format(msgspec.json.encode({**info, **entries}), indent=2)
    return data + b"\n"


def _entry(name: str) -> dict[str, Any]:
    ranking = name.startswith("lpt_preferences")
    columns = {"messages": "messages", "images": "images"}
    if ranking:
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    return {
        "file_name": f"{name}.json",
        "formatting": "sharegpt",
        **({"ranking": True} if ranking else {}),
        "columns": columns,
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }


def _companions(out: Path, exported: Exported, ending: str, base: str) -> Iterator[Path]:
    """The lines of Python that register the template, the configurations, and how to use them."""
    for file in ("register_template.py", "train.py"):
        text = beside(f"llamafactory_{file}.txt", BASE=repr(base), ENDING=repr(ending))
        yield put(out / file, text.encode())
    sft, preferences = "lpt_sft_long", "lpt_preferences"
    for file, name in (("sft", sft), ("dpo", preferences), ("dpo_released", preferences)):
        path = out / f"{file}.yaml"
        if f"{name}_train" not in exported.counts:
            path.unlink(missing_ok=True)
            continue
        text = beside(f"llamafactory_{file}.yaml")
        if f"{name}_validation" not in exported.counts:
            start, end = text.index("### Held-out images"), text.index("### Output")
            text = text[:start] + text[end:]
        yield put(path, text.encode())
    yield put(out / "README.md", beside("llamafactory_raw.md").encode())
