"""A first recipe, written from a few answers: commented, so that it says what may be changed and why."""

import shlex
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

import msgspec

from lpt.errors import UserError
from lpt.paths import expanded

Source: TypeAlias = Literal["scenes", "folder", "docci", "jsonl", "csv", "parquet"]
Gpu: TypeAlias = Literal["none", "one", "many"]
Role: TypeAlias = Literal["asker", "student", "reasoner"]

SOURCES: tuple[str, ...] = get_args(Source)
GPUS: tuple[str, ...] = get_args(Gpu)
ROLES: tuple[Role, ...] = get_args(Role)

_SMALL = "Qwen/Qwen2.5-VL-7B-Instruct"
# By what there is to run them on. One GPU holds one server at a time, and the student's also asks.
_MODELS: dict[str, dict[str, str]] = {
    "none": {"asker": "qwen2.5:7b", "student": "qwen2.5vl:7b", "reasoner": "deepseek-r1:7b"},
    "one": {"asker": _SMALL, "student": _SMALL, "reasoner": "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"},
    "many": {
        "asker": "Qwen/Qwen2.5-32B-Instruct",
        "student": _SMALL,
        "reasoner": "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
    },
}
_OLLAMA = "http://127.0.0.1:11434/v1"
_SIM = "lpt sim --port {port}"
_VLLM = "vllm serve {model} --port {{port}} --enable-prompt-tokens-details"
_EYES = """ --limit-mm-per-prompt '{"image": 1, "video": 0}'"""
_SHARE = " --gpu-memory-utilization 0.92 --max-model-len 8192"
_PHASED = """\

# One card, one model at a time: each is launched in its turn, and every image passes its stage before the next is.
[run]
schedule = "phased"
# round = 500                # so many images pass all stages before the next; a limit (--max-time 8h) needs it
"""
_PLACES: dict[Role, str] = {"asker": "0", "student": "1", "reasoner": "2,3"}
_KEYS = {"api.openai.com": "OPENAI_API_KEY", "api.deepseek.com": "DEEPSEEK_API_KEY"}
_WHO: dict[Role, str] = {
    "asker": "Reads the captions and writes questions about them. It sees no image.",
    "student": "The vision-language model that is to be trained: answers the questions from the image.",
    "reasoner": "Continues the student's thoughts, from the captions. Best of the student's family of models.",
}
_HINTS: dict[str, str] = {
    "scenes": "Rendered scenes, to try things out: the truth about them is known.",
    "folder": "Images, each with its caption beside it: a .txt or .json of the same name.",
    "docci": "The folder with docci_descriptions.jsonlines and images/.",
    "jsonl": 'One object a line, {"image": …, "caption": …}; other names: columns = { caption = "text" }',
    "csv": 'A header with the columns image and caption; other names: columns = { caption = "text" }',
    "parquet": 'The columns image (a path or bytes) and caption; other names: columns = { caption = "text" }',
}


class Server(msgspec.Struct, frozen=True):
    """Where a model is; what is empty is filled in."""

    url: str = ""
    model: str = ""


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe is written from."""

    source: str = "scenes"
    path: str = ""
    """As it is to stand in the recipe."""
    gpu: str = "none"
    servers: dict[Role, Server] = {}

    def check(self) -> None:
        """See that they can be answered to.

        Raises:
            UserError: naming the option.
        """
        for option, value, known in (("source", self.source, SOURCES), ("gpu", self.gpu, GPUS)):
            if value not in known:
                raise UserError(f'--{option} is "{value}"; it can be {", ".join(known)}')
        if self.source == "scenes" and self.path:
            raise UserError("--path is set, but scenes are rendered: take it out, or choose another --source")
        if self.source != "scenes" and not self.path:
            raise UserError(f"--source {self.source} needs --path: what it reads")
        try:
            "".join([self.path, *(server.model for server in self.servers.values())]).encode()
        except UnicodeEncodeError:
            raise UserError(
                "--path or a model's name holds bytes that are not UTF-8: a recipe cannot say it"
            ) from None
        for role, server in self.servers.items():
            if server.url and urlsplit(server.url).scheme not in ("http", "https"):
                raise UserError(f'--{role}-url is "{server.url}"; it should begin with http:// and end in /v1')


def in_recipe(path: str, file: Path) -> str:
    """A path of the command line as it is to stand in a recipe, which is relative to its own folder."""
    if not path:
        return ""
    absolute, folder = expanded(path).absolute(), file.absolute().parent
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(absolute)


def recipe_text(answers: Answers, name: str) -> str:
    """The recipe as TOML.

    Args:
        answers: what it is about.
        name: what the file will be called, for the commands in its comments.

    Raises:
        UserError: the answers contradict each other.
    """
    answers.check()
    models = "\n".join(_model(role, answers) for role in ROLES)
    name = " ".join(name.split())
    out = f"runs/{Path(name).stem}"
    commands = {
        f"lpt doctor {name}": "can the models do what is asked of them?",
        f"lpt plan {name} --out {out}": "what will it take? A pilot of three images",
        f"lpt run {name} --out {out}": "makes the sets; again, it goes on where it was",
        f"lpt recipe show {name}": "every setting there is, with its value",
    }
    width = max(map(len, commands))
    return _RECIPE.format(
        commands="\n".join(f"#   {command:<{width}}   {why}" for command, why in commands.items()),
        hint=_HINTS[answers.source],
        captions=_captions(answers),
        models=models,
        run=_PHASED if answers.gpu == "one" and len(set(_launched(answers).values())) > 1 else "",
    )


def _captions(answers: Answers) -> str:
    lines = [f"source = {_quoted(answers.source)}"]
    lines.append(f"path = {_quoted(answers.path)}" if answers.path else "count = 24")
    return "\n".join(lines)


def _model(role: Role, answers: Answers) -> str:
    server = answers.servers.get(role, Server())
    named = any(given.url or given.model for given in answers.servers.values())
    head = [f"# {_WHO[role]}", f"[models.{role}]"]
    if server.url:
        model = server.model or _MODELS[answers.gpu][role]
        return "\n".join(
            [*head, f"url = {_quoted(server.url)}", f"model = {_quoted(model)}", *_key(server.url), ""]
        )
    if answers.gpu == "none":
        if answers.source == "scenes" and not named:
            return "\n".join([*head, f"launch = {_quoted(_SIM)}    # a simulation", f'model = "{role}"', ""])
        told = [
            f"url = {_quoted(_OLLAMA)}    # Ollama",
            f"model = {_quoted(server.model or _MODELS['none'][role])}",
        ]
        return "\n".join([*head, *told, "concurrency = 4", ""])
    launched = _launched(answers)
    model = launched[role]
    command = _VLLM.format(model=shlex.quote(model))
    # The same command is one server: on one GPU the student's own, text alone, can also ask.
    if role == "student" or (answers.gpu == "one" and model == launched.get("student")):
        command += _EYES
    if answers.gpu == "one":
        command += _SHARE
    else:
        command = f"env CUDA_VISIBLE_DEVICES={_PLACES[role]} {command}"
        command += " --tensor-parallel-size 2" if role == "reasoner" else ""
    return "\n".join([*head, f"launch = {_quoted(command)}", f"model = {_quoted(model)}", ""])


def _launched(answers: Answers) -> dict[Role, str]:
    """What vLLM is started with, for the roles that are not served elsewhere."""
    return {
        role: given.model or _MODELS[answers.gpu][role]
        for role in ROLES
        if not (given := answers.servers.get(role, Server())).url
    }


def _key(url: str) -> list[str]:
    host = urlsplit(url).hostname or ""
    if host in _KEYS:
        return [f'key_env = "{_KEYS[host]}"', "# price = { input = 0.15, output = 0.60 }    # a million tokens"]
    return ['# key_env = "MY_KEY"    # the environment variable that holds the key, if it wants one']


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL.
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


_RECIPE = """\
# A recipe for long perceptual thoughts: captioned images in, training sets out.
#
{commands}

seed = 0

# {hint}
[captions]
{captions}
# max_pixels = 262144        # larger images are sent downsized to this area

{models}
# 1. Ask: multiple-choice questions about each caption.
[ask]
model = "asker"
# questions = 8
# structured = false         # if the server cannot hold a reply to a JSON schema

# 2. Think: the student answers from the image, with a short thought.
[think]
model = "student"
samples = 3                  # thoughts for a question

# 3. Think harder: the reasoner continues each thought after each cue.
[think_harder]
model = "reasoner"
cues = ["Wait,", "Hmm,", "Alternatively,"]
samples = 3                  # long thoughts for a thought and a cue
max_tokens = 1024

[curate]
validation = 0.05            # the share of images that is held out
# policy = "paper"           # the paper's filters and sets, to the letter
{run}"""
