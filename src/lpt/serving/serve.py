"""Run an app: as a process that others start and stop, or inside a test.

The process's contract, which `launch = "…"` in a recipe relies on: the first line on stdout is the base URL,
ending in /v1, printed when connections are accepted; SIGTERM or SIGINT ends it, with exit status 0.
"""

import asyncio
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from lpt.errors import UserError
from lpt.serving.absence import leave_and_return
from lpt.serving.app import ABSENCE, DIALS
from lpt.serving.dials import Dials

# Replies that are under way when the server ends get this long; a stalled one would take for ever.
_GRACE_SECONDS = 0.1


@asynccontextmanager
async def running(app: web.Application, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve an app while the context lasts; yields the base URL, ending in /v1.

    Raises:
        UserError: the address cannot be listened on.
    """
    # A client that goes away frees its place, as with real servers: its request is cancelled.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE_SECONDS)
    await runner.setup()
    dials = app[DIALS] if DIALS in app else Dials()
    secure = _tls(dials.certificate) if dials.certificate else None
    away: asyncio.Task[None] | None = None
    try:
        site = web.TCPSite(runner, host, port, backlog=1024, ssl_context=secure)
        try:
            await site.start()
        except OSError as error:
            raise UserError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        bound = runner.addresses[0]
        if ABSENCE in app:
            away = asyncio.create_task(
                leave_and_return(
                    app[ABSENCE],
                    runner,
                    site,
                    lambda: web.TCPSite(runner, host, bound[1], backlog=1024, ssl_context=secure),
                    dials.down_seconds,
                )
            )
        name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        yield f"{'https' if secure else 'http'}://{name}:{bound[1]}/v1"
    finally:
        if away:
            away.cancel()
        await runner.cleanup()


def _tls(path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(path)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"certificate={path} cannot be used: {error}") from error
    return context


def serve(app: web.Application, host: str = "127.0.0.1", port: int = 0) -> None:
    """Serve until SIGTERM or SIGINT, then return; the first line on stdout is the base URL.

    Args:
        app: from `make_app`.
        host: where to listen; the loopback unless the user says otherwise.
        port: 0 takes a free one.

    Raises:
        UserError: the address cannot be listened on.
    """
    asyncio.run(_serve(app, host, port))


async def _serve(app: web.Application, host: str, port: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before the URL is out: whoever reads it may stop us at once.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with running(app, host, port) as url:
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        await ended.wait()
