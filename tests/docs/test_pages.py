"""The pages hold together: recipes load and run, links lead somewhere, what is generated is up to date."""

import re
import subprocess
import sys

import pytest

from lpt.recipe import Recipe
from tests.docs.pages import PAGES, ROOT, Block, a_world, blocks, recipe_name, steps, whole

RECIPES = [block for page in PAGES for block in blocks(page) if block.language == "toml"]


def test_commands_stand_in_blocks_that_say_so():
    for page in PAGES:
        for block in blocks(page):
            if not block.language:
                commands = steps(block)
                assert all(step.why_not for step in commands), f"{page}:{block.line}: name the block's language"
                loose = re.findall(r"^lpt .*", block.text, re.MULTILINE)
                assert not loose, f"{page}:{block.line}: `{loose[0]}` in a block without a language"


@pytest.mark.parametrize("block", RECIPES, ids=lambda block: f"{block.page}:{block.line}")
def test_every_recipe_of_a_page_loads(block: Block):
    recipe = Recipe.parse(block.text, name=f"{block.page}:{block.line}")
    if whole(recipe):
        recipe.check_models("think_harder" if recipe.think_harder else "think")


def test_whole_recipes_that_no_command_runs_can_be_run(server: str):
    ran: list[str] = []
    with a_world(server) as made:
        made.run("export OPENAI_API_KEY=sk-0 OPENROUTER_API_KEY=sk-0 DEEPSEEK_API_KEY=sk-0")
        for page in PAGES:
            commands = [step.command for block in blocks(page) for step in steps(block)]
            for block in blocks(page):
                name = recipe_name(block) or "unnamed.toml"
                if block.language != "toml" or any(command.startswith(f"lpt run {name}") for command in commands):
                    continue
                if whole(Recipe.parse(block.text)):
                    made.put_recipe(name, block.text)
                    less = "--limit 1 --set ask.questions=2 --set think_harder.samples=1"
                    done = made.run(f"lpt run {name} --out runs/{len(ran)} {less}")
                    assert done.status == 0, f"{page}:{block.line}\n{done.said}"
                    ran.append(name)
    assert ran


def test_links_between_pages_lead_somewhere():
    for page in (*PAGES, "docs/integrations.md", "docs/log.md", "CONTRIBUTING.md"):
        text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            there = (ROOT / page).parent / path if path else ROOT / page
            assert there.exists(), f"{page} links to {target}, which is not there"
            if anchor:
                heads = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
                assert anchor in slugs, f"{page} links to {target}; there are {sorted(slugs)}"


def test_every_page_is_in_the_index():
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = str(page.relative_to(ROOT / "docs"))
        assert name == "README.md" or f"]({name}" in text, f"docs/README.md does not name {name}"


def test_what_is_generated_is_up_to_date():
    script = ROOT / "scripts" / "reference.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
