"""Ids come from content alone; choices come from (seed, record, purpose) alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.models.base import seed_of
from lpt.records import Drop, digest, draw, split_of
from tests.scripted import caption, question, thought

parts = st.lists(st.one_of(st.text(), st.none(), st.binary()), max_size=4)


@given(parts, parts)
def test_only_the_same_parts_have_the_same_digest(one: list[object], other: list[object]) -> None:
    def content(part: object) -> bytes | None:
        return part.encode("utf-8", "replace") if isinstance(part, str) else part  # type: ignore[return-value]

    same = [content(part) for part in one] == [content(part) for part in other]
    assert (digest(*one) == digest(*other)) == same


@given(st.text(), st.text(min_size=1), st.text())
def test_moving_words_from_one_part_to_the_next_changes_the_digest(a: str, b: str, c: str) -> None:
    assert digest(a + b, c) != digest(a, b + c)


@pytest.mark.parametrize(
    ("one", "other"),
    [((None,), ("",)), ((None,), ("-",)), ((), ("",)), (("a", None), ("a",)), (("1:a",), ("a",)), (("",), ("0:",))],
)
def test_nothing_an_empty_part_and_no_part_differ(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert digest(*one) != digest(*other)


def test_ids_are_the_same_on_every_machine_and_in_every_version() -> None:
    # These stand in ledgers and tables that exist: changing them makes everybody pay again.
    assert digest("caption", "image", "text") == "37f385a72476876c52c93080cc4684e7"
    assert seed_of(0, "record", "think") == 1898007755
    assert draw(0, "record", "split") == 0.034119538982514186


@given(st.integers(), st.text(), st.text())
def test_a_draw_is_in_zero_one_and_always_the_same(seed: int, record: str, purpose: str) -> None:
    drawn = draw(seed, record, purpose)
    assert 0 <= drawn < 1
    assert drawn == draw(seed, record, purpose)


def test_draws_spread_evenly_and_each_purpose_has_its_own() -> None:
    drawn = [draw(0, str(i), "a") for i in range(4000)]
    counts = [sum(tenth / 10 <= d < (tenth + 1) / 10 for d in drawn) for tenth in range(10)]
    assert min(counts) > 330
    assert max(counts) < 470
    other = [draw(0, str(i), "b") for i in range(4000)]
    agree = sum((a < 0.5) == (b < 0.5) for a, b in zip(drawn, other, strict=True))
    assert 1850 < agree < 2150


@given(st.integers(0, 2**40), st.text(), st.text(), st.integers(1, 64))
def test_seeds_fit_31_bits(seed: int, parent: str, stage: str, n: int) -> None:
    assert 0 <= seed_of(seed, parent, stage) < 2**31


def test_the_split_is_by_image_and_its_share_is_kept() -> None:
    images = [digest(i) for i in range(4000)]
    held = {image for image in images if split_of(image, 0, 0.05) == "validation"}
    assert 150 < len(held) < 250
    assert all(split_of(image, 0, 0.1) == "validation" for image in held), "a larger share holds the smaller"
    assert {image for image in images if split_of(image, 1, 0.05) == "validation"} != held
    assert all(split_of(image, 0, 0.0) == "train" for image in images)
    assert all(split_of(image, 0, 1.0) == "validation" for image in images)


def test_a_caption_is_known_by_its_image_and_words_and_by_nothing_else() -> None:
    from lpt.records import Caption

    def made(**more: object) -> Caption:
        base = {
            "image": "i",
            "path": "p",
            "text": "t",
            "source": "s",
            "source_id": "1",
            "seed": 0,
            "validation": 0.5,
        }
        return Caption.make(**{**base, **more})  # type: ignore[arg-type]

    assert made(image="j").id != made().id
    assert made(text="u").id != made().id
    for same in ({"path": "q"}, {"source": "z"}, {"source_id": "2"}, {"seed": 9}, {"validation": 1.0}):
        assert made(**same).id == made().id


def test_drops_of_one_parent_are_told_apart_by_their_index() -> None:
    ids = [Drop.make("think", "r", "i", "call-failed", "timeout", index=index).id for index in range(3)]
    assert len(set(ids)) == 3
    assert Drop.make("think", "r", "i", "unparsed").id != Drop.make("ask", "r", "i", "unparsed").id


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        caption().text = "other"  # type: ignore[misc]


def test_a_question_knows_its_right_option() -> None:
    asked = question(options=("red", "blue", "green", "white"), answer="C")
    assert asked.letters == {"A": "red", "B": "blue", "C": "green", "D": "white"}
    assert asked.answer_text == "green"
    assert thought().question == asked.id
