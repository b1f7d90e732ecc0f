"""Hugging Face data sets: a real one, saved to disk, where `datasets` is installed; and what is said where not."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from lpt.captions import hub
from lpt.errors import SourceError
from lpt.recipe import Recipe
from lpt.records import digest
from tests.captions.files import encoded, kept, noisy, put, reasons, take

A, B = (encoded(noisy(seed=seed), "PNG") for seed in range(2))


@pytest.fixture
def datasets() -> Any:
    # A large library warns about what it likes.
    return pytest.importorskip("datasets", reason=f"`datasets` is not installed: {hub.INSTALL}")


def rows(datasets: Any, *more: dict[str, Any]) -> Any:
    features = datasets.Features(
        {"image": datasets.Image(), "caption": datasets.Value("string"), "n": datasets.Value("int64")}
    )
    given = [
        {"image": {"bytes": A, "path": "a.png"}, "caption": "One.", "n": 1},
        {"image": {"bytes": b"no picture", "path": None}, "caption": "Broken.", "n": 2},
        {"image": {"bytes": B, "path": None}, "caption": "Two.", "n": 3},
        *more,
    ]
    return datasets.Dataset.from_list(given, features=features)


@pytest.mark.filterwarnings("ignore")
def test_a_saved_data_set(datasets: Any, tmp_path: Path):
    rows(datasets).save_to_disk(str(tmp_path / "set"))
    items = take("hub", tmp_path / "set", base=tmp_path)
    assert [(c.path, c.text, c.source_id) for c in kept(items)] == [
        (f"{digest('image', A)}.png", "One.", "a.png"),
        (f"{digest('image', B)}.png", "Two.", "row 3"),
    ]
    assert reasons(items) == ["not-an-image"]
    assert (tmp_path / "rendered" / f"{digest('image', A)}.png").read_bytes() == A


@pytest.mark.filterwarnings("ignore")
def test_a_split_is_asked_for_where_there_are_several(datasets: Any, tmp_path: Path):
    found = rows(datasets)
    datasets.DatasetDict({"train": found, "dev": found.select([0])}).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(SourceError, match=r"more than one split: set captions.split to one of train, dev"):
        take("hub", tmp_path / "set", base=tmp_path)
    with pytest.raises(SourceError, match="has no split `test`"):
        take("hub", tmp_path / "set", base=tmp_path, split="test")
    assert len(kept(take("hub", tmp_path / "set", base=tmp_path, split="dev"))) == 1
    assert len(kept(take("hub", tmp_path / "set", base=tmp_path, split="train"))) == 2


@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_parquet_is_streamed(datasets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    rows(datasets).to_parquet(str(tmp_path / "set/train-0.parquet"))
    items = take("hub", tmp_path / "set", base=tmp_path)
    assert [c.text for c in kept(items)] == ["One.", "Two."]
    with pytest.raises(SourceError, match=r"no column `picture`; there are: `image`, `caption`, `n`"):
        take("hub", tmp_path / "set", base=tmp_path, columns={"image": "picture"})


@pytest.mark.filterwarnings("ignore")
def test_images_as_paths_are_found_and_other_columns_are_as_named(datasets: Any, tmp_path: Path):
    put(tmp_path, "pictures/a.png", A, None)
    found = datasets.Dataset.from_list([{"file": "a.png", "words": "One.", "key": 7}])
    found.save_to_disk(str(tmp_path / "set"))
    columns = {"image": "file", "caption": "words", "id": "key"}
    (caption,) = kept(
        take("hub", tmp_path / "set", base=tmp_path, columns=columns, images=str(tmp_path / "pictures"))
    )
    assert (caption.source_id, caption.image) == ("7", digest("image", A))


@pytest.mark.filterwarnings("ignore")
def test_a_data_set_that_cannot_be_opened_is_told_as_such(datasets: Any, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"the data set .*empty cannot be opened: .*[^.]\. See captions.path"):
        take("hub", tmp_path / "empty", base=tmp_path)


def test_a_path_that_leads_nowhere_is_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "_library", lambda _where: None)
    with pytest.raises(SourceError, match=r"captions\.path: there is no .*nowhere"):
        take("hub", tmp_path / "nowhere", base=tmp_path)


def test_without_the_package_the_command_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(SourceError, match=r'pip install "long-perceptual-thoughts\[hub\]"'):
        take("hub", Path("somebody/set"), base=tmp_path)


def test_an_id_stays_an_id_and_a_folder_becomes_absolute(tmp_path: Path):
    (tmp_path / "saved").mkdir()
    for path, there in (("somebody/a-set", "somebody/a-set"), ("saved", str(tmp_path / "saved"))):
        recipe = Recipe.parse(f'[captions]\nsource = "hub"\npath = "{path}"').located(tmp_path)
        assert recipe.captions.path == there
        assert recipe.located(tmp_path / "elsewhere").captions.path == there
