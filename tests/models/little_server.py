"""A server for tests of launching: as good or as bad as it is told to be. Standard library only: it starts fast."""

import argparse
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, default=0)
for flag in ("--print-url", "--die", "--deaf", "--child", "--no-health", "--die-when-asked"):
    options.add_argument(flag, action="store_true")
options.add_argument("--loading", type=int, default=0, help="answer 503 so often")
options.add_argument("--taken", help="the first time, which this file tells, say that the port is taken")
told = options.parse_args()


class Handler(BaseHTTPRequestHandler):
    """Health, and a list of models."""

    left = told.loading

    def do_GET(self) -> None:
        """Answer."""
        status = 200
        if self.path == "/health":
            status = 404 if told.no_health else 503 if Handler.left > 0 else 200
            Handler.left -= 1
        self.send_response(status)
        self.end_headers()

    def do_POST(self) -> None:
        """Die, or say something."""
        if told.die_when_asked:
            sys.stderr.write("out of memory\n")
            sys.stderr.flush()
            os._exit(9)
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"model": "m", "choices": [{"message": {"content": "pid %d"}}]}' % os.getpid()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if told.die:
    print("".join(f"line {i}\n" for i in range(100)), "no such model", file=sys.stderr)
    sys.exit(3)
if told.taken and not Path(told.taken).exists():
    Path(told.taken).touch()
    sys.exit("OSError: [Errno 98] Address already in use")
if told.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if told.child:
    print("child", subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]).pid, flush=True)
server = HTTPServer(("127.0.0.1", told.port), Handler)
if told.print_url:
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
print("pid", os.getpid(), flush=True)
server.serve_forever()
