"""What a recipe needs of its models, held against what they can do; and what to change where the two differ."""

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from lpt.models.checkup import Can, Capability, Checkup
from lpt.recipe import Recipe
from lpt.settings import AskSettings, QuestionSettings, ThinkHarderSettings, ThinkSettings

_PROMPT = 512
"""Tokens that the prompt of any stage takes at least."""
_TAG = "<think>"

# The first that a name holds; a distilled model is of the family that it was distilled into.
_FAMILIES: Mapping[str, str] = {
    "InternVL": r"intern[-_]?vl|internlm",
    "Qwen": r"qwen|qwq|qvq",
    "Llama": r"llama(?!-?cpp|\.cpp)|vicuna|llava",
    "Mistral": r"mistral|mixtral|pixtral|magistral",
    "Gemma": r"gemma",
    "Phi": r"\bphi[-_]?\d",
    "GLM": r"\bglm|chatglm",
    "DeepSeek": r"deepseek",
    "GPT": r"\bgpt|\bo[134](-|$)",
    "Gemini": r"gemini",
    "Claude": r"claude",
    "Molmo": r"molmo|olmo",
}


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a stage asks of its model."""

    stage: str
    model: str
    """The model's name in the recipe."""
    what: str
    level: Literal["must", "helps"]
    met: Can
    why: str = ""
    """What was seen of the model, where that is not a plain yes."""
    change: str = ""
    """What to write into the recipe, or to do, where it is not met."""

    @property
    def missing(self) -> bool:
        """Whether the recipe cannot be carried out as it is."""
        return self.level == "must" and self.met == "no"


def needs(recipe: Recipe, checkups: Mapping[str, Checkup]) -> list[Need]:
    """Everything that the recipe's stages and checks need, in their order."""
    found: list[Need] = []
    stages: Mapping[str, AskSettings | QuestionSettings | ThinkSettings | ThinkHarderSettings | None] = {
        "ask": recipe.ask,
        "questions": recipe.questions,
        "think": recipe.think,
        "think_harder": recipe.think_harder,
    }
    for stage, settings in stages.items():
        if settings is None:
            continue
        name = settings.options_from if isinstance(settings, QuestionSettings) else settings.model
        if name is not None and name in checkups:
            found += _Stage(stage, checkups[name], checkups, recipe).needs(settings)
    for check, settings_ in msgspec.structs.asdict(recipe.verify).items():
        if settings_ and settings_.model in checkups:
            desk = _Stage(f"verify.{check}", checkups[settings_.model], checkups, recipe)
            found += desk.all(settings_.max_tokens)
            if check == "disagree" and desk.up:
                found.append(desk.images())
    return found


def warnings(recipe: Recipe, checkups: Mapping[str, Checkup]) -> list[str]:
    """What is allowed and yet worth a second thought."""
    return [*_of_families(recipe), *_of_tags(recipe, checkups)]


def _of_tags(recipe: Recipe, checkups: Mapping[str, Checkup]) -> Iterator[str]:
    """Turns without `<think>` for models whose templates open the thought: the ways of continuing part there."""
    begun = []
    if recipe.think and recipe.think.prefill:
        begun.append((recipe.think.model, "think.prefill", recipe.think.prefill))
    if recipe.think_harder:
        begun.append((recipe.think_harder.model, "think_harder.opening", recipe.think_harder.opening))
    for name, setting, begins in begun:
        checkup = checkups.get(name)
        if checkup is None or checkup.opens != "yes" or begins.startswith(_TAG):
            continue
        what = f"the template of models.{name} opens the thought itself, and {setting} does not begin with {_TAG}"
        if checkup.dialect == "continue":
            told = 'by prefill = "continue" nobody opens it then, which is not how the model was trained'
        else:
            told = 'here it comes from the template; by prefill = "continue" (vLLM, SGLang) it would be missing'
        same = f"{_TAG}{begins}" if setting == "think.prefill" else f"{_TAG}\\n"
        yield f'{what}: {told}. The replies are not the same; {setting} = "{same}" is right in both'


def _of_families(recipe: Recipe) -> list[str]:
    if not (recipe.think and recipe.think_harder):
        return []
    student, reasoner = (family(recipe.models[stage.model].model) for stage in (recipe.think, recipe.think_harder))
    if not student or not reasoner or student == reasoner:
        return []
    told = (
        f"the student is a {student} and the reasoner a {reasoner}: what the reasoner adds is then farther from "
        "how the student itself would put it, which is what the method builds on. A reasoner of the student's "
        "family is the safer choice (think_harder.model)"
    )
    return [told]


def family(model: str) -> str:
    """The family of a model by its name; empty where the name does not tell."""
    name = model.lower()
    return next((known for known, pattern in _FAMILIES.items() if re.search(pattern, name)), "")


class _Stage:
    """One stage with its model."""

    def __init__(self, stage: str, model: Checkup, others: Mapping[str, Checkup], recipe: Recipe) -> None:
        self.stage = stage
        self.up = model.can("reachable") != "no"
        self._model = model
        self._others = others
        self._recipe = recipe

    def needs(self, settings: AskSettings | QuestionSettings | ThinkSettings | ThinkHarderSettings) -> list[Need]:
        """What a stage of the method needs."""
        found = list(self.all(settings.max_tokens))
        if not self.up:
            return found
        if isinstance(settings, (AskSettings, QuestionSettings)):
            if settings.structured:
                change = f"{self.stage}.structured = false"
                found.append(self._need("structured output", "structured", "must", change))
            return found
        if isinstance(settings, ThinkSettings):
            found.append(self.images())
        if settings.samples > 1:
            found.append(self._need("samples that differ", "samples differ", "must", f"{self.stage}.samples = 1"))
            slow = "nothing: samples are asked for one by one, which takes longer"
            found.append(self._need("several samples at once", "n", "helps", slow))
            self._seeds(found)
        if isinstance(settings, ThinkHarderSettings):
            found.append(self._prefill())
            if settings.bad_words:
                found.append(self._need("bad words", "bad words", "must", f"{self.stage}.bad_words = []"))
        elif settings.prefill:
            found.append(self._prefill('think.prefill = ""'))
        return found

    def all(self, max_tokens: int) -> Iterator[Need]:
        """What every stage needs."""
        name, model = self._model.name, self._model
        if model.can("name known") == "no":
            listed = model.why("name known").removeprefix("it lists ").split(", ")[0]
            yield self._need("a model of that name", "name known", "must", f'models.{name}.model = "{listed}"')
        else:
            where = "launch" if self._recipe.models[name].launch else "url"
            yield self._need("an answer", "reachable", "must", f"see to the server of models.{name}.{where}")
        if model.context is not None:
            room = model.context - _PROMPT
            yield Need(
                stage=self.stage,
                model=name,
                what=f"room for {max_tokens:,} tokens",
                level="must",
                met="yes" if max_tokens <= room else "no",
                why="" if max_tokens <= room else f"its context has {model.context:,}, the prompt's included",
                change="" if max_tokens <= room else f"{self.stage}.max_tokens = {max(room, 1)}",
            )
        price = self._recipe.models[name].price
        if self.up and (price.input or price.output):
            yield self._need("token counts, to say what it costs", "usage", "helps", "nothing: costs stay unknown")

    def images(self) -> Need:
        """Eyes."""
        eyes = next((name for name, other in self._others.items() if other.can("images") == "yes"), None)
        change = (
            f'{self.stage}.model = "{eyes}"' if eyes else f"models.{self._model.name}.model = a model that sees"
        )
        return self._need("images", "images", "must", change)

    def _seeds(self, found: list[Need]) -> None:
        if not self._recipe.models[self._model.name].sampling_seed:
            return
        off = f"models.{self._model.name}.sampling_seed = false"
        refused = self._model.can("seeds") == "no" and "refused" in self._model.why("seeds")
        found.append(self._need("seeds", "seeds", "must" if refused else "helps", off))

    def _prefill(self, otherwise: str = "") -> Need:
        name, continues = self._model.name, self._model.continues
        change = f'models.{name}.prefill = "instructed"'
        better = next((way for way, finding in continues.items() if finding.can == "yes"), None)
        if better:
            change = f'models.{name}.prefill = "{better}"'
        elif otherwise:
            change = otherwise
        worded = self._recipe.models[name].prefill == "instructed"
        return self._need(
            "a turn that is continued",
            "prefill",
            "helps" if worded else "must",
            "" if worded and not better else change,
        )

    def _need(self, what: str, capability: Capability, level: Literal["must", "helps"], change: str) -> Need:
        can = self._model.can(capability)
        return Need(
            stage=self.stage,
            model=self._model.name,
            what=what,
            level=level,
            met=can,
            why="" if can == "yes" else self._model.why(capability),
            change=change if can == "no" else "",
        )
