"""A recipe says what it wants and where it is wrong; what is printed loads as the same recipe."""

import datetime as dt
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpt.errors import RecipeError
from lpt.recipe import Recipe
from lpt.settings import (
    AskSettings,
    CaptionSettings,
    CurateSettings,
    ModelSettings,
    Price,
    RunSettings,
    ThinkHarderSettings,
    ThinkSettings,
)

RECIPES = Path(__file__).parents[1] / "recipes"
WHOLE = """\
seed = 7
[captions]
source = "scenes"
[models.asker]
launch = "lpt sim --port {port}"
model = "asker"
[models.student]
url = "http://127.0.0.1:8000/v1"
model = "student"
[ask]
model = "asker"
[think]
model = "student"
samples = 3
[think_harder]
model = "asker"
"""

# Everything that a TOML string can hold: controls, DEL, quotes, backslashes, other scripts; no lone surrogates.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\x7f", '"""', "'''", "\\", "\r\n", "\u2028", "# no comment", "[no.table]", "a = 1", "\x00", "é", "{port}"]
)
names = words | st.sampled_from(["gpt-4.1", "Qwen2.5-VL", "a b", "", "ä", "x=y", "]"])
floats = st.sampled_from([1e-07, 1e22, 0.1, 5e-324, 1.7976931348623157e308, 3.0])
values: st.SearchStrategy[Any] = st.recursive(
    words | st.booleans() | st.integers(-(2**63), 2**63 - 1) | floats | st.just(math.inf),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
extras = st.dictionaries(names, values, max_size=3)
shares = st.floats(0, 1)
positive = st.integers(1, 2**40)
sampled: dict[str, Any] = {
    "temperature": st.floats(0, 5),
    "top_p": shares,
    "top_k": st.integers(0, 100),
    "repetition_penalty": st.floats(0, allow_infinity=True),
    "max_tokens": positive,
    "extra": extras,
}
models = st.builds(
    ModelSettings,
    model=words,
    url=st.none() | words | st.lists(words, max_size=3).map(tuple),
    launch=st.none() | words,
    launch_timeout=st.just(math.inf) | st.floats(1e-7, 1e9),
    version=words,
    headers=st.dictionaries(names, words, max_size=2),
    prefill=st.sampled_from(["auto", "continue", "instructed"]),
    sampling_seed=st.booleans(),
    price=st.builds(Price, input=floats, cached=st.none() | floats),
    extra=extras,
)
recipes = st.builds(
    Recipe,
    seed=st.integers(-(2**63), 2**63 - 1),
    ledger=st.none() | words,
    captions=st.builds(CaptionSettings, source=words, path=st.none() | words, count=st.none() | positive),
    models=st.dictionaries(names, models, max_size=3),
    ask=st.none() | st.builds(AskSettings, model=words, **sampled, prompt=st.none() | words),
    think=st.none()
    | st.builds(
        ThinkSettings,
        model=words,
        **sampled,
        formats=st.lists(st.sampled_from(["(X)", "X.", "text"]), min_size=1, max_size=4).map(tuple),
    ),
    think_harder=st.none()
    | st.builds(
        ThinkHarderSettings,
        model=words,
        **sampled,
        cues=st.lists(words, min_size=1, max_size=4).map(tuple),
        joints=st.lists(words, min_size=1, max_size=2).map(tuple),
        bad_words=st.lists(words, max_size=2).map(tuple),
    ),
    curate=st.builds(CurateSettings, filters=st.none() | st.lists(words, max_size=3).map(tuple), validation=shares),
    run=st.builds(RunSettings, images_in_flight=positive),
)


@given(recipes)
def test_what_is_printed_loads_as_the_same_recipe(recipe: Recipe) -> None:
    printed = recipe.toml()
    again = Recipe.parse(printed)
    assert again == recipe
    assert again.toml() == printed


def test_what_is_printed_spells_every_setting_out() -> None:
    printed = Recipe.parse(WHOLE).toml()
    for expected in ("repetition_penalty = 1.05", "[curate]", "images_in_flight = 64", 'cues = ["Wait,", "Hmm,"'):
        assert expected in printed
    assert "null" not in printed
    assert "None" not in printed


def refused(text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(text, name="my.toml", overrides=overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", "my.toml, line 1: there is no setting `sed`; did you mean `seed`?"),
        (
            'seed = 1\n[think]\nmodel = "a"\nsampels = 3',
            "my.toml, line 4: there is no setting `think.sampels`; did you mean `samples`?",
        ),
        ("\n[thinking]\nx = 1", "my.toml, line 2: there is no setting `thinking`; did you mean `think`?"),
        (
            '[models.asker]\nmodel = "m"\nulr = "x"',
            "my.toml, line 3: there is no setting `models.asker.ulr`; did you mean `url`?",
        ),
        (
            '[models."gpt-4.1"]\nmodel = "m"\nulr = "x"',
            "my.toml, line 3: there is no setting `models.gpt-4.1.ulr`; did you mean `url`?",
        ),
        (
            '[models.a]\nmodel = "m"\nprice = { inptu = 3 }',
            "my.toml, line 3: there is no setting `models.a.price.inptu`; did you mean `input`?",
        ),
        ("think.sampels = 3", "my.toml, line 1: there is no setting `think.sampels`; did you mean `samples`?"),
        (
            "[run]\nzzz = 1",
            "my.toml, line 2: there is no setting `run.zzz`; there are: images_in_flight, schedule, round",
        ),
        ('[think]\nmodel = "a"\n\nsamples = "3"', "my.toml, line 4: `think.samples`: expected `int`, got `str`"),
        ('[think]\nmodel = "a"\nsamples = true', "my.toml, line 3: `think.samples`: expected `int`, got `bool`"),
        ('[think]\nmodel = "a"\nsamples = 0', "my.toml, line 3: `think.samples`: expected `int` >= 1"),
        (
            '[think]\nmodel = "a"\ntemperature = nan',
            "my.toml, line 3: `think.temperature`: expected `float` >= 0.0",
        ),
        (
            '[think]\nmodel = "a"\ntemperature = inf',
            "my.toml, line 3: `think.temperature`: expected `float` <= 5.0",
        ),
        ("[curate]\n\nvalidation = 5", "my.toml, line 3: `curate.validation`: expected `float` <= 1.0"),
        ("seed = 0.5", "my.toml, line 1: `seed`: expected `int`, got `float`"),
        ("\n[think]\nsamples = 3", "my.toml, line 2: `think`: object missing required field `model`"),
        ("think = 3", "my.toml, line 1: `think`: expected a section, got `int`"),
        ("models = 3", "my.toml, line 1: `models`: expected a section, got `int`"),
        ("[models]\na = 3", "my.toml, line 2: `models.a`: expected a section, got `int`"),
        ("[models.a]\nmodel = 3", "my.toml, line 2: `models.a.model`: expected `str`, got `int`"),
        (
            '[models.a]\nmodel = "m"\n[models."b.c"]\nmodel = "m"\nattempts = 0',
            "my.toml, line 5: `models.b.c.attempts`: expected `int` >= 1",
        ),
        (
            '[models.a]\nmodel = "m"\nprice = { input = -3 }',
            "my.toml, line 3: `models.a.price.input`: expected `float` >= 0.0",
        ),
        (
            '[models.a]\nmodel = "m"\n[models.a.headers]\nx = 3',
            "my.toml, line 3: `models.a.headers`: expected `str`, got `int`",
        ),
        (
            '[models.a]\nmodel = "m"\nprefill = "continu"',
            (
                "my.toml, line 3: `models.a.prefill`: invalid enum value 'continu'; it can be auto, continue, "
                "trailing, prefix, completions, instructed"
            ),
        ),
        (
            '[curate]\npolicy = "papr"',
            "my.toml, line 2: `curate.policy`: invalid enum value 'papr'; it can be default, paper",
        ),
        (
            '[think]\nmodel = "a"\n# a comment = here\nformats = ["(X)", "Y."]',
            "my.toml, line 4: `think.formats[1]`: invalid enum value 'Y.'; it can be (X), X., text",
        ),
        (
            '[think_harder]\nmodel = "a"\ncues = ["a", 3]',
            "my.toml, line 3: `think_harder.cues[1]`: expected `str`, got `int`",
        ),
        (
            '[think_harder]\nmodel = "a"\ncues = []',
            "my.toml, line 3: `think_harder.cues`: expected `array` of length >= 1",
        ),
    ],
)
def test_wrong_input_is_refused_with_path_line_and_the_nearest_right_name(text: str, message: str) -> None:
    assert refused(text) == message


def test_what_is_no_toml_is_refused_with_its_line() -> None:
    assert refused("seed = 1\nnot toml") == (
        "my.toml is not valid TOML: Expected '=' after a key in a key/value pair (at line 2, column 5)"
    )


def test_overrides_take_toml_values_or_bare_words() -> None:
    recipe = Recipe.parse(
        WHOLE,
        overrides=[
            "think.samples=4",
            "seed = 9",
            "captions.path=data/docci",
            "captions.source=docci",
            'think_harder.cues=["Wait,", "Hmm,"]',
            'models."gpt-4.1".model=x=y',
            "models.student.price={input = 0.5}",
            "curate.validation=1e-1",
            "think.extra.top_a=0.2",
            "ask.structured=false",
        ],
    )
    assert recipe.think
    assert recipe.ask
    assert recipe.think_harder
    assert (recipe.think.samples, recipe.seed) == (4, 9)
    assert (recipe.captions.path, recipe.captions.source) == ("data/docci", "docci")
    assert recipe.think_harder.cues == ("Wait,", "Hmm,")
    assert recipe.models["gpt-4.1"].model == "x=y"
    assert recipe.models["student"].price == Price(input=0.5)
    assert recipe.curate.validation == 0.1
    assert recipe.think.extra == {"top_a": 0.2}
    assert recipe.ask.structured is False
    assert Recipe.parse(WHOLE, overrides=["seed=1", "seed=2"]).seed == 2, "the last one counts"


@pytest.mark.parametrize(
    "override", ["think.samples", "=4", "", "think..samples=4", "a b=4", "think.samples\udcff=4"]
)
def test_an_override_that_is_none_is_refused(override: str) -> None:
    assert "--set wants key=value, as in --set think.samples=4" in refused(WHOLE, override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("think.sampels=4", "my.toml, --set: there is no setting `think.sampels`; did you mean `samples`?"),
        ("think.samples=four", "my.toml, --set: `think.samples`: expected `int`, got `str`"),
        ("seed.x=4", '--set seed.x=4: "seed" is a value, not a section'),
        ("models.b={model=3}", "my.toml, --set: `models.b.model`: expected `str`, got `int`"),
        ('seed=1\nledger="x"', "my.toml, --set: `seed`: expected `int`, got `str`"),
    ],
)
def test_a_wrong_override_is_told_as_such(override: str, message: str) -> None:
    assert refused(WHOLE, override) == message


def test_paths_are_relative_to_the_recipe_and_stay_what_they_are_when_absolute(tmp_path: Path) -> None:
    (tmp_path / "tpl.jinja").touch()
    file = tmp_path / "r.toml"
    file.write_text(
        WHOLE
        + """
[curate]
filters = ["leak", "mine.py:keep"]
[models.one]
model = "m"
url = "u"
template = "chatml"
[models.two]
model = "m"
url = "u"
template = "tpl.jinja"
"""
    )
    recipe = Recipe.load(
        file,
        [
            "ledger=shared/l.sqlite",
            "captions.path=../data",
            "captions.images=/abs/images",
            "captions.source=own.py:read",
            "ask.prompt=ask.txt",
            "think.prompt=~/think.txt",
            "think_harder.prompt=h.txt",
        ],
    )
    assert recipe.ask
    assert recipe.think
    assert recipe.think_harder
    assert recipe.ledger == str(tmp_path / "shared/l.sqlite")
    assert recipe.captions.path == str(tmp_path / "../data")
    assert recipe.captions.images == "/abs/images"
    assert recipe.captions.source == f"{tmp_path}/own.py:read"
    assert recipe.ask.prompt == str(tmp_path / "ask.txt")
    assert recipe.think.prompt == str(Path.home() / "think.txt")
    assert recipe.think_harder.prompt == str(tmp_path / "h.txt")
    assert recipe.curate.filters == ("leak", f"{tmp_path}/mine.py:keep")
    assert recipe.models["one"].template == "chatml", "a built-in one"
    assert recipe.models["two"].template == str(tmp_path / "tpl.jinja")
    assert recipe.located(Path("/elsewhere")) == recipe, "what is located stays where it is"


def test_a_recipe_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no recipe at .*none\.toml"):
        Recipe.load(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipe.load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'ledger = "\xe9"')
    with pytest.raises(RecipeError, match=r"latin\.toml cannot be read"):
        Recipe.load(tmp_path / "latin.toml")


def test_a_byte_order_mark_is_no_setting(tmp_path: Path) -> None:
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbfseed = 4")
    assert Recipe.load(tmp_path / "bom.toml").seed == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], None),
        (["think.model=studnet"], "`student`?"),
        (["think.model=studnet"], 'think.model is "studnet", but there is no [models.studnet]; did you mean'),
        (["models.asker.url=x"], "models.asker needs `url` (a server that runs) or `launch`"),
        (["models.student.url=[]"], "models.student needs `url`"),
        (["think.temperature=0"], "think.samples is 3 with think.temperature = 0: all would be the same"),
        (["think.temperature=0", "think.samples=1"], None),
        (["think_harder.temperature=0.0"], "Set think_harder.samples = 1, or a temperature above 0"),
        (["ask.temperature=0"], None),
        (['think_harder.cues=["Wait,", "Hmm,", "Wait, "]'], 'think_harder.cues holds "Wait," twice'),
    ],
)
def test_stages_are_checked_before_anything_is_asked(overrides: list[str], message: str | None) -> None:
    recipe = Recipe.parse(WHOLE, overrides=overrides)
    if message is None:
        recipe.check_models()
    else:
        with pytest.raises(RecipeError) as caught:
            recipe.check_models()
        assert message in str(caught.value)


@pytest.mark.parametrize("stage", ["ask", "think", "think_harder"])
def test_a_stage_that_is_missing_is_named(stage: str) -> None:
    recipe = msgspec.structs.replace(Recipe.parse(WHOLE), **{stage: None})
    with pytest.raises(RecipeError, match=rf"no \[{stage}\] section"):
        recipe.check_models()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_that_we_ship_are_whole(path: Path) -> None:
    Recipe.load(path).check_models()


def test_dates_in_what_is_sent_as_it_is_stay_dates() -> None:
    text = """
        [models.m]
        model = "m"
        [models.m.extra]
        since = 2024-05-01
        at = 2024-05-01T07:32:00.5Z
        local = 2024-05-01T07:32:00
        hour = 07:32:00
        several = [2024-05-01, 2024-05-02]
        """
    recipe = Recipe.parse(text)
    again = Recipe.parse(recipe.toml())
    assert again == recipe
    assert again.models["m"].extra["since"] == dt.date(2024, 5, 1)


def test_a_home_that_nobody_has_is_told() -> None:
    with pytest.raises(RecipeError, match="~nobody-at-all/pictures: there is no user of that name"):
        Recipe.parse('captions.path = "~nobody-at-all/pictures"').located(Path("/"))


def test_a_setting_that_is_a_number_or_a_word_says_both():
    text = '[models.m]\nmodel = "m"\nurl = "http://x/v1"\nconcurrency = '
    assert Recipe.parse(text + '"auto"').models["m"].concurrency == "auto"
    assert Recipe.parse(text + "7").models["m"].concurrency == 7
    with pytest.raises(RecipeError, match=r"concurrency.*it can be a whole number, auto"):
        Recipe.parse(text + '"many"')
    with pytest.raises(RecipeError, match=r"concurrency"):
        Recipe.parse(text + "0")
