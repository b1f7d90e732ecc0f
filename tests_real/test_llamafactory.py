"""A stock LLaMA-Factory on what `lpt export --to llamafactory` writes, by the files that stand there."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import INSIDE, call
from exported import Row, lpt, rows, said

pytestmark = pytest.mark.tool("llamafactory")
checks = pytest.mark.checks
Note = Callable[[str], None]

END = "<|im_end|>"
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
STEPS = (
    *("bf16=false", "max_steps=2", "per_device_train_batch_size=2", "gradient_accumulation_steps=1"),
    *("per_device_eval_batch_size=2", "eval_strategy='no'", "save_strategy='no'", "dataloader_num_workers=0"),
    *("preprocessing_num_workers=1", "overwrite_cache=true", "plot_loss=false", "learning_rate=1.0e-3"),
    *("warmup_steps=0", "cutoff_len=4096"),
)


@pytest.fixture(scope="module")
def sets(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo's sets in both dialects."""
    folders = {}
    for prefix in ("raw", "column"):
        folders[prefix] = tmp_path_factory.mktemp("llamafactory") / prefix
        lpt("export", demo, "--to", "llamafactory", "--prefix", prefix, "--out", folders[prefix])
    return folders


@pytest.fixture(scope="module")
def labels(
    sets: dict[str, Path], environment: Callable[[str], Path], tiny: Callable[[str, str], Path]
) -> Callable[[str, str, str, str], list[Row]]:
    """What the trainer makes of each row of a set."""

    def get(dialect: str, template: str, name: str, stage: str) -> list[Row]:
        script = INSIDE / "llamafactory_labels.py"
        model = tiny("llamafactory", "vision")
        return said(call(environment("llamafactory"), script, sets[dialect], model, template, name, stage), "ROW ")

    return get


def one_image(text: str) -> str:
    """A text with an image's places as one."""
    while "<|image_pad|><|image_pad|>" in text:
        text = text.replace("<|image_pad|><|image_pad|>", "<|image_pad|>")
    return text


@checks(
    "labels of every SFT row: no loss on prompt, image and prefix; loss on continuation, answer and end of turn"
)
def test_sft_labels(sets: dict[str, Path], labels: Callable[..., list[Row]], note: Note) -> None:
    written = rows(sets["raw"], "lpt_sft_long_train")
    made = labels("raw", "lpt_raw", "lpt_sft_long_train", "sft")
    assert len(made) == len(written)
    prefixes = {
        row["metadata"]["id"]: row["assistant_prefix"] for row in rows(sets["column"], "lpt_sft_long_train")
    }
    shown = None
    for row, labelled in zip(written, made, strict=True):
        user, assistant = (turn["content"] for turn in row["messages"])
        assert one_image(labelled["given"]) == user.replace("<image>", IMAGE)
        assert labelled["learnt"].rstrip("\n") == assistant + END
        assert labelled["whole_tail"]
        if row["metadata"]["category"] == "X→O":
            prefix = prefixes[row["metadata"]["id"]]
            assert prefix
            assert labelled["given"].endswith(prefix)
            shown = shown or (row, labelled)
    assert shown, "the demo has no X→O example"
    print_labels(shown[1])
    corrected = sum(row["metadata"]["category"] == "X→O" for row in written)
    note(f"{len(made)} rows, {corrected} of them X→O; one learns {shown[1]['learnt'][:90]!r}…")


def print_labels(labelled: Row) -> None:
    """Print a row token by token: those that carry loss between bars."""
    print("\nlabels of one X→O example (|…| carries loss):")
    image = 0
    line = ""
    for token, learnt in labelled["shown"]:
        if token == "<|image_pad|>":
            image += 1
            continue
        if image:
            line += f"[{image} image tokens]"
            image = 0
        line += f"|{token}|" if learnt else token
    print(line)


@checks("token ids equal those of its own template (qwen2_vl) on whole turns")
def test_ids_are_the_stock_ones(sets: dict[str, Path], labels: Callable[..., list[Row]], note: Note) -> None:
    for name in ("lpt_sft_long_train", "lpt_sft_simple_train"):
        ours = labels("raw", "lpt_raw", name, "sft")
        theirs = labels("column", "qwen2_vl", name, "sft")
        same = sum(one["ids"] == other["ids"] for one, other in zip(ours, theirs, strict=True))
        said_alike = sum(
            one["given"] + one["learnt"] == other["given"] + other["learnt"]
            for one, other in zip(ours, theirs, strict=True)
        )
        note(f"{name}: {same} of {len(ours)} rows")
        assert said_alike == len(ours)
        # Where learning starts in the middle of a word a token ends there, too: with a random tokenizer, rarely.
        assert same >= 0.9 * len(ours)


@checks("the trap: it drops an `assistant_prefix` column in silence and learns the wrong thought as well")
def test_the_column_is_dropped(sets: dict[str, Path], labels: Callable[..., list[Row]]) -> None:
    written = rows(sets["column"], "lpt_sft_long_train")
    made = labels("column", "qwen2_vl", "lpt_sft_long_train", "sft")
    prefixed = [(row, one) for row, one in zip(written, made, strict=True) if row["assistant_prefix"]]
    assert prefixed
    for row, labelled in prefixed:
        assert row["assistant_prefix"] in labelled["learnt"]


@checks("labels of every pair: the shared wrong thought is given, both sides are learnt from where they part")
def test_dpo_labels(sets: dict[str, Path], labels: Callable[..., list[Row]], note: Note) -> None:
    written = rows(sets["raw"], "lpt_preferences_train")
    made = labels("raw", "lpt_raw", "lpt_preferences_train", "dpo")
    assert len(made) == len(written)
    for row, labelled in zip(written, made, strict=True):
        given = row["messages"][0]["content"].replace("<image>", IMAGE)
        for side in ("chosen", "rejected"):
            assert one_image(labelled[f"{side}_given"]) == given
            assert labelled[f"{side}_learnt"].rstrip("\n") == row[side]["content"] + END
    note(f"{len(made)} pairs")


@checks(
    "two SFT steps by `train.py sft.yaml`, vision tower and projector frozen; two DPO steps from that checkpoint"
)
def test_steps(
    sets: dict[str, Path],
    environment: Callable[[str], Path],
    tiny: Callable[[str, str], Path],
    tmp_path: Path,
    note: Note,
) -> None:
    python, folder = environment("llamafactory"), sets["raw"]
    model, saved = tiny("llamafactory", "vision"), tmp_path / "sft"
    began = call(python, "-c", "import time; print(time.time())")
    call(
        python,
        folder / "train.py",
        "sft.yaml",
        f"model_name_or_path={model}",
        f"output_dir={saved}",
        *STEPS,
        cwd=folder,
    )
    sft = json.loads((saved / "trainer_state.json").read_text())
    dpo_out = tmp_path / "dpo"
    dpo = (f"model_name_or_path={saved}", f"output_dir={dpo_out}", "pref_ftx=0.0")
    call(python, folder / "train.py", "dpo.yaml", *dpo, *STEPS, cwd=folder)
    state = json.loads((dpo_out / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in sft["log_history"] if "loss" in entry]
    preference = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert len(losses) == len(preference) == 2
    assert all(map(math.isfinite, losses + preference))
    assert preference[0] == pytest.approx(math.log(2), abs=1e-3)
    assert preference[1] != pytest.approx(math.log(2), abs=1e-6)
    code = (
        "import sys; from safetensors.torch import load_file as f; import glob; "
        "a,b=({k:v for p in glob.glob(d+'/*.safetensors') for k,v in f(p).items()} for d in sys.argv[1:]); "
        "print(sorted({k.split('.')[0]+'.'+k.split('.')[1] for k in a if not a[k].equal(b[k])}))"
    )
    changed = call(python, "-c", code, model, saved).strip()
    assert "visual" not in changed, changed
    assert began
    note(f"SFT losses {losses}, DPO losses {preference} (SFT term off); changed by SFT: {changed}")
    shutil.rmtree(saved)
    shutil.rmtree(dpo_out)
