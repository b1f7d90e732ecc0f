"""Short hands for the doctor at a real server."""

from pathlib import Path
from typing import Any

import asking
from conftest import Server
from lpt.models.checkup import Checkup
from lpt.models.doctor import examine
from lpt.needs import warnings
from lpt.recipe import Recipe

_RECIPE = """
[captions]
source = "scenes"
[models.one]
url = "{url}"
model = "{model}"
[ask]
model = "one"
[think]
model = "one"
[think_harder]
model = "one"
opening = "{opening}"
"""


async def examined(server: Server, logs: Path, **more: Any) -> Checkup:
    """What the doctor finds out of a server."""
    return (await examine({"one": asking.settings(server, **more)}, logs))["one"]


def warned(server: Server, checkup: Checkup, opening: str) -> list[str]:
    """What it warns of in a recipe that opens the reasoner's turn like this."""
    path = server.folder.with_name(f"{server.model}-recipe.toml")
    opening = opening.replace("\n", "\\n")
    path.write_text(_RECIPE.format(url=server.url, model=server.model, opening=opening), encoding="utf-8")
    return warnings(Recipe.load(path), {"one": checkup})


def told(checkup: Checkup) -> str:
    """Its table in a line."""
    return "; ".join(
        f"{what}: {finding.can}{f' ({finding.why})' if finding.why else ''}"
        for what, finding in checkup.findings.items()
    )
