"""Tables with a header: as spreadsheets, pandas and people write them."""

import csv
import io
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.captions.csv_ import records
from lpt.errors import SourceError
from lpt.records import Drop
from tests.captions.files import encoded, kept, noisy, put, reasons, take

A, B, C = (encoded(noisy(seed=seed), "JPEG") for seed in range(3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in (("a.jpg", A), ("b.jpg", B), ("c d.jpg", C)):
        put(tmp_path, name, data, None)
    return tmp_path


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_table_with_quoted_lines_commas_and_quotes(folder: Path):
    path = table(
        folder,
        'id,image,caption\r\n1,a.jpg,"A car,\r\na ""red"" one."\r\n\r\n2,"c d.jpg",5" wide\r\n,b.jpg,Nameless.\r\n',
    )
    captions = kept(take("csv", path))
    assert [(c.source_id, c.path, c.text) for c in captions] == [
        ("1", "a.jpg", 'A car,\na "red" one.'),
        ("2", "c d.jpg", '5" wide'),
        ("b.jpg", "b.jpg", "Nameless."),
    ]
    assert {c.source for c in captions} == {"csv"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "head", ["\ufeffimage{0}caption{0}more", "caption{0} image {0}id", '"image"{0}"caption"{0}"x,y;z"']
)
def test_the_delimiter_is_the_one_that_finds_the_columns(folder: Path, delimiter: str, head: str):
    names = head.format(delimiter)
    cells = {"image": "a.jpg", "caption": "One; two, three", "more": "m", "id": "i", "x,y;z": "z"}
    order = [name.strip('" \ufeff') for name in next(csv.reader([names], delimiter=delimiter))]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerow(cells[name] for name in order)
    (caption,) = kept(take("csv", table(folder, f"{names}\n{out.getvalue()}")))
    assert (caption.path, caption.text) == ("a.jpg", "One; two, three")


def test_columns_have_the_names_that_the_recipe_says(folder: Path):
    path = table(folder, "file,words,key\na.jpg,A.,k\n")
    (caption,) = kept(take("csv", path, columns={"image": "file", "caption": "words", "id": "key"}))
    assert (caption.path, caption.text, caption.source_id) == ("a.jpg", "A.", "k")


def test_what_is_no_row_is_a_drop_and_costs_no_other(folder: Path):
    rows = [
        b"a.jpg,Good.,",
        b"a.jpg,Too,many,fields",
        b"a.jpg",
        b"a.jpg,W\xf6rter,",
        b"nowhere.jpg,Words.,",
        b",Words.,",
        b"b.jpg,,",
        b'b.jpg,"quoted" badly,',
        b"../a.jpg,Words.,",
        "b.jpg,Wörter.,".encode(),
    ]
    items = take("csv", table(folder, b"image,caption,id\n" + b"\n".join(rows)))
    assert [c.text for c in kept(items)] == ["Good.", "Wörter."]
    assert reasons(items) == [
        "malformed-csv",
        "malformed-csv",
        "not-utf8",
        "missing-image",
        "missing-image-name",
        "missing-caption",
        "malformed-csv",
        "path-outside",
    ]
    assert len(items) == len(rows)
    assert [d.detail for d in items if isinstance(d, Drop)][:2] == [
        "row 2: it has 4 fields, and the header has 3",
        "row 3: it has 1 fields, and the header has 3",
    ]


def test_a_quotation_mark_that_is_never_closed_is_a_drop(folder: Path):
    items = take("csv", table(folder, 'image,caption\na.jpg,Good.\nb.jpg,"never closed\n' + "more\n" * 50))
    assert [c.text for c in kept(items)] == ["Good."]
    assert reasons(items) == ["malformed-csv"]


def test_a_field_without_an_end_takes_bounded_memory(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lpt.captions.csv_.MAX_LINE", 1000)
    limit = csv.field_size_limit(1000)
    try:
        path = table(folder, b'image,caption\na.jpg,"' + b"w" * 50_000 + b"\nb.jpg,Good.\n")
        assert len(list(records(path, ("image",), "captions"))) > 1
        assert {row.reason for _, row in records(path, ("image",), "captions") if not isinstance(row, dict)} == {
            "malformed-csv"
        }
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", {}, "is empty: its first line should name the columns, such as image,caption"),
        ("file,caption\na,b\n", {}, r"no column `image`; there are: `file`, `caption`.*captions\.columns"),
        ("image;text\na;b\n", {}, r"no column `caption`; there are: `image`, `text`"),
        ("image,caption,caption\na,b,c\n", {}, "more than one column `caption`"),
        ("image,caption\n", {}, "holds no rows"),
        ("image,caption\na.jpg,A\n".encode("utf-16"), {}, "UTF-16: save it as UTF-8"),
        ("image,caption\na,b\n", {"image": "picture"}, "no column `picture`"),
    ],
)
def test_a_table_that_cannot_be_read_says_what_to_do(
    folder: Path, text: str | bytes, columns: dict[str, str], message: str
):
    with pytest.raises(SourceError, match=message):
        take("csv", table(folder, text), columns=columns)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)


@given(
    st.lists(st.tuples(cells, cells), min_size=1, max_size=5),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_wrote_always_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str, end: str
):
    out = io.StringIO()
    # Python's own writer forgets to quote a \r where lines end in \n.
    rough = any("\r" in cell for row in rows for cell in row)
    quoting: Literal[0, 1] = csv.QUOTE_ALL if rough else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([("image", "caption"), *rows])
    path = table(tmp_path_factory.mktemp("csv"), out.getvalue())
    found = [row for _, row in records(path, ("image", "caption"), "captions")]
    assert found == [{"image": image, "caption": caption} for image, caption in rows]


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_and_drops_and_never_a_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = table(tmp_path_factory.mktemp("csv"), b"image,caption\n" + data)
    for _, row in records(path, ("image", "caption"), "captions"):
        reached: Any = row if isinstance(row, dict) else row.reason
        assert reached
