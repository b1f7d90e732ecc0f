"""A student for boards that sees nothing: a glance at an option by chance. `python glancer.py PORT` serves it."""

import sys

from lpt.serving.app import make_app
from lpt.serving.dials import Dials
from lpt.serving.protocol import Ask, Said
from lpt.serving.serve import serve
from lpt.world.boards.asking import recognise
from lpt.world.boards.saying import glance
from lpt.world.hearing import exam
from lpt.world.telling import finish
from lpt.world.words import draw


def glancer(ask: Ask, seed: int) -> Said:
    """A thought as students of boards have it, and the answer that it comes to."""
    put = exam(ask)
    assert put
    stem, rng = recognise(put.text), draw("glancer", seed, put.text)
    assert stem
    answer = rng.choice(put.options)
    return finish(f"<think> {glance(stem, answer)} </think> <answer> {answer} </answer>", ask)


if __name__ == "__main__":
    serve(make_app({"miniature": glancer}, Dials()), "127.0.0.1", int(sys.argv[1]))
