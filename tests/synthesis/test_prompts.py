"""Prompts are files; only what is declared is filled, once."""

from pathlib import Path

import pytest

from lpt.errors import RecipeError
from lpt.settings import AskSettings, ThinkHarderSettings, ThinkSettings
from lpt.synthesis import ask, prompts, think, think_harder


def test_what_a_filled_value_holds_is_not_filled_again() -> None:
    filled = prompts.fill(
        "{caption} / {question} / {other}", caption="a {question} {caption}", question="\\1 {caption}"
    )
    assert filled == "a {question} {caption} / \\1 {caption} / {other}"


def test_our_own_prompts_hold_what_their_stages_fill() -> None:
    assert all(f"{{{name}}}" in prompts.load("ask") for name in ("caption", "questions", "form"))
    assert all(f"{{{name}}}" in prompts.load("think_harder") for name in ("caption", "question"))
    assert all(f"{{{name}}}" in prompts.load("reparse") for name in ("text", "form"))
    assert "{" not in think.system(ThinkSettings(model="m"))


def test_a_prompt_of_ones_own_takes_the_place_of_ours(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("  Look: {caption}\n\n", encoding="utf-8")
    assert ask.template(AskSettings(model="m", prompt=str(mine))) == "Look: {caption}"


def test_one_that_lacks_what_the_stage_fills_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("Look: {caption}")
    with pytest.raises(RecipeError, match=r"think_harder\.prompt: the file .* must hold \{question\}, which"):
        think_harder.template(ThinkHarderSettings(model="m", prompt=str(mine)))
    mine.write_text("nothing")
    with pytest.raises(RecipeError, match=r"must hold \{caption\} and \{question\}"):
        think_harder.template(ThinkHarderSettings(model="m", prompt=str(mine)))


def test_one_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"think\.prompt: there is no file .*"):
        think.system(ThinkSettings(model="m", prompt=str(tmp_path / "none.txt")))
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    with pytest.raises(RecipeError, match="cannot be read"):
        think.system(ThinkSettings(model="m", prompt=str(tmp_path / "latin.txt")))
