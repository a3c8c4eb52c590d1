"""The HTTP application: the API over an index, and the page's files. Texts, ids and reports are never logged."""

from pathlib import Path
from typing import cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from bimcvr import __version__
from bimcvr.search.server import schemas as api
from bimcvr.search.server.limits import ConcurrencyLimits
from bimcvr.search.server.options import ServerOptions
from bimcvr.search.server.search_routes import add_case_routes, add_search_routes
from bimcvr.search.server.service import SearchService
from bimcvr.search.server.snapshot import CaseNotFound
from bimcvr.search.server.upload_routes import UPLOAD_PATHS, add_upload_routes
from bimcvr.search.uploading.series_choice import SeveralSeries
from bimcvr.serving.error_answers import add_error_handlers
from bimcvr.serving.middleware import SecurityMiddleware
from bimcvr.serving.page_files import add_page_routes

PAGE = Path(__file__).parent / "web"
"""The page's own files."""


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
    add_page_routes(app, PAGE)
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

    app.add_exception_handler(CaseNotFound, not_found)
    app.add_exception_handler(SeveralSeries, several)
    add_error_handlers(app, service.public_message, "the index")
