"""Settings of `lpt verify`, as `lpt.settings` has those of all else."""

from lpt.settings import Positive, SampledSettings, Section, Share


class CheckSettings(SampledSettings, frozen=True, kw_only=True):
    """One check of `lpt verify`. Its section's being there turns it on; the filters decide what follows from it."""

    model: str
    """Which of [models] is asked."""
    prompt: str | None = None
    """A prompt file of your own, in place of the one in `lpt/curate/prompts/`."""
    top_p: Share = 0.8


class BlindSettings(CheckSettings, frozen=True, kw_only=True):
    """Can the question be answered without its image? Judges questions; read by the filter `blind`."""

    samples: Positive = 8
    """Times that it is asked, the options in another order each time. A multiple of the number of options (12 where
    it is two to four) has each stand in each place equally often, so that a liking for a letter cancels out."""
    max_tokens: Positive = 512


class DisagreeSettings(CheckSettings, frozen=True, kw_only=True):
    """Does a VLM, best a stronger one, find another answer than the marked one? Read by the filter `disagree`."""

    samples: Positive = 4
    """Times that it is asked, the options in another order each time."""


class ConsistencySettings(CheckSettings, frozen=True, kw_only=True):
    """Does a long thought come to the answer that it states (paper)? Read by the filter `inconsistent`."""

    samples: Positive = 3
    """Times that it is asked. Asked once, a judge that errs one time in twenty raises mostly false alarms."""
    categories: tuple[str, ...] = ("O→O", "X→O")
    """Which long thoughts are asked about: those that can be learnt from. Others are not judged, and stay."""
    max_tokens: Positive = 512


class VerifySettings(Section, frozen=True, kw_only=True):
    """What `lpt verify` asks about. docs/curation.md says what each check found and missed where truth is known."""

    blind: BlindSettings | None = None
    disagree: DisagreeSettings | None = None
    consistency: ConsistencySettings | None = None
