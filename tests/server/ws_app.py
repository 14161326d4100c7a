# SPDX-License-Identifier: Apache-2.0
"""The server with a WebSocket route, to test that its guards hold there too."""

from fastapi import WebSocket

from monailabel_app.server import app

__all__ = ["app"]


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(getattr(socket.state, "user", None) or "nobody")
    await socket.close()
