"""Each benchmark's rows, with every quirk of its files, become items."""

import json
from collections import Counter
from pathlib import Path

import pytest

from lpt.errors import UserError
from lpt.evaluate import registry
from lpt.evaluate.items import Item, Media, drawn, fingerprint
from lpt.evaluate.load import Loaded, NoMedia, load
from lpt.evaluate.rows import SchemaError
from tests.evaluate import made


def read(name: str, folder: Path) -> list[Item]:
    return load(registry.benchmark(name), folder).items


def mmstar(folder: Path, *questions: tuple[str, str], category: str = "coarse perception") -> None:
    rows = [
        {
            "index": number,
            "question": question,
            "image": made.inside(),
            "answer": answer,
            "category": category,
            "l2_category": "image emotion",
            "meta_info": {"source": "MMBench"},
        }
        for number, (question, answer) in enumerate(questions)
    ]
    made.parquet(folder / "mmstar.parquet", rows)


def test_vstar_parts_the_options_from_the_text_and_drops_the_hint(tmp_path: Path) -> None:
    made.vstar(tmp_path)
    item, other, *_ = read("vstar", tmp_path)
    assert item.question == "What is the color of the dog?"
    assert item.options == ("The color is white.", "The color is black.")
    assert (item.truth, item.category) == ("B", "direct_attributes")
    assert item.media == (Media(path="direct_attributes/one.png"),)
    assert item.cluster == other.cluster  # one picture, two questions


def test_a_relative_image_path_is_read_below_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "vstar"
    made.vstar(folder)
    loaded = load(registry.benchmark("vstar"), folder)
    assert loaded.data(loaded.items[0].media[0]) == made.picture()
    made.file(tmp_path / "secret.png", made.picture())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    for path in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "direct_attributes/none.png"):
        with pytest.raises(NoMedia):
            loaded.data(Media(path=path))


def test_cvbench_reads_lists_bracketed_letters_and_both_files(tmp_path: Path) -> None:
    made.cvbench(tmp_path)
    items = read("cvbench", tmp_path)
    assert [item.category for item in items] == [
        "Count/ADE20K",
        "Relation/COCO",
        "Count/COCO",
        "Depth/Omni3D",
        "Distance/Omni3D",
    ]
    assert [item.truth for item in items] == ["A", "A", "C", "A", "A"]
    assert items[0].options == ("1", "2", "3")
    assert items[0].media[0].data == made.picture()
    assert items[0].cluster == "ADE20K/0.jpg"
    assert items[3].cluster != items[4].cluster


@pytest.mark.parametrize("head", ["Index", "lndex"])
def test_mmvp_joins_its_table_with_its_pictures_by_an_index_from_1(tmp_path: Path, head: str) -> None:
    made.mmvp(tmp_path, head=head)
    loaded = load(registry.benchmark("mmvp"), tmp_path)
    items = loaded.items
    assert [item.id for item in items] == ["1", "2", "3", "4"]
    assert [item.cluster for item in items] == ["pair-1", "pair-1", "pair-2", "pair-2"]
    assert [item.truth for item in items] == ["A", "B", "A", "B"]
    assert items[0].options == ("red", "blue")
    assert loaded.data(items[1].media[0]) == made.picture("blue")


@pytest.mark.parametrize("index", ["0", "-1", "one", "²"])
def test_an_index_that_is_none_is_named(tmp_path: Path, index: str) -> None:
    row = {"Index": index, "Question": "?", "Options": "(a) x (b) y", "Correct Answer": "(a)"}
    made.table(tmp_path / "Questions.csv", [row])
    with pytest.raises(SchemaError, match=r"Questions\.csv, row 1: the field `Index`"):
        read("mmvp", tmp_path)


@pytest.mark.parametrize(
    ("question", "stem", "options"),
    [
        (
            "Which mood is it?\nOptions: A: happy, B: sad, C: angry, D: calm",
            "Which mood is it?",
            ("happy", "sad", "angry", "calm"),
        ),
        ("Which one? (A) a cat (B) a dog (C) a cow (D) a pig", "Which one?", ("a cat", "a dog", "a cow", "a pig")),
        ("Which one?\nChoices:\n(A) 1\n(B) 2\n(C) 3\n(D) 4", "Which one?", ("1", "2", "3", "4")),
        ("How many?\nA. one\nB. two\nC. three\nD. four", "How many?", ("one", "two", "three", "four")),
        ("Is it?\nOptions: A: yes, B: no, C: nan, D: nan", "Is it?", ("yes", "no")),
        (
            "What holds?\nOptions: A: a, b and c, B: d, C: e. f, D: g",
            "What holds?",
            ("a, b and c", "d", "e. f", "g"),
        ),
        (
            "See (B) in the figure. Which? (A) x (B) y (C) z (D) w",
            "See (B) in the figure. Which?",
            ("x", "y", "z", "w"),
        ),
    ],
)
def test_mmstar_finds_options_in_the_question_in_its_styles(
    tmp_path: Path, question: str, stem: str, options: tuple[str, ...]
) -> None:
    mmstar(tmp_path, (question, "B"))
    (item,) = read("mmstar", tmp_path)
    assert (item.question, item.options, item.truth) == (stem, options, "B")


def test_mmstar_leaves_whole_what_cannot_be_split(tmp_path: Path) -> None:
    mmstar(tmp_path, ("Which of the four panels, upper left to lower right?", "C"))
    (item,) = read("mmstar", tmp_path)
    assert item.question == "Which of the four panels, upper left to lower right?"
    assert item.options == ("A", "B", "C", "D")
    assert item.note["options"] == "in the question"


def test_mmstar_v_is_its_visual_categories(tmp_path: Path) -> None:
    mmstar(tmp_path / "a", ("Which? (A) x (B) y", "A"))
    mmstar(tmp_path / "b", ("Which? (A) x (B) y", "A"), category="math")
    assert len(read("mmstar-v", tmp_path / "a")) == 1
    assert len(read("mmstar", tmp_path / "b")) == 1
    with pytest.raises(UserError, match="no items"):
        read("mmstar-v", tmp_path / "b")


@pytest.mark.parametrize("field", ["Question Type", "Question type"])
def test_mme_realworld_takes_e_for_a_truth_and_both_spellings_of_its_type(tmp_path: Path, field: str) -> None:
    made.mme(tmp_path, type_field=field)
    items = read("mme-realworld", tmp_path)
    assert len(items) == 6
    assert items[1].truth == "E"
    assert items[1].options[4] == "This image doesn't feature the color."
    assert items[0].media == (Media(path="0.png"),)
    assert [item.category for item in read("mme-rw-v", tmp_path)] == [
        "perception/RS",
        "perception/MO",
        "perception/AD",
        "reasoning/MO",
        "reasoning/AD",
    ]


def test_mme_realworld_reads_the_copy_with_base64(tmp_path: Path) -> None:
    made.mme_harness(tmp_path)
    (item,) = read("mme-realworld-lite", tmp_path)
    assert item.media[0].data == made.picture(size=(300, 200))
    assert (item.category, item.truth, item.options[0]) == ("reasoning/MO", "E", "Red")


def test_realworldqa_has_letters_short_texts_and_numbers(tmp_path: Path) -> None:
    hint = "Please answer directly with only the letter of the correct option and nothing else."
    rows = [
        {"image": made.inside(), "question": f"Where is it?\nA. Left\nB. Right\nC. Ahead\n{hint}", "answer": "C"},
        {
            "image": made.inside(),
            "question": "How many lanes?\nPlease answer directly with a single word or number.",
            "answer": "3",
        },
        {"image": made.inside(), "question": "Is it open?", "answer": "Yes"},
    ]
    made.parquet(tmp_path / "data" / "test-0.parquet", rows)
    closed, number, word = read("realworldqa", tmp_path)
    assert (closed.question, closed.options, closed.truth) == ("Where is it?", ("Left", "Right", "Ahead"), "C")
    assert (number.question, number.options, number.accepted) == ("How many lanes?", (), ("3",))
    assert (word.category, word.accepted) == ("open", ("Yes",))


def test_mmlu_pro_has_ten_options_and_no_picture(tmp_path: Path) -> None:
    made.mmlu(tmp_path)
    (item,) = read("mmlu-pro", tmp_path)
    assert (len(item.options), item.truth, item.media, item.category) == (10, "J", (), "math")
    made.mmlu(tmp_path, answer_index=3)
    with pytest.raises(SchemaError, match="row 1: the field `answer_index`"):
        read("mmlu-pro", tmp_path)


def test_mmau_finds_the_letter_of_a_truth_in_words_in_choices_within_a_string(tmp_path: Path) -> None:
    made.mmau(tmp_path)
    first, second = read("mmau", tmp_path)
    assert first.options == ("A dog barking", "A cat", "A dog and a cat", "Silence")
    assert (first.truth, second.truth) == ("B", "A")
    assert (first.media[0].kind, first.media[0].data) == ("audio", made.sound())
    assert first.category == "sound/Event"


@pytest.mark.parametrize("packed", [False, True])
def test_nieh_shows_the_pictures_of_the_evidence_in_the_order_of_their_names(tmp_path: Path, packed: bool) -> None:
    made.nieh(tmp_path, packed=packed)
    loaded = load(registry.benchmark("nieh"), tmp_path)
    single, multi = loaded.items
    assert single.accepted == ("SideTable", "desk")
    assert [loaded.data(media) for media in single.media] == [made.picture("green")]
    assert [loaded.data(media) for media in multi.media] == [made.picture("red"), made.picture("blue")]
    assert (single.category, multi.category) == ("single", "multi")
    assert single.cluster == multi.cluster == "t1"


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("text", "text"),
        ("label", "label"),
        ("image", "image"),
        ("category", "category"),
        ("question_id", "question_id"),
    ],
)
def test_a_missing_field_is_named_with_its_row(tmp_path: Path, name: str, field: str) -> None:
    rows = [made.VSTAR, {key: value for key, value in made.VSTAR.items() if key != name} | {"other": 1}]
    made.file(tmp_path / "test_questions.jsonl", "\n".join(map(json.dumps, rows)).encode())
    with pytest.raises(
        SchemaError, match=rf"test_questions\.jsonl, row 2: the field `{field}` is missing. It has "
    ):
        read("vstar", tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("label", "E"), ("label", ""), ("text", "no options"), ("image", None), ("category", ["x"])],
)
def test_a_field_of_another_kind_is_named(tmp_path: Path, field: str, value: object) -> None:
    made.file(tmp_path / "test_questions.jsonl", json.dumps(made.VSTAR | {field: value}).encode())
    with pytest.raises(SchemaError, match=f"row 1: the field `{field}`"):
        read("vstar", tmp_path)


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"[1]"])
def test_a_damaged_file_is_named(tmp_path: Path, data: bytes) -> None:
    made.file(tmp_path / "test_questions.jsonl", data)
    with pytest.raises(SchemaError, match=r"test_questions\.jsonl"):
        read("vstar", tmp_path)


def test_an_empty_folder_says_which_files_are_wanted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds none of .*Questions\.csv"):
        read("mmvp", tmp_path)


def test_two_items_of_one_id_are_refused(tmp_path: Path) -> None:
    made.file(tmp_path / "test_questions.jsonl", "\n".join([json.dumps(made.VSTAR)] * 2).encode())
    with pytest.raises(UserError, match="two items are called direct_attributes/0"):
        read("vstar", tmp_path)


def test_a_limit_takes_whole_clusters_and_the_same_ones_each_time(tmp_path: Path) -> None:
    made.mmvp(tmp_path, pairs=10)
    items = read("mmvp", tmp_path)
    some = drawn(items, 5)
    assert set(Counter(item.cluster for item in some).values()) == {2}
    assert len(some) == 6
    assert some == drawn(items, 5)
    assert {item.id for item in some} <= {item.id for item in drawn(items, 9)}
    assert fingerprint(some) != fingerprint(items) == fingerprint(items[::-1])


def test_many_bytes_are_laid_on_a_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpt.evaluate.load._IN_MEMORY", 1)
    made.cvbench(tmp_path / "data")
    loaded = load(registry.benchmark("cvbench"), tmp_path / "data", shelf=tmp_path / "shelf")
    assert all(item.media[0].data is None for item in loaded.items)
    assert loaded.data(loaded.items[0].media[0]) == made.picture()
    assert len(list((tmp_path / "shelf").iterdir())) == 1  # one picture, many items


def test_every_benchmark_has_its_primary_metric_and_is_found_by_name() -> None:
    for name in registry.names():
        found = registry.benchmark(name)
        assert found.name == name
        assert found.metric(found.primary.name) == found.primary
        assert found.hub or found.make
        assert found.licence


def test_a_wrong_name_gets_the_nearest_right_one() -> None:
    with pytest.raises(UserError, match="did you mean vstar"):
        registry.benchmarks("mmvp,vstarr")
    with pytest.raises(UserError, match="no benchmark is named"):
        registry.benchmarks(" , ")
    assert [one.name for one in registry.benchmarks("vstar,paper")][:2] == ["vstar", "cvbench"]


def test_a_benchmark_of_ones_own_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from lpt.evaluate.benchmark import Benchmark\n"
        "from lpt.evaluate.items import Item\n"
        "from lpt.evaluate.metrics import MICRO\n"
        "def read(folder):\n"
        "    yield Item(id='1', question='?', truth=('x',), category='all')\n"
        "MINE = Benchmark(name='mine', title='Mine', read=read, metrics=(MICRO,))\n"
        "OTHER = 3\n"
    )
    assert isinstance(load(registry.benchmark(f"{tmp_path}/mine.py:MINE")), Loaded)
    with pytest.raises(UserError, match="not a lpt"):
        registry.benchmark(f"{tmp_path}/mine.py:OTHER")
