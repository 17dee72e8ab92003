"""A FastAPI app that answers with nothing: what an answer costs on this core before ours does anything."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Response

from lyo.ops.serving import address, listen, server


def app() -> FastAPI:
    """One route, which reads and computes nothing."""
    made = FastAPI(openapi_url=None)

    @made.get("/")
    async def nothing() -> Response:
        return Response(b"{}", media_type="application/json")

    return made


def main() -> None:
    """Answer on a free port, which is printed, until stopped."""
    with listen("127.0.0.1", 0, "the measurement's own") as listener:
        logging.getLogger(__name__).warning("listening on %s", address(listener))
        server(app(), drain_seconds=1).run(sockets=[listener])


if __name__ == "__main__":
    main()
