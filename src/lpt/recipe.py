"""The recipe: one TOML file that says everything a run does.

`Recipe.load` reads one, applies `--set` overrides, and refuses what it does not know with the key's path, its
line, and the nearest right name. `recipe.toml()` prints it fully resolved, and that loads as the same recipe.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lpt.errors import RecipeError
from lpt.paths import expanded
from lpt.sections import nearest, parse, read_text, toml
from lpt.settings import (
    AskSettings,
    BudgetSettings,
    CaptionSettings,
    ClusterSettings,
    CurateSettings,
    ModelSettings,
    QuestionSettings,
    RunSettings,
    Section,
    ThinkHarderSettings,
    ThinkSettings,
)
from lpt.settings_verify import VerifySettings


class Recipe(Section, frozen=True, kw_only=True):
    """A whole recipe. Sections that a run does not need (an import has no models) may be missing."""

    seed: int = 0
    """Every random choice is drawn from (seed, record id, purpose)."""
    ledger: str | None = None
    """A ledger that several runs share, relative to the recipe's folder. None: `RUN/ledger.sqlite`."""
    captions: CaptionSettings = CaptionSettings()
    models: dict[str, ModelSettings] = {}
    questions: QuestionSettings | None = None
    """Questions of your own, in the place of `ask`; their images come with them, not from `captions`."""
    ask: AskSettings | None = None
    think: ThinkSettings | None = None
    think_harder: ThinkHarderSettings | None = None
    budget: BudgetSettings = BudgetSettings()
    verify: VerifySettings = VerifySettings()
    curate: CurateSettings = CurateSettings()
    run: RunSettings = RunSettings()
    cluster: ClusterSettings = ClusterSettings()

    @staticmethod
    def load(path: str | Path, overrides: Sequence[str] = ()) -> "Recipe":
        """Read a recipe file and apply `key.path=value` overrides, whose values are TOML (or a bare word).

        Relative paths in it are made absolute against the file's folder.

        Raises:
            RecipeError: not there, not TOML, an unknown key, a wrong type or value.
        """
        text = read_text(Path(path))
        return Recipe.parse(text, name=str(path), overrides=overrides).located(Path(path).resolve().parent)

    @staticmethod
    def parse(text: str, *, name: str = "recipe", overrides: Sequence[str] = ()) -> "Recipe":
        """Read a recipe from its text; `name` stands in errors. Paths stay as they are."""
        return parse(text, Recipe, name=name, overrides=overrides)

    def located(self, base: Path) -> "Recipe":
        """The same recipe with its relative paths resolved against `base`."""

        def at(path: str | None) -> str | None:
            return None if path is None else str(base / expanded(path, RecipeError))

        def data_set(source: str, path: str | None) -> str | None:
            # A hub's id looks like a relative path; it is one only where it leads somewhere.
            return (
                path
                if path and source == "hub" and not (base / path).exists() and path[0] not in "./~"
                else at(path)
            )

        def template(name: str | None) -> str | None:
            # A bare name is a built-in template unless such a file is there.
            return at(name) if name and ((base / name).exists() or "/" in name) else name

        replace = msgspec.structs.replace
        source = self.captions.source
        if source.partition(":")[0].endswith(".py"):
            source = str(base / source)
        return replace(
            self,
            ledger=at(self.ledger),
            captions=replace(
                self.captions,
                source=source,
                path=data_set(source, self.captions.path),
                images=at(self.captions.images),
            ),
            questions=self.questions
            and replace(
                self.questions,
                path=data_set(self.questions.source, self.questions.path),
                images=at(self.questions.images),
                prompt=at(self.questions.prompt),
            ),
            models={name: replace(model, template=template(model.template)) for name, model in self.models.items()},
            ask=self.ask and replace(self.ask, prompt=at(self.ask.prompt)),
            think=self.think and replace(self.think, prompt=at(self.think.prompt)),
            think_harder=self.think_harder and replace(self.think_harder, prompt=at(self.think_harder.prompt)),
            verify=VerifySettings(
                **{
                    name: check and replace(check, prompt=at(check.prompt))
                    for name, check in msgspec.structs.asdict(self.verify).items()
                }
            ),
            cluster=replace(self.cluster, scratch=at(self.cluster.scratch)),
            curate=replace(
                self.curate,
                filters=self.curate.filters
                and tuple(str(base / f) if f.partition(":")[0].endswith(".py") else f for f in self.curate.filters),
            ),
        )

    def toml(self) -> str:
        """The recipe as TOML, every setting spelt out (those that are None are left out: TOML has no null)."""
        return toml(self)

    def flat(self) -> dict[str, Any]:
        """Every setting by its dotted path, such as `think.samples`."""

        def walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield from walk(inner, f"{path}.{key}".lstrip("."))
            else:
                yield path, value

        return dict(walk(msgspec.to_builtins(self), ""))

    def check_verify(self) -> None:
        """See that `lpt verify` has something to do, and models that can be asked.

        Raises:
            RecipeError: naming the setting and, for a model, the nearest right name.
        """
        checks = {name: check for name, check in msgspec.structs.asdict(self.verify).items() if check}
        if not checks:
            raise RecipeError(
                "the recipe has no check to make: add a section such as [verify.blind] with a `model`, "
                "or --set verify.blind.model=NAME"
            )
        for name, check in checks.items():
            if check.model not in self.models:
                hint = nearest(check.model, self.models)
                raise RecipeError(
                    f'verify.{name}.model is "{check.model}", but there is no [models.{check.model}]{hint}'
                )

    def used_by(self) -> dict[str, str]:
        """Which model each stage asks, by the stages that the recipe has."""
        stages = {"ask": self.ask, "think": self.think, "think_harder": self.think_harder}
        return {stage: settings.model for stage, settings in stages.items() if settings}

    def check_models(self, until: str = "think_harder") -> None:
        """See that the stages are there up to `until`, name models that exist, and ask for what can be had.

        With questions of one's own there is no [ask], and nothing is needed of a stage that is not come to.

        Raises:
            RecipeError: naming the setting and, for a model, the nearest right name.
        """
        stages = ["ask", "think", "think_harder"]
        if self.questions:
            self._check_questions()
            # Thoughts are part of it even with --until ask: how a question is shown is their setting.
            stages = stages[1 : 3 if until == "think_harder" else 2]
        for stage in stages:
            settings = getattr(self, stage)
            if settings is None:
                raise RecipeError(f"the recipe has no [{stage}] section: say at least which model it asks")
            if settings.model not in self.models:
                hint = nearest(settings.model, self.models)
                raise RecipeError(
                    f'{stage}.model is "{settings.model}", but there is no [models.{settings.model}]{hint}'
                )
            samples = getattr(settings, "samples", 1)
            if samples > 1 and settings.temperature == 0:
                raise RecipeError(
                    f"{stage}.samples is {samples} with {stage}.temperature = 0: all would be the same, and some "
                    f"servers refuse. Set {stage}.samples = 1, or a temperature above 0"
                )
        cues = [cue.rstrip() for cue in self.think_harder.cues] if self.think_harder else []
        if twice := [cue for i, cue in enumerate(cues) if cue in cues[:i]]:
            raise RecipeError(f'think_harder.cues holds "{twice[0]}" twice (white space at its end does not count)')
        for name, model in self.models.items():
            if bool(model.url) == bool(model.launch):
                raise RecipeError(
                    f"models.{name} needs `url` (a server that runs) or `launch` (a command to start one), not both"
                )

    def _check_questions(self) -> None:
        assert self.questions
        if self.ask:
            raise RecipeError("the recipe has [questions] and [ask]: take one out")
        if self.captions.path is not None or self.captions.source != CaptionSettings().source:
            raise RecipeError(
                "the recipe has [questions], whose images come with them, and a source in [captions]: take "
                "captions.source and captions.path out (captions.max_pixels and the like stay)"
            )
        model = self.questions.options_from
        if model is not None and model not in self.models:
            hint = nearest(model, self.models)
            raise RecipeError(f'questions.options_from is "{model}", but there is no [models.{model}]{hint}')
