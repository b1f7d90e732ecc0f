"""A student from nothing: sight, then words and glances. The same seed, the same student. Needs torch.

Every so often all that the next step depends on is written, so a build that was killed goes on where it was.
"""

import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from torch import Tensor

from lpt.analyze.charts import Point, curve
from lpt.analyze.intervals import Estimate
from lpt.errors import UserError
from lpt.exports.rows import put
from lpt.miniature import lessons, sight, student
from lpt.miniature.figures import Figures, figures
from lpt.miniature.learning import Encoder, attend_fast, batch, descend, features, loss, scheduled
from lpt.world.boards.board import board
from lpt.world.words import draw

Tell = Callable[[int, int, dict[str, float]], None]


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch of lessons."""

    steps: int
    shares: dict[str, float]
    """How often each kind of lesson comes."""
    peak: float = 1.5e-3
    """The learning rate at its highest; it rises over 50 steps and falls as a cosine to a twentieth."""


class Schooling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a student depends on."""

    seed: int = 0
    boards: int = 10_000
    """How many it learns from."""
    width: int = 128
    layers: int = 4
    sight: int = 150
    """Steps of the vision tower."""
    terms: tuple[Term, ...]
    batch: int = 64
    threads: int = 2
    """Sums depend on how many share the work: part of what decides the weights."""


_PARTS: Final = {
    "describe": 0.15,
    "cells": 0.15,
    "steps": 0.1,
    "neighbours": 0.05,
    "ahead": 0.1,
    "counts": 0.05,
    "walks": 0.15,
    "told_walks": 0.05,
    "chain": 0.2,
}
_GLANCES: Final = {
    "describe": 0.05,
    "cells": 0.05,
    "steps": 0.05,
    "neighbours": 0.03,
    "ahead": 0.1,
    "counts": 0.05,
    "walks": 0.12,
    "told_walks": 0.05,
    "chain": 0.2,
    "read": 0.05,
    "simple": 0.3,
}
SIZES: Final = {
    "full": Schooling(terms=(Term(400, _PARTS, 2e-3), Term(1000, _GLANCES))),
    "tiny": Schooling(
        boards=128, width=64, layers=2, sight=10, terms=(Term(150, {"simple": 1.0}, 4e-3),), batch=16
    ),
}
"""full: what the claims are measured on. tiny: made in seconds, it answers in the right form and at random."""


def build(
    schooling: Schooling, out: Path, tell: Tell | None = None, *, every: int = 200, examined: int = 256
) -> Figures:
    """Make a student, or go on with one that was begun; what it can do at the end.

    Args:
        schooling: what it depends on.
        out: the folder: an ordinary checkpoint, with `build.json`, `curves.jsonl` and `curves.svg` beside it.
        tell: is told the step, of how many, and what was measured.
        every: after how many steps it is examined and its state written; the student does not depend on it.
        examined: on how many boards; nor on this.

    Raises:
        UserError: the folder holds another student.
        StoreError: the disk would not take it.
    """
    out.mkdir(parents=True, exist_ok=True)
    _same(out, schooling)
    torch.set_num_threads(schooling.threads)
    build_ = _Build(schooling, out, tell or (lambda *_: None), every, examined)
    found = build_.run()
    student.save(build_.model, build_.tokens, out)
    done = {"schooling": msgspec.to_builtins(schooling), "figures": found._asdict(), "seconds": build_.seconds}
    put(out / "build.json", json.dumps(done, indent=2).encode())
    put(out / "curves.svg", _drawn(build_.curves).encode())
    (out / _STATE).unlink(missing_ok=True)
    return found


_STATE: Final = "build-state.pt"


def _same(out: Path, schooling: Schooling) -> None:
    begun = out / "schooling.json"
    mine = msgspec.json.encode(schooling)
    if begun.exists() and begun.read_bytes() != mine:
        raise UserError(f"{out} holds a student of another schooling ({begun}): choose another --out")
    if (out / "build.json").exists():
        raise UserError(f"{out} holds a whole student already: choose another --out, or remove it")
    put(begun, mine)


class _Build:
    """A student under way."""

    def __init__(self, schooling: Schooling, out: Path, tell: Tell, every: int, examined: int) -> None:
        self.schooling, self.out, self.tell, self.every = schooling, out, tell, every
        self.boards = [board(draw("lesson board", schooling.seed, at)) for at in range(schooling.boards)]
        self.held_out = [board(draw("lesson board", schooling.seed, "held out", at)) for at in range(examined)]
        words = lessons.texts(self.boards[:3000], draw("words", schooling.seed))
        self.tokens = student.tokenizer(words)
        self.encoder = Encoder(self.tokens)
        self.model = student.new(self.tokens, schooling.seed, width=schooling.width, layers=schooling.layers)
        attend_fast(self.model)
        self.curves: list[dict[str, float]] = []
        self.seconds = 0.0
        self._total = schooling.sight + sum(term.steps for term in schooling.terms)

    def run(self) -> Figures:
        """Everything, or what is left of it."""
        kept = self._kept()
        if kept is None:
            self._see()
        else:
            self.model.load_state_dict(kept["model"])
            self.curves, self.seconds = kept["curves"], kept["seconds"]
        began = time.monotonic()
        seen = features(self.model, self.boards, range(len(self.boards)))
        examined = features(self.model, self.held_out, [f"held out {at}" for at in range(len(self.held_out))])
        self.seconds += time.monotonic() - began
        first, step = (kept["term"], kept["step"]) if kept else (0, 0)
        for number, term in enumerate(self.schooling.terms[first:], first):
            self._learn(number, term, seen, examined, step, kept["optimizer"] if kept and step else None)
            step = 0
        return figures(self.model, self.encoder, self.held_out, examined)

    def _see(self) -> None:
        began = time.monotonic()

        def told(step: int, lost: float, right: float) -> None:
            if step % 50 == 0:
                self._note(step, {"loss": lost, "sight": right})

        sight.learn(self.model, self.tokens, self.boards[:4000], self.schooling.sight, told)
        self.seconds += time.monotonic() - began

    def _learn(
        self, number: int, term: Term, seen: Tensor, examined: Tensor, first: int, moved: dict[str, Any] | None
    ) -> None:
        moving = [weight for name, weight in self.model.named_parameters() if "visual" not in name]
        optimizer = torch.optim.AdamW(moving, term.peak, betas=(0.9, 0.98), weight_decay=0.01)
        if moved is not None:
            optimizer.load_state_dict(moved)
        before = self.schooling.sight + sum(one.steps for one in self.schooling.terms[:number])
        began = time.monotonic()
        recent: list[float] = []
        self.model.train()
        for step in range(first + 1, term.steps + 1):
            lost = loss(self.model, self._batch(number, step, term), seen, self.encoder.image)
            descend(optimizer, lost, term.peak * scheduled(step, term.steps, rise=50))
            recent.append(float(lost.detach()))
            if step % self.every == 0 or step == term.steps:
                now = figures(self.model, self.encoder, self.held_out, examined)
                self.model.train()
                measured = {"loss": sum(recent) / len(recent), "captions": now.captions, "walks": now.walks}
                self._note(before + step, {**measured, "steps": now.steps, "glance": now.glance, **now.by})
                recent.clear()
                self.seconds += time.monotonic() - began
                began = time.monotonic()
                self._keep(number, step, optimizer)

    def _batch(self, term: int, step: int, shares: Term) -> Any:
        """The lessons of a step: a function of the seed and the step alone."""
        rng = draw("lessons", self.schooling.seed, term, step)
        rows = []
        for _ in range(self.schooling.batch):
            at = rng.randrange(len(self.boards))
            rows.append((at, lessons.lesson(self.boards[at], rng, shares.shares)))
        return batch(self.encoder.encode(rows), self.encoder.image, self.tokens.pad_token_id)

    def _note(self, step: int, measured: dict[str, float]) -> None:
        self.curves.append({"step": step, **measured})
        put(self.out / "curves.jsonl", "".join(json.dumps(line) + "\n" for line in self.curves).encode())
        self.tell(step, self._total, measured)

    def _keep(self, term: int, step: int, optimizer: Any) -> None:
        done = step == self.schooling.terms[term].steps
        state = {
            "model": self.model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "term": term + done,
            "step": 0 if done else step,
            "curves": self.curves,
            "seconds": self.seconds,
        }
        held = io.BytesIO()
        torch.save(state, held)
        put(self.out / _STATE, held.getvalue())

    def _kept(self) -> dict[str, Any] | None:
        path = self.out / _STATE
        if not path.exists():
            return None
        found: dict[str, Any] = torch.load(path, weights_only=True)
        return found


def _drawn(curves: Sequence[dict[str, float]]) -> str:
    lines = {
        name: [Point(line["step"], Estimate(line[name], None, None)) for line in curves if name in line]
        for name in ("captions", "steps", "walks", "glance")
    }
    return curve("What the student can do, on boards that it has not seen", lines, x="steps of 64 lessons")
