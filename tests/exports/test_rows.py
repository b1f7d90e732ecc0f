import contextlib
import json

import pytest

from lpt.errors import StoreError
from lpt.exports.rows import RowFiles, put


def test_a_json_array_is_written_row_by_row(tmp_path):
    with RowFiles(tmp_path, "json") as files:
        for number in range(3):
            files.write("a", {"n": number, "text": "é\u2028\n\"'"})
        files.write("b", {})
        assert not (tmp_path / "a.json").exists(), "it appears only when it is whole"
    assert json.loads((tmp_path / "a.json").read_bytes()) == [{"n": n, "text": "é\u2028\n\"'"} for n in range(3)]
    assert json.loads((tmp_path / "b.json").read_bytes()) == [{}]
    assert files.counts == {"a": 3, "b": 1}


def test_json_lines_hold_one_row_each(tmp_path):
    with RowFiles(tmp_path, "jsonl") as files:
        files.write("a", {"text": "one\ntwo"})
        files.write("a", {"text": "three"})
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one\ntwo", "three"]


def test_an_exception_leaves_what_was_there(tmp_path):
    (tmp_path / "a.json").write_text("old")
    with contextlib.suppress(KeyError), RowFiles(tmp_path, "json") as files:
        files.write("a", {})
        raise KeyError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "old")]


def test_a_disk_that_will_not_take_it_is_a_store_error(tmp_path):
    with (
        pytest.raises(StoreError, match=r"a\.json could not be written"),
        RowFiles(tmp_path / "no", "json") as files,
    ):
        files.write("a", {})
    with pytest.raises(StoreError, match="could not be written"):
        put(tmp_path / "no" / "b", b"")
