"""A server of fixed replies in a process of its own: what a client is measured against.

python -m perf.stub LATENCY_SECONDS CONCURRENCY WORDS
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

from lpt.serving.app import make_app
from lpt.serving.dials import Dials
from lpt.serving.protocol import Ask, Said
from lpt.serving.serve import serve

QUESTIONS = 4
COLORS = ("red", "blue", "green", "grey")


class Fixed:
    """Plays all three roles without a thought: right and wrong answers in turn, by seed."""

    def __init__(self, words: int) -> None:
        self.filler = " ".join(f"detail{i % 97}" for i in range(words))
        asked = [
            {
                "question": f"What colour is object number {i}?",
                "options": list(COLORS),
                "answer": COLORS[i % 4],
                "type": "recognition",
            }
            for i in range(QUESTIONS)
        ]
        self.questions = json.dumps({"questions": asked})

    def __call__(self, ask: Ask, seed: int) -> Said:
        """Answer at once."""
        if ask.model == "asker":
            return Said(self.questions)
        letter = "ABCD"[seed % 4]
        if ask.prefill is not None:
            return Said(
                f" let me look again. {self.filler} So it is this one. </think> <answer>({letter})</answer>"
            )
        return Said(f"<think> I see it. {self.filler} </think> <answer>({letter})</answer>")


@contextlib.contextmanager
def stub(latency: float = 0.0, concurrency: int = 0, words: int = 40) -> Iterator[str]:
    """Run the server as a child; yields its base URL."""
    command = [sys.executable, "-m", "perf.stub", str(latency), str(concurrency), str(words)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    try:
        yield child.stdout.readline().strip()
    finally:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    fixed = Fixed(int(sys.argv[3]))
    dials = Dials(latency=float(sys.argv[1]), concurrency=int(sys.argv[2]), prefix_cache=False)
    serve(make_app(dict.fromkeys(("asker", "student", "reasoner"), fixed), dials))
