"""Routes for a page and its files. They come from a fixed list: no other file is served, whatever its name."""

from pathlib import Path
from typing import Literal

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel

SHARED = Path(__file__).parent / "web"
"""The style and scripts that all pages use."""

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


class Health(BaseModel):
    """That the server is running."""

    status: Literal["ok"] = "ok"


def add_page_routes(app: FastAPI, folder: Path) -> None:
    """Serve a page, its files and the shared ones, and `/health`.

    Args:
        app: the application.
        folder: has the page's `index.html` and its other files.
    """
    files = {path.name: path for path in (*SHARED.iterdir(), *folder.iterdir()) if path.suffix in _MEDIA_TYPES}

    async def page() -> Response:
        return FileResponse(files["index.html"], media_type=_MEDIA_TYPES[".html"])

    async def page_file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "There is no such file.")
        return FileResponse(files[name], media_type=_MEDIA_TYPES[files[name].suffix])

    async def health() -> Health:
        return Health()

    app.add_api_route("/", page, include_in_schema=False)
    app.add_api_route("/page/{name}", page_file, include_in_schema=False)
    app.add_api_route("/health", health, summary="Report that the server is running; needs no token")
