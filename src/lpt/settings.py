"""Every setting of a recipe, with its default and what it means: the reference is generated from them.

Each stage is handed its own section and nothing else. `lpt.recipe` reads, checks, overrides and prints them;
`lpt.settings_verify` has those of `lpt verify`.
Where a default differs from the paper's (arXiv 2504.15362) it says so; `recipes/docci.toml` holds the paper's.
"""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from lpt.records import ANSWER_FORMATS, AnswerFormat

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Temperature: TypeAlias = Annotated[float, Meta(ge=0, le=5)]
Prefill: TypeAlias = Literal["auto", "continue", "trailing", "prefix", "completions", "instructed"]


KEPT = frozenset({"scenes", "boards", "parquet", "hub", "merged"})
"""Sources whose images are kept in `RUN/images`: rendered, held as bytes, or brought together."""


SETS_ONLY = frozenset({"sharegpt", "lpt30k"})
"""Sources of imported runs that have sets and no thoughts to make them from."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of a recipe."""


class CaptionColumns(Section, frozen=True, kw_only=True):
    """What a list calls its columns (jsonl, csv, parquet, hub)."""

    image: str = "image"
    """The image: a path or, in parquet and hub, its bytes."""
    caption: str = "caption"
    """The dense caption."""
    id: str = "id"
    """A name for each row. May be missing."""


class CaptionSettings(Section, frozen=True, kw_only=True):
    """Where captioned images come from, and how large they are sent."""

    source: str = "scenes"
    """scenes | boards | docci | folder | jsonl | csv | parquet | hub, or a source of your own as `path.py:function`
    or `module:function`."""
    path: str | None = None
    """The folder or file that the source reads; for `hub`, a data set's id, or a folder that `datasets` saved."""
    images: str | None = None
    """The folder that image paths are relative to; by default the one of `path` (docci: its `images/`)."""
    columns: CaptionColumns = CaptionColumns()
    split: str | None = None
    """hub: which split of the data set. May be left out where there is only one."""
    config: str | None = None
    """hub: which of the data set's configurations."""
    revision: str | None = None
    """hub: a branch, tag or commit of the data set: a commit makes sure that it stays the same."""
    count: Positive | None = None
    """How many scenes or boards to render; elsewhere, how many rows to take from the start. None: all (of what is
    rendered: 24)."""
    style: Literal["rich", "plain", "dusk"] = "rich"
    """How scenes (rich, plain) and boards (plain, dusk) are drawn."""
    max_pixels: Count = 512 * 512
    """Images of a larger area are downsized to it (the paper's training limit). 0: no limit."""
    longest_side: Count = 0
    """Images with a longer side are downsized to it. 0: no limit."""
    quality: Annotated[int, Meta(ge=1, le=100)] = 92
    """JPEG quality of what is sent."""


class Price(Section, frozen=True, kw_only=True):
    """Money per million tokens, in whatever currency you think in."""

    input: Annotated[float, Meta(ge=0)] = 0.0
    """For the tokens of prompts."""
    output: Annotated[float, Meta(ge=0)] = 0.0
    """For the tokens of replies."""
    cached: Annotated[float, Meta(ge=0)] | None = None
    """Input tokens that the server had in its prefix cache; by default as `input`."""

    def of(self, prompt: int, completion: int, cached: int) -> float:
        """What so many tokens cost."""
        again = self.input if self.cached is None else self.cached
        return ((prompt - cached) * self.input + cached * again + completion * self.output) / 1e6


class ModelSettings(Section, frozen=True, kw_only=True):
    """A model behind the OpenAI-compatible protocol: a URL, several replicas, or a server that we launch."""

    model: str
    """The name that the server knows it by."""
    url: str | tuple[str, ...] | None = None
    """Base URL ending in /v1, or several of them (replicas)."""
    launch: str | None = None
    """A command that starts a server; `{port}` is filled in. Models with the same command share one server."""
    launch_timeout: Annotated[float, Meta(gt=0)] = 900.0
    """Seconds until a launched server must be healthy: loading weights takes minutes."""
    version: str = ""
    """Part of the ledger's key: a retrained model under an old name is another model. The URL never is."""
    key_env: str | None = None
    """The environment variable that holds the API key."""
    headers: dict[str, str] = {}
    """Further HTTP headers. A value of the form `$NAME` is read from the environment."""
    prefill: Prefill = "auto"
    """How this server continues an assistant turn: continue (vLLM, SGLang), trailing (llama.cpp, Ollama),
    prefix (DeepSeek), completions (a text prompt, rendered here), instructed (asked for in words), or auto."""
    template: str | None = None
    """For `completions`: a tokenizer folder, a Jinja file, or a built-in template (chatml, deepseek-r1)."""
    concurrency: Positive | Literal["auto"] = "auto"
    """Requests in flight at once. auto: as many as a server does best with, found out under way, for each replica.
    A number: at most so many, over all replicas, and fewer only while a server turns requests away."""
    requests_per_minute: Count = 0
    """Send no more than this. 0: no limit."""
    tokens_per_minute: Count = 0
    """Let prompts and replies together take no more tokens than this. 0: no limit."""
    attempts: Positive = 6
    """How often a request is tried before it counts as failed. Waiting out a 429, or a server that is down, is no
    attempt."""
    silence: Annotated[float, Meta(gt=0)] = 300.0
    """Seconds of silence after which a request is given up: within a reply without a byte, before it without a sign
    of life from the server. There is no limit on a reply's length; one that a living server has not begun is
    waited for 12 times as long, or 4 times as long as the slowest so far."""
    patience: Annotated[float, Meta(ge=0)] = 900.0
    """Seconds that the run waits for a server that answered before and is down. 0: for ever."""
    sampling_seed: bool = True
    """Send seeds. Turn off for servers that slow down with them; the ledger's keys stay the same."""
    price: Price = Price()
    extra: dict[str, Any] = {}
    """Fields that are added to every request as they are."""


class SampledSettings(Section, frozen=True, kw_only=True):
    """How a stage samples. 0 for top_p, top_k or repetition_penalty leaves it to the server."""

    temperature: Temperature = 0.7
    """0: always the likeliest token."""
    top_p: Share = 0.0
    """Sample among the likeliest tokens that together have this share. 0: the server's own."""
    top_k: Count = 0
    """Sample among so many of the likeliest tokens. 0: the server's own."""
    repetition_penalty: Annotated[float, Meta(ge=0)] = 0.0
    """Above 1, tokens that were said become less likely. 0: the server's own."""
    max_tokens: Positive = 1024
    """Where a reply is cut; what is cut is dropped as `unfinished`."""
    extra: dict[str, Any] = {}
    """Fields that are added to this stage's requests as they are."""


class AskSettings(SampledSettings, frozen=True, kw_only=True):
    """Stage 1: an LLM reads a caption and writes multiple-choice questions."""

    model: str
    """Which of [models] is asked."""
    questions: Positive = 8
    """How many questions are asked for an image (the published sample has 7-8)."""
    prompt: str | None = None
    """A prompt file of your own, in place of `lpt/synthesis/prompts/ask.txt`."""
    structured: bool = True
    """Ask for JSON by schema. Off: tagged text, as the paper."""
    reparse: bool = True
    """Where nothing could be read from a reply, let the model put it into form in a second call."""
    max_tokens: Positive = 4096


class QuestionColumns(Section, frozen=True, kw_only=True):
    """What a question set calls its columns."""

    image: str = "image"
    """The image: a path or, in parquet and hub, its bytes."""
    question: str = "question"
    """The question, without its options."""
    options: str | tuple[str, ...] = "options"
    """A column that holds all options (a list, or one text: "(A) red (B) blue", or a line each), or one column an
    option: ["A", "B", "C", "D"]."""
    answer: str = "answer"
    """The right answer, told as `answer_as` says."""
    caption: str = "caption"
    """What the reasoner reads as its mental image. May be missing: then a run goes as far as `think`."""
    kind: str = "type"
    """The reasoning type. May be missing."""
    id: str = "id"
    """A name for each row. May be missing."""


class QuestionSettings(SampledSettings, frozen=True, kw_only=True):
    """Visual questions of your own, in the place of stage 1. Settings of sampling are for `options_from` alone."""

    source: Literal["jsonl", "csv", "parquet", "hub"]
    """What the question set is."""
    path: str
    """The file that the source reads (parquet: or a folder of shards; hub: a data set's id or a saved folder)."""
    images: str | None = None
    """The folder that image paths are relative to; by default the one of `path`."""
    columns: QuestionColumns = QuestionColumns()
    answer_as: Literal["auto", "letter", "text", "index", "number"] = "auto"
    """How the answer is told: auto (a letter or the option's text; never a bare number, which may count from 0 or
    from 1), letter, text, index (counted from 0), number (counted from 1)."""
    split: str | None = None
    """hub: which split of the data set."""
    config: str | None = None
    """hub: which of the data set's configurations."""
    revision: str | None = None
    """hub: a branch, tag or commit of the data set."""
    count: Positive | None = None
    """How many rows to take from the start. None: all."""
    options_from: str | None = None
    """A model that gives open questions three wrong options. None: a question without options is dropped."""
    prompt: str | None = None
    """A prompt file of your own, in place of `lpt/synthesis/prompts/options.txt`."""
    structured: bool = True
    """Ask `options_from` for JSON by schema. Off: a line an option."""
    max_tokens: Positive = 512


class ThinkSettings(SampledSettings, frozen=True, kw_only=True):
    """Stage 2: the VLM to be trained answers from the image, with a short thought."""

    model: str
    """Which of [models] is asked."""
    samples: Positive = 3
    """Thoughts for a question (paper 3; published code 10)."""
    formats: Annotated[tuple[AnswerFormat, ...], Meta(min_length=1)] = ANSWER_FORMATS
    """The answer formats that are drawn from."""
    fewest_options: Annotated[int, Meta(ge=2)] | None = None
    """A question is shown with the right option and some wrong ones, drawn for each: so many in all, up to what it
    has. Who only ever saw four options may be at a loss with two. None: always all (the paper)."""
    prompt: str | None = None
    """A system prompt file of your own, in place of `lpt/synthesis/prompts/think.txt`."""
    prefill: str = ""
    """A start of the assistant turn that the student is given, such as `<think>` (the published code's)."""
    top_p: Share = 0.8
    repetition_penalty: Annotated[float, Meta(ge=0)] = 1.05


class ThinkHarderSettings(SampledSettings, frozen=True, kw_only=True):
    """Stage 3: a reasoning LLM, which reads the caption, continues the student's thought after a cue."""

    model: str
    """Which of [models] is asked."""
    cues: Annotated[tuple[str, ...], Meta(min_length=1)] = ("Wait,", "Hmm,", "Alternatively,")
    """Each cue continues each thought. "" continues without a cue (for dissection)."""
    samples: Positive = 3
    """Long thoughts for a thought and a cue."""
    joints: Annotated[tuple[str, ...], Meta(min_length=1)] = ("\n", " ")
    """What joins thought and cue; drawn for each thought and cue."""
    prefix: Literal["student", "none"] = "student"
    """none: the reasoner thinks from scratch (the ablation)."""
    opening: str = "<think>\n"
    """What the continued turn begins with: the tag that the reasoner's own template would have put there."""
    prompt: str | None = None
    """A prompt file of your own, in place of `lpt/synthesis/prompts/think_harder.txt`."""
    top_p: Share = 0.8
    top_k: Count = 50
    repetition_penalty: Annotated[float, Meta(ge=0)] = 1.05
    bad_words: tuple[str, ...] = ()
    """Phrases that the server is asked never to say, where it can."""
    rewinds: Count = 3
    """How often a continuation that betrays the caption is taken back to its last clean sentence and goes on from
    there, before it is left to the filters. 0: never (the paper). The server is asked to stop at such words."""
    piece: Count = 384
    """Tokens of a continuation that are asked for at first. A longer one is gone on with from its last whole
    sentence, in such pieces, up to `max_tokens`; but one that turns in circles is dropped as `unfinished`, and its
    rest is not paid for. 0: all at once (the paper)."""


class BudgetSettings(Section, frozen=True, kw_only=True):
    """How much is drawn for a question. The bounds are `think.samples`, and `think_harder`'s cues x samples."""

    mode: Literal["quota", "exhaustive"] = "quota"
    """quota: draw thoughts in small batches, expand only what is still wanted, stop when there is enough.
    exhaustive: everything up to the bounds (the paper)."""
    batch: Positive = 1
    """Thoughts that are drawn in one call, as far as so many are wanted. More make fewer calls and some in vain."""
    thoughts: Positive = 2
    """Right ones and wrong ones that are wanted of a question. Each may be continued more than once."""
    right: Count = 3
    """Usable O→O that are wanted of a question."""
    mended: Count = 4
    """Usable X→O that are wanted of a question, from different wrong thoughts as far as there are any."""
    patience: Count = 1
    """So many thoughts in a row that bring nothing of what is wanted, and no more are drawn. 0: up to the bound."""
    tries: Count = 6
    """So many continuations in a row that bring nothing wanted, and no more are made. 0: up to the bound."""


class CurateSettings(Section, frozen=True, kw_only=True):
    """What is kept, and how the sets are composed. docs/curation.md says where the policies differ."""

    policy: Literal["default", "paper"] = "default"
    """paper: the paper's sets to the letter; default: no text twice, no question too often."""
    validation: Share = 0.05
    """The share of images that is held out."""
    filters: tuple[str, ...] | None = None
    """Names of filters, in order, or your own as `path.py:function`. None: the policy's."""
    keep: Annotated[float, Meta(gt=0, le=1)] | None = None
    """The share of O and O→O that goes into the SFT set, drawn by length within each question. None: a tenth (the
    paper); with budget.mode = "quota", where little is made in vain, as many more as there are X→O beside them."""
    backtracking: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    """The share of the SFT set that is X→O, as far as there are enough."""
    per_question: Positive | None = None
    """At most this many examples or pairs of a category from one question. None: 4; for paper, no limit."""
    min_words: Count = 8
    """Fewer words than this in what is learnt are too short. Simple thoughts are held to a quarter of it."""
    max_words: Positive = 800
    """More words than this in what is learnt are too long."""
    compression: Annotated[float, Meta(gt=0)] = 5.0
    """A text that shrinks by more than this factor repeats itself."""
    blind: Share = 0.75
    """Filter `blind`: answered right without the image at least this often, a question and all from it leave."""
    disagree: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    """Filter `disagree`: leave if another option leads the marked answer by more than this share of the replies."""
    contaminated: Annotated[float, Meta(gt=0, le=1)] = 0.75
    """Filter `contaminated`: leave if a benchmark has a picture or question that is at least so similar."""
    consistent: Share = 0.5
    """Filter `inconsistent`: leave if a smaller share than this finds the stated answer at the thought's end."""
    similarity: Annotated[float, Meta(gt=0, le=1)] = 0.85
    """Filter `near_duplicate`: leave if so much (Jaccard) is shared with one that stays."""
    review: Literal["reject", "accepted-only", "ignore"] = "reject"
    """What people said (`lpt view`): reject: what they rejected leaves. accepted-only: so does what would be learnt
    or preferred and nobody accepted. ignore: reviews are not read."""
    compactness: bool = False
    """Also make pairs O ≻ O→O, where the long way round is the rejected one."""
    compactness_ratio: Annotated[float, Meta(ge=1)] = 1.5
    """How many times as long the rejected side of such a pair must be."""


class RunSettings(Section, frozen=True, kw_only=True):
    """How a run is carried out. Nothing here changes what it makes."""

    images_in_flight: Positive = 64
    """Images that travel at once: enough to keep every model's queue filled."""
    schedule: Literal["mixed", "phased"] = "mixed"
    """mixed: all models at once, none waits for another. phased: models that cannot live together on one card are
    launched one after another, and each stage is drained before the next one begins."""
    round: Count = 0
    """phased: so many images pass all stages before the next begin, and each model is launched again. 0: all."""


class ClusterSettings(Section, frozen=True, kw_only=True):
    """How partitions are worked on (`lpt run --on ray`, `--partition`). Nothing here changes what is made."""

    workers: Count = 0
    """Partitions at a time; limits a minute and `concurrency` are divided by it. 0: `--on ray`: as many as the
    cluster has room for; `--partition`: all of them."""
    partitions: Count = 0
    """`--on ray`: into how many partitions the run is divided. 0: one a worker."""
    address: str | None = None
    """The Ray cluster. None: RAY_ADDRESS, or one of this machine alone, which lasts as long as the run."""
    cpus: Annotated[float, Meta(gt=0)] = 1.0
    """CPUs that Ray sets aside for a worker."""
    gpus: Annotated[float, Meta(ge=0)] = 0.0
    """GPUs that Ray sets aside for a worker, for servers that it launches."""
    publish: Annotated[float, Meta(gt=0)] = 30.0
    """Seconds between two pieces: at most so much is lost with a machine."""
    scratch: str | None = None
    """A folder on each machine's own disk, to work in. None: the system's temporary one."""
