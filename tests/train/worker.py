"""One of several processes that train together: `python -m torch.distributed.run … worker.py RUN MODEL OUT`."""

import json
import sys
from pathlib import Path


def main() -> None:
    import torch

    from lpt.train import session
    from lpt.train.prepare import prepare
    from tests.train.conftest import recipe

    torch.set_num_threads(1)
    source, model, out = map(Path, sys.argv[1:4])
    settings = recipe(
        "sft",
        model,
        optimizer={"batch": 4, "at_once": 2, "max_steps": 2, "learning_rate": 1e-3},
        memory={"by_length": False},
    )
    state = session.processes()
    with state.main_process_first():
        prepared = prepare(source, out, settings, write=state.is_main_process)
    trained = session.train(prepared, out)
    if state.is_main_process:
        found = {
            "processes": state.num_processes,
            "losses": [trained.first_loss, trained.last_loss],
        }
        (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
