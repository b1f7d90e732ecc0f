"""A run that ends between its tables and its sets: the sets are of other tables then, and that is said."""

import json
from pathlib import Path

import pytest

from lpt.curate.compose import compose
from lpt.curate.funnel import check, funnel
from lpt.errors import UserError
from lpt.exports.base import make_room
from lpt.look.status import status_json
from lpt.pipeline import synthesize
from tests.conftest import Sim, small_recipe


def test_sets_of_earlier_tables_are_not_counted_or_exported_until_they_are_made_anew(
    sim: Sim, tmp_path: Path
) -> None:
    run = synthesize(small_recipe(sim.url, scenes=1), tmp_path / "run")
    compose(run)
    make_room(run, tmp_path / "out")
    assert not run.outdated()

    run = synthesize(small_recipe(sim.url, scenes=2), tmp_path / "run")
    assert run.outdated()
    counts = funnel(run)
    check(counts)
    assert not {"filter", "sft", "preferences"} & {count.stage for count in counts}
    assert json.loads(status_json(run))["outdated"]
    with pytest.raises(UserError, match=r"of earlier tables.*: `lpt compose .*run` makes the sets anew"):
        make_room(run, tmp_path / "out")

    compose(run)
    assert not run.outdated()
    check(funnel(run))
    make_room(run, tmp_path / "out")
