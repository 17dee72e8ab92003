"""A FastAPI app that answers with nothing: the least that an answer costs on this core."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Response

from lyo.ops.serving import address, listen, server


def app() -> FastAPI:
    """An app with one route, which reads and computes nothing."""
    api = FastAPI(openapi_url=None)

    @api.get("/")
    async def nothing() -> Response:
        return Response(b"{}", media_type="application/json")

    return api


def main() -> None:
    """Serve on a free port, which is logged, until stopped."""
    with listen("127.0.0.1", 0, "the measurement's own") as listener:
        logging.getLogger(__name__).warning("listening on %s", address(listener))
        server(app(), drain_seconds=1).run(sockets=[listener])


if __name__ == "__main__":
    main()
