import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lpt.cli.export import export
from lpt.errors import UserError
from tests.exports.runs import example, image_hash, make_run, pair

A, B = sorted(image_hash(number) for number in range(2))


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(export)
    return app


def test_it_prints_what_it_wrote(app, tmp_path):
    run = make_run(tmp_path / "run", [example(A, prompt="<image>"), example(B)], [pair(A)])
    (run.images / f"{B}.png").unlink()
    result = CliRunner().invoke(app, [str(run.path), "--to", "trl"])
    assert result.exit_code == 0, result.output
    paths = [Path(line) for line in result.stdout.split()]
    assert paths
    assert all(path.is_file() and path.parent == run.path / "exports/trl" for path in paths)
    assert "1 rows were not written: their image is not there" in result.stderr
    assert "1 rows spelt a special token" in result.stderr


def test_json_is_for_machines(app, tmp_path):
    run = make_run(tmp_path / "run", [example(A)])
    arguments = [
        str(run.path),
        "--to",
        "llamafactory",
        "--prefix",
        "column",
        "--out",
        str(tmp_path / "o"),
        "--json",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["counts"] == {"lpt_sft_long_train": 1}
    assert str(tmp_path / "o/dataset_info.json") in told["files"]


def test_missing_images_can_be_allowed(app, tmp_path):
    run = make_run(tmp_path / "run", [example(A)], pictures=False)
    refused = CliRunner().invoke(app, [str(run.path), "--to", "trl"])
    assert isinstance(refused.exception, UserError)
    result = CliRunner().invoke(app, [str(run.path), "--to", "trl", "--allow-missing-images"])
    assert result.exit_code == 0, result.output
    row = json.loads((run.path / "exports/trl/lpt_sft_long_train.jsonl").read_text())
    assert row["images"] == [f"{A}.png"]
    assert "1 images have no file" in result.stderr


def test_an_exporter_that_tells_no_progress(app, tmp_path):
    run = make_run(tmp_path / "run", [example(A)])
    (tmp_path / "mine.py").write_text(
        "from lpt.exports.base import Exported\ndef none(run, out):\n    return Exported(files=(), counts={})\n"
    )
    assert CliRunner().invoke(app, [str(run.path), "--to", f"{tmp_path}/mine.py:none"]).exit_code == 0


def test_a_folder_for_the_hub_tells_its_funnel_and_licence(app, tmp_path):
    run = make_run(tmp_path / "run", [example(A)], [pair(A)])
    arguments = [str(run.path), "--to", "hf", "--licence", "cc-by-4.0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    card = (run.path / "exports/hf/README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert "| stage | made | kept | dropped |" in card
    other = CliRunner().invoke(app, [str(run.path), "--to", "trl", "--licence", "cc-by-4.0"])
    assert isinstance(other.exception, UserError)


def test_pushing_without_a_token_says_what_is_missing(app, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    run = make_run(tmp_path / "run", [example(A)])
    result = CliRunner().invoke(app, [str(run.path), "--to", "hf", "--push", "me/thoughts"])
    assert isinstance(result.exception, UserError)
    assert "--push needs" in str(result.exception)
    assert not (run.path / "exports/hf").exists()
