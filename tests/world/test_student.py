import io
from collections.abc import Callable

import pytest
from msgspec.structs import replace
from PIL import Image

from lpt.serving.protocol import Ask, Turn
from lpt.world import tokens
from lpt.world.dials import Dials
from lpt.world.render import png
from lpt.world.scene import scene
from lpt.world.seeing import believe, look
from lpt.world.student import Student
from lpt.world.words import draw
from tests.world.helpers import WORLD, cases, chosen, image, put, student_ask

SCENES = 40


def accuracy(
    picture: Callable[[int], tuple[bytes, ...]],
    temperature: float = 0.7,
    samples: int = 2,
    style: str = "rich",
    student: Student | None = None,
) -> float:
    right = asked = 0
    student = student or Student()
    for index, _, question in cases(SCENES, style):
        for seed in range(samples):
            text = student(student_ask(question, picture(index), temperature), seed).text
            option = chosen(text, question.options)
            asked += option is not None
            right += option == question.answer
    return right / asked


def test_it_sees_enough_to_be_right_and_too_little_to_be_always_right():
    assert 0.45 < accuracy(lambda index: (image(index),)) < 0.70


def test_with_the_picture_of_another_scene_it_is_at_chance():
    assert 0.18 < accuracy(lambda index: (image((index + 1) % SCENES),)) < 0.34


def test_without_a_picture_it_guesses():
    assert 0.18 < accuracy(lambda index: ()) < 0.33


def test_greedy_is_no_worse_than_sampling_and_the_seed_does_not_matter():
    student = Student()
    for index, _, question in cases(4):
        ask = student_ask(question, (image(index),), temperature=0)
        assert student(ask, 1) == student(ask, 2)
    assert accuracy(lambda index: (image(index),), temperature=0, samples=1) > 0.45


def test_plain_scenes_are_easier():
    assert accuracy(lambda index: (image(index, "plain"),), style="plain") > 0.7


def test_many_questions_get_both_right_and_wrong_thoughts():
    student, mixed, total = Student(Dials(unparsed=0)), 0, 0
    for index, _, question in cases(20):
        ask = student_ask(question, (image(index),))
        right = {chosen(student(ask, seed).text, question.options) == question.answer for seed in range(3)}
        mixed += len(right) == 2
        total += 1
    assert 0.2 < mixed / total < 0.7


def test_it_sees_the_same_after_jpeg_and_resizing():
    opened = Image.open(io.BytesIO(image(0)))
    out = io.BytesIO()
    opened.resize((512, 384)).save(out, "JPEG", quality=85)
    one, two = look(image(0)), look(out.getvalue())
    assert one is not None
    assert two is not None
    best = [(cell, int(spot.form.argmax())) for cell, spot in one.sharp.items() if spot.form.max() > 0.6]
    assert sum(int(two.sharp[cell].form.argmax()) == form for cell, form in best) >= 0.7 * len(best)


def test_its_errors_depend_on_the_picture_what_is_hidden_is_seen_once_nothing_hides_it():
    seen = {"hidden": 0, "free": 0}
    for index in range(SCENES):
        made = scene(WORLD, index)
        pairs = [(front, behind) for front in made.facts.things if (behind := made.facts.hidden_by(front))]
        for front, behind in pairs[:1]:
            kept = [number for number, thing in enumerate(made.facts.things) if thing != front]
            cleared = replace(
                made,
                facts=replace(made.facts, things=tuple(made.facts.things[number] for number in kept)),
                offsets=tuple(made.offsets[number] for number in kept),
            )
            for name, picture in (("hidden", image(index)), ("free", png(cleared))):
                glance = look(picture)
                assert glance is not None
                for seed in range(8):
                    things = believe(glance, draw(seed), 0.7).things
                    seen[name] += any(
                        (t.row, t.column, t.color, t.shape)
                        == (behind.row, behind.column, behind.color, behind.shape)
                        for t in things
                    )
    assert seen["hidden"] < 0.85 * seen["free"], seen


@pytest.mark.parametrize(
    ("wish", "pattern"),
    [
        ("Answer as (X), where X is a letter.", r"\([A-D]\)"),
        ("Answer as X., where X is a letter.", r"[A-D]\."),
        ("Answer with the full text of the option.", r"[A-Z].*[a-z].*"),
    ],
)
def test_it_answers_in_the_format_asked_for(wish, pattern):
    import re

    student = Student(Dials(stray_format=0, unparsed=0))
    for index, _, question in cases(3):
        for body in (put(question), put(question).replace("(", "").replace(")", ".")):
            ask = Ask("m", (Turn("user", f"{wish}\n{body}", (image(index),)),))
            found = re.search(r"<answer> (.*?)(?: </answer>|$)", student(ask, 0).text)
            assert found
            assert re.fullmatch(pattern, found[1]) or found[1].isupper(), found[1]


def test_it_continues_a_prefill_and_never_repeats_it():
    _, _, question = next(cases(1))
    said = Student(Dials(unparsed=0))(student_ask(question, (image(0),), prefill="<think>\n"), 3)
    assert "<think>" not in said.text
    assert said.text[0] not in " \n"
    assert "</think> <answer>" in said.text


def test_unparsed_replies_come_as_often_as_dialled():
    _, _, question = next(cases(1))
    ask = student_ask(question, (image(0),))
    always, never = Student(Dials(unparsed=1)), Student(Dials(unparsed=0))
    assert all(chosen(always(ask, seed).text, question.options) is None for seed in range(40))
    assert all(chosen(never(ask, seed).text, question.options) for seed in range(40))


def test_limits_of_the_request_are_honoured():
    _, _, question = next(cases(1))
    student = Student()
    short = student(student_ask(question, (image(0),), max_tokens=12), 1)
    assert (tokens.count(short.text), short.finish_reason) == (12, "length")
    stopped = student(student_ask(question, (image(0),), stop=("</think>",)), 1)
    assert "</think>" not in stopped.text
    assert stopped.finish_reason == "stop"
    clean = student(student_ask(question, (image(0),), bad_words=("I", "the")), 1).text
    assert " I " not in clean
    assert " the " not in clean


def test_a_conversation_without_options_does_not_break_it():
    assert Student()(Ask("m", (Turn("user", "Hello?"),)), 0).text
