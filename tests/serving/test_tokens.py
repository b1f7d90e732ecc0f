import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.serving import tokens


@given(st.text())
def test_pieces_join_to_the_text(text):
    assert "".join(tokens.pieces(text)) == text
    assert all(tokens.pieces(text))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The red square", ["The", " red", " square"]),
        ("Wait,  no.\n\nA", ["Wait", ",", " ", " no", ".", "\n\n", "A"]),
        ("3141 or so", ["314", "1", " or", " so"]),
        ("hi.<|im_end|>\n", ["hi", ".", "<|im_end|>", "\n"]),
        ("a<\uff5cUser\uff5c>b", ["a", "<\uff5cUser\uff5c>", "b"]),
    ],
)
def test_pieces_are_words_numbers_marks_and_special_tokens(text, pieces):
    assert tokens.pieces(text) == pieces


def test_english_has_about_as_many_pieces_as_a_real_tokenizer_makes():
    text = "The student looks at the picture that it was sent and counts the small red circles twice."
    assert 3.5 < len(text) / tokens.count(text) < 5.5
