"""llama.cpp's own server, from the wheel that carries it: a model, until it is ended.

ENV/bin/python scripts/real/inside/llamacpp_serve.py MODEL.gguf PORT [--parallel 2] [--no-cache-prompt]
"""

import argparse
import signal

import xllamacpp


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--no-cache-prompt", action="store_true")
    arguments = parser.parse_args()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = arguments.model
    parameters.model_alias = {"tiny"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = arguments.port
    parameters.n_ctx = 8192
    parameters.n_parallel = arguments.parallel
    parameters.cache_prompt = not arguments.no_cache_prompt
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


main()
