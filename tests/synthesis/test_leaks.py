"""The leak filters find whole phrases of readers, and let people speak who look."""

from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpt.synthesis.leaks import STOPS, betrayed_at, caption_phrases, prompt_phrases

READS = """
Wait, the description says that the cap is orange.
Looking back, according to the description the roof is red.
The shoes are described as orange with green laces.
As described, two boats lie in the harbour.
As described in the scene, the light falls from behind.
This is exactly what is described earlier.
The long thin leaves described fit option B.
The lamp isn't described as broken.
The caption tells us that it is night.
In the caption, a dog sleeps on the mat.
Hmm, the image caption lists three birds.
As mentioned, there are four arms.
As was mentioned earlier, the bench is wet.
It is mentioned that the door is open.
The colour of the car is not mentioned.
There is no mention of a second cat.
The text says the frog is brown.
The text states that the fence is made of wood.
According to the text, the tower is old.
Based on the given text, I would say three.
Wait, the image details provided show a bridge.
Let me re-read the image details.
The image's details are clear about the hat.
The details given make it certain.
From the provided details, the ball is under the chair.
It's stated that the woman holds a cup.
It is explicitly stated to be blue.
Unless stated otherwise, it is daytime.
Upon re-reading, the plate is on the shelf.
Let me reread the passage again, reading the passage slowly.
The image describes the iris as blue.
The picture actually describes two arms.
The scene mentions a bicycle.
Wait, the image specifically notes a metal edging.
The image doesn't specify the colour.
It doesn't mention any flowers.
The colour is noted as dark grey.
That is specified as a wooden table.
Per the given information, there are six.
Based on the information provided, it must be A.
The detailed image tells of a lake.
I was told that it is a market.
The first sentence speaks of a hill.
The textual description has a child in it.
The initial description had a boat.
I cannot see the image, but it must be red.
THE CAPTION SAYS IT IS GREEN.
The description's second part is about a train.
It says in the paragraph that he smiles.
I don't have access to the image.
In the described scenario, the cup falls.
The written description leaves no doubt.
From the description, the sign is round.
The original caption has a typo.
""".strip().splitlines()

LOOKS = """
The texture of the wall is rough.
In this context, the hat is a uniform.
The estate behind the hedge is large.
The statement on the sign is short.
The texts on the sign are reading from left to right.
The text on the sign says that the shop is closed.
The text printed along the edge reads OPEN.
I read the text at the top of the poster.
The text reads "STOP" in white letters.
The text says "PAN" in black paint.
The instructions on the box show two arrows.
Option B describes a red ball, which I do not see.
Option (A) mentions a metal edging.
The colours mentioned in the options are too bright.
Most of what is mentioned in option C is missing here.
The most accurate description is option D.
The correct description of the pattern is a stripe.
This matches the description in option D.
That fits the description of option A.
The water is best described as calm.
The colour can be described as teal.
It could be better described as a mural.
Such a bird is often described as a heron.
The ripples are too small to be described as waves.
According to the image, two birds sit on the wire.
The image shows a stately house.
The United States flag hangs from the pole.
The state of the road is poor.
A statue stands in the middle.
The detail on the vase is fine.
I look at the details of the face.
The details are not very sharp in this light.
The visible details suggest wool.
A detailed carving covers the door.
Given these observations, the answer is B.
Based on the options provided, FUN is the likeliest.
The visual information provided by the picture is enough.
I noted two lamps before, and there is a third.
As I mentioned, the left one is taller.
It is important to note that the shadow is long.
Note the small sign near the gate.
The notes on the music stand are white.
A captivating view over the valley.
The captain of the ship wears a cap.
A pretext, a subtext, contextual hints: none of it matters.
The caption under the photograph on the wall is blurred.
The price is stated on the label.
The weight is noted on the bag.
The text in the logo is slanted.
He seems to say something to her.
The sign states that parking is free.
The poster specifies a date in May.
A prescription bottle stands by the sink.
The inscription on the stone is worn.
She mentions nothing; her mouth is closed.
The reader of the newspaper sits on the left.
The scene is lit from the left side.
The image is dark, so I look again.
The front page of the newspaper is visible.
""".strip().splitlines()

PROMPTED = """
The user wants the letter only.
Perhaps the user miscounted.
As the user's question says, it is a boat.
The instructions say that I must not tell.
I'm supposed to answer with a letter.
I am supposed to imagine it.
We are instructed to choose one.
In my mental image the ball is red.
Let me visualize the scene again.
I need to visualise it once more.
Let me try to visualize it.
I should not mention the words.
Without directly referencing the source, it is blue.
The prompt asks for a colour.
As instructed, I choose one option.
The system prompt is clear.
In my mind's eye the road bends.
As an AI, I count three.
The ground truth must be C.
It asks me to count the birds.
""".strip().splitlines()

SPOKEN = """
The question asks which ball is larger.
The user interface on the screen is blue.
The user of the wheelchair waves.
The instructions on the machine are in red.
The instruction manual lies on the table.
A chart that visualizes rainfall hangs there.
The data visualization on the screen is colourful.
She reacts promptly to the ball.
The guide points at the map.
The mental strain shows on his face.
The musician plays an instrument.
The supposed entrance is bricked up.
A mirror image of the tree lies on the water.
I imagine that it is cold there.
The ground is wet, and true to the season brown.
""".strip().splitlines()


def found(texts: list[str], finder: Callable[[pl.Series], pl.Series]) -> list[str | None]:
    return finder(pl.Series("text", texts, dtype=pl.String)).to_list()


@pytest.mark.parametrize("text", READS)
def test_a_text_that_was_read_betrays_itself(text: str) -> None:
    assert found([text], caption_phrases) != [None]


@pytest.mark.parametrize("text", LOOKS)
def test_words_of_someone_who_looks_stay(text: str) -> None:
    assert found([text], caption_phrases) == [None]


@pytest.mark.parametrize("text", PROMPTED)
def test_a_prompt_betrays_itself(text: str) -> None:
    assert found([text], prompt_phrases) != [None]


@pytest.mark.parametrize("text", [*SPOKEN, *LOOKS])
def test_words_of_someone_who_was_asked_stay(text: str) -> None:
    assert found([text], prompt_phrases) == [None]


def test_the_phrase_is_told_for_each_text_in_its_place() -> None:
    texts = ["Two birds.", "It is Described as old.", "", "As\nmentioned, three."]
    assert found(texts, caption_phrases) == [None, "Described", None, "As\nmentioned"]


def test_a_harmless_phrase_does_not_hide_a_leak_beside_it() -> None:
    text = "The colour can be described as teal. The hat is described as red."
    assert found([text], caption_phrases) == ["described"]


def test_there_may_be_no_texts() -> None:
    assert found([], caption_phrases) == []


def both(text: str) -> None:
    (phrase,) = caption_phrases(pl.Series([text])).to_list()
    at = betrayed_at(text)
    assert (phrase is None) == (at is None)
    if at is not None:
        assert text[at:].startswith(phrase)


@pytest.mark.parametrize("line", READS + LOOKS)
def test_one_text_is_read_as_a_table_is(line: str) -> None:
    both(line)
    both(f"I look at the sign. {line} So it is.\n{line}")


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*" ".join(READS + LOOKS).split(), *READS, "\n", "¤"]), max_size=12))
def test_whatever_the_words_the_first_betrayal_is_the_same(words: list[str]) -> None:
    both(" ".join(words))


@pytest.mark.parametrize("stop", STOPS)
def test_where_a_server_may_stop_there_is_mostly_a_betrayal(stop: str) -> None:
    assert any(stop in line and betrayed_at(line) is not None for line in READS), stop
