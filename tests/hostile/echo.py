"""A server in front of the simulated one that repeats every secret it is sent, wherever a server may put words."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

import aiohttp
from aiohttp import web

Fault = Callable[[str, web.Request], web.Response]


def _seen(request: web.Request) -> str:
    """All that a request carries beside its body."""
    headers = " ".join(f"{name}={value}" for name, value in request.headers.items())
    return f"{request.url} {request.query_string} {headers}"


def refusing(status: int) -> Fault:
    """An error with a status, whose message is what was sent."""

    def answer(seen: str, _: web.Request) -> web.Response:
        return web.json_response({"error": {"message": seen, "code": seen}}, status=status)

    return answer


FAULTS: tuple[Fault, ...] = (
    refusing(500),
    refusing(429),
    refusing(200),
    lambda seen, _: web.Response(status=503, text=f"<html><title>{seen}</title></html>", content_type="text/html"),
    lambda seen, _: web.Response(status=502, text=seen, headers={"Retry-After": seen}),
    lambda seen, _: web.Response(text=f"{{{seen}"),
    lambda seen, _: web.Response(text=seen * 50),
    lambda seen, _: web.json_response({"choices": [{"index": seen}]}),
    lambda seen, _: web.json_response({"choices": seen}),
    lambda seen, _: web.json_response({"model": seen, "choices": [{"message": {"content": "B"}}]}),
    lambda _, request: web.Response(status=500, reason=request.headers.get("Authorization", "none")),
    lambda _, request: web.Response(
        status=307, headers={"Location": f"http://{request.headers.get('Authorization', 'x')}@elsewhere/"}
    ),
)


@contextlib.contextmanager
def echoing(upstream: str, *faults: Fault, always: bool = False) -> Iterator[str]:
    """Serve what `upstream` says, after each fault once (or always the faults, in turn); yields the URL."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()
    url = []
    left = list(faults)

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.method == "POST" and left:
            fault = left.pop(0)
            left.extend([fault] if always else [])
            return fault(_seen(request), request)
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, upstream.removesuffix("/v1") + request.path, data=body, headers=_JSON
            ) as response,
        ):
            return web.Response(body=await response.read(), status=response.status, headers=_JSON)

    async def serve() -> None:
        app = web.Application(client_max_size=2**28)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url.append(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield url[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


_JSON = {"Content-Type": "application/json"}
