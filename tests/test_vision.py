"""The quickened vision tower says what transformers' own says."""

import copy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed  # noqa: E402

from lpt.vision import quicken  # noqa: E402
from tests.train import tiny  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """As transformers has it; the same, quickened."""
    folder: Path = tiny.model(tmp_path_factory.mktemp("vision") / "tiny")
    plain = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(folder).eval()
    quick = copy.deepcopy(plain)
    assert quicken(quick) == 2
    return plain, quick


# Windows are of 112 pixels: one, some of which are cut off at the edges, two pictures of different sizes.
@pytest.mark.parametrize("grids", [[[1, 8, 8]], [[1, 12, 20]], [[1, 4, 6], [1, 18, 10]]])
def test_a_picture_is_seen_as_before(towers: tuple[Any, Any], grids: list[list[int]]) -> None:
    draws = torch.Generator().manual_seed(0)
    patches = torch.randn(sum(t * h * w for t, h, w in grids), 1176, generator=draws)
    with torch.no_grad():
        one, two = (model.model.visual(patches, grid_thw=torch.tensor(grids)).pooler_output for model in towers)
    one, two = torch.cat([*one]).flatten(), torch.cat([*two]).flatten()
    assert torch.allclose(one, two, atol=1e-5)
    assert one.std() > 100 * (one - two).abs().max()


def test_patches_are_embedded_and_learnt_as_by_the_convolution(towers: tuple[Any, Any]) -> None:
    patches = torch.randn(24, 1176, generator=torch.Generator().manual_seed(1))
    found = []
    for model in towers:
        embed = next(module for module in model.modules() if isinstance(module, Qwen2_5_VisionPatchEmbed))
        out = embed(patches)
        embed.zero_grad()
        out.pow(2).sum().backward()
        found.append((out.detach(), embed.proj.weight.grad.clone()))
    (one, moved), (two, also) = found
    assert torch.allclose(one, two, atol=1e-5)
    assert torch.allclose(moved, also, atol=1e-4)
    assert moved.abs().max() > 1


def test_a_model_without_such_a_tower_stays_as_it_is() -> None:
    assert quicken(torch.nn.Linear(2, 2)) == 0
