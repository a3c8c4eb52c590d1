"""The HTTP application: the API over an index, and the page's files. Texts, ids and reports are never logged."""

import errno
import logging
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response

from bimcvr import __version__
from bimcvr.errors import UserError
from bimcvr.search.server import schemas as api
from bimcvr.search.server.limits import ConcurrencyLimits
from bimcvr.search.server.middleware import SecurityMiddleware
from bimcvr.search.server.options import ServerOptions
from bimcvr.search.server.search_routes import add_case_routes, add_search_routes
from bimcvr.search.server.service import SearchService
from bimcvr.search.server.snapshot import CaseNotFound
from bimcvr.search.server.upload_routes import UPLOAD_PATHS, add_upload_routes
from bimcvr.search.uploading.series_choice import SeveralSeries

PAGE = Path(__file__).parent / "web"
"""The page's files; no other file is served by name."""

_log = logging.getLogger("bimcvr.serve")
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


def create_app(service: SearchService, options: ServerOptions) -> SecurityMiddleware:
    """Return the ASGI application over an index.

    Args:
        service: serves the index.
        options: how the server is run.

    Returns:
        The application, inside the middleware that checks host, origin, token and size of each request.
    """
    app = FastAPI(
        title="bimcvr search",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        description="Search CT studies by text, keyword, case and volume.",
    )
    limits = ConcurrencyLimits()
    _add_error_handlers(app, service)
    _add_page_routes(app)
    add_search_routes(app, service, limits, options)
    add_case_routes(app, service, limits)
    add_upload_routes(app, service, limits, options)
    return SecurityMiddleware(app, options.hosts, options.token, options.max_upload_mib * 2**20, UPLOAD_PATHS)


def _add_error_handlers(app: FastAPI, service: SearchService) -> None:
    async def not_found(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 404)

    async def several(_: Request, error: Exception) -> Response:
        choice = cast(SeveralSeries, error)
        answer = api.SeveralSeriesResponse(
            detail=service.public_message(choice), series=[api.SeriesOut(**vars(one)) for one in choice.series]
        )
        return JSONResponse(answer.model_dump(), 409)

    async def refused(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": service.public_message(cast(UserError, error))}, 422)

    async def unwritable(_: Request, error: Exception) -> Response:
        refused_write = cast(OSError, error)
        if refused_write.errno not in _UNWRITABLE:
            raise error
        _log.error("nothing can be written to the disk of the index: %s", refused_write.strerror)
        told = "The server cannot write to its disk: who runs it has to free some space, or give it the right. Nothing"
        return JSONResponse({"detail": f"{told} of the request was kept."}, 507)

    async def invalid(_: Request, error: Exception) -> Response:
        errors = cast(RequestValidationError, error).errors()
        return JSONResponse({"detail": "; ".join(map(_describe_invalid, errors))}, 422)

    app.add_exception_handler(CaseNotFound, not_found)
    app.add_exception_handler(SeveralSeries, several)
    app.add_exception_handler(UserError, refused)
    app.add_exception_handler(OSError, unwritable)
    app.add_exception_handler(RequestValidationError, invalid)


def _describe_invalid(error: dict[str, Any]) -> str:
    """Say what is wrong with a request without repeating what was sent: it may be a report."""
    if error["type"] == "extra_forbidden":
        return "the request has an unknown field"
    if error["type"] == "json_invalid":
        return "the body is not JSON"
    return f"{' '.join(map(str, error['loc'][1:])) or 'the body'}: {error['msg']}"


def _add_page_routes(app: FastAPI) -> None:
    files = {path.name: path for path in PAGE.iterdir() if path.suffix in _MEDIA_TYPES}

    async def page() -> Response:
        return FileResponse(files["index.html"], media_type=_MEDIA_TYPES[".html"])

    async def page_file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "There is no such file.")
        return FileResponse(files[name], media_type=_MEDIA_TYPES[files[name].suffix])

    async def health() -> api.Health:
        return api.Health()

    app.add_api_route("/", page, include_in_schema=False)
    app.add_api_route("/page/{name}", page_file, include_in_schema=False)
    app.add_api_route("/health", health, summary="Report that the server is running; needs no token")
