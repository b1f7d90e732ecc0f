"""llama.cpp's own server, from the wheel that carries it: a model, until it is ended.

ENV/bin/python scripts/real/inside/llamacpp_serve.py MODEL.gguf PORT
"""

import signal
import sys

import xllamacpp


def main() -> None:
    """Serve."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.model_alias = {"tiny"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(sys.argv[2])
    parameters.n_ctx = 8192
    parameters.n_parallel = 2
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


main()
