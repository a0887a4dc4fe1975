"""uvicorn with manners at a drain: what is open gets one more answer, with Connection: close."""
import asyncio
import socket

import uvicorn


class Server(uvicorn.Server):
    async def shutdown(self, sockets=None):
        for server in self.servers:
            server.close()                                  # accepts no more
        self.server_state.default_headers += [(b"connection", b"close")]
        deadline = asyncio.get_running_loop().time() + 5    # more than your clients' usual pause
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.1)
        await super().shutdown(sockets)                     # closes what is idle still, waits for what is not


config = uvicorn.Config("shop:app", timeout_graceful_shutdown=50, access_log=False, timeout_keep_alive=30)
# Not uvicorn's --fd: that takes a TCP listener for a Unix one, and leaves TCP_NODELAY off: 40 ms an answer.
Server(config).run(sockets=[socket.socket(fileno=3)])
