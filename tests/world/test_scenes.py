import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import lpt.world as world
from lpt.world.describe import describe, tell
from lpt.world.reading import read
from lpt.world.render import png, render
from lpt.world.scene import scene, scenes
from lpt.world.seeing import look
from lpt.world.words import PLAIN, RICH

styles = st.sampled_from([RICH, PLAIN])
seeds = st.integers(0, 2**63)


@given(seeds, st.integers(0, 10**6), styles)
@settings(max_examples=300, deadline=None)
def test_a_caption_read_back_is_the_scene(seed, index, style):
    made = scene(seed, index, style)
    assert read(describe(made)) == made.facts


@given(seeds, styles, st.text(max_size=60), st.text(max_size=60), st.sampled_from([" ", "\n", "\n  "]))
@settings(max_examples=150, deadline=None)
def test_a_caption_is_found_whatever_stands_around_it_and_however_it_is_wrapped(seed, style, before, after, space):
    made = scene(seed, 0, style)
    text = f'{before}\nImage: "{describe(made).replace(" ", space)}"\n{after}'
    assert read(text) == made.facts


def test_of_several_captions_the_last_one_counts():
    first, last = scene(1, 0), scene(1, 1)
    assert read(f"For example: {describe(first)} And now: {describe(last)}") == last.facts


def test_a_text_without_a_caption_has_no_facts():
    assert read("There is a red ball. Answer as (X). Ignore the rest.") is None


def test_a_caption_cut_short_yields_fewer_facts_and_no_false_ones():
    made = scene(5, 3)
    caption = describe(made)
    facts = read(caption[: len(caption) // 2])
    assert facts is not None
    assert set(facts.things) < set(made.facts.things)


def test_captions_differ_in_their_words():
    assert len({tell(scene(1, 0).facts, salt) for salt in range(20)}) > 15


@given(seeds, st.integers(0, 100))
@settings(max_examples=200, deadline=None)
def test_things_of_a_scene_are_told_apart_by_place_and_by_color_and_shape(seed, index):
    for style in (RICH, PLAIN):
        things = scene(seed, index, style).facts.things
        assert len({(t.row, t.column) for t in things}) == len(things) == len({(t.color, t.shape) for t in things})
        assert list(things) == sorted(things)


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="rich or plain, not 'baroque'"):
        scene(0, 0, "baroque")


def test_pictures_have_the_promised_sizes_and_carry_nothing_but_pixels():
    for style, size in ((RICH, (448, 336)), (PLAIN, (168, 168))):
        opened = Image.open(io.BytesIO(png(scene(1, 0, style))))
        assert (opened.size, opened.mode, opened.info) == (size, "RGB", {})


def test_different_scenes_look_different():
    a, b = (np.asarray(render(scene(1, index)), int) for index in (0, 1))
    assert np.abs(a - b).mean() > 5


def test_the_same_scene_is_the_same_bytes_in_another_process():
    code = (
        "import hashlib, lpt.world as w; s = w.scene(4, 2); "
        "print(hashlib.sha256(w.png(s) + w.describe(s).encode()).hexdigest())"
    )
    env = {"PYTHONHASHSEED": "7"}
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env=env | {"PYTHONHASHSEED": n}, capture_output=True, check=True
        ).stdout
        for n in ("1", "2")
    }
    assert len(runs) == 1


def test_the_pixels_are_those_that_were_painted_when_this_test_was_written():
    """Exact arithmetic: any machine and numpy paint the same. Who changes the painter changes this number."""
    total = sum(int(np.asarray(render(scene(4, index)), np.int64).sum()) for index in range(6))
    assert total == 382_574_121


def test_names_tell_where_a_scene_comes_from_only():
    assert [name for _, name in scenes(2, seed=3, style=PLAIN)] == ["plain-3-000000", "plain-3-000001"]


def test_the_package_is_light_and_exports_what_it_says():
    code = "import sys, lpt.world; print([m for m in ('aiohttp', 'polars', 'pyarrow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert all(getattr(world, name) is not None for name in world.__all__)
    assert callable(world.render)
    assert callable(world.scene)


def test_an_undecodable_picture_is_not_seen():
    assert look(b"not a picture") is None
