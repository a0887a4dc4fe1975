import asyncio
import contextlib
import os
import socket


def notify(text):
    """sd_notify(3): three lines, no package needed."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(text.encode(), path)


@contextlib.asynccontextmanager
async def lifespan():
    # open the database pool here
    notify("READY=1")      # the listener listens already: what comes from now on waits in its queue for us
    yield
    # close it here


async def app(scope, receive, send):
    if scope["type"] == "lifespan":            # a framework does this for you: FastAPI(lifespan=...)
        await receive()
        async with lifespan():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    body = b"%d\n" % os.getpid()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
