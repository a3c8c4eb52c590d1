"""API routes that search the index and read its cases."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from fastapi.responses import FileResponse, Response

from bimcvr.search.server import schemas as api
from bimcvr.search.server.limits import ConcurrencyLimits
from bimcvr.search.server.options import ServerOptions
from bimcvr.search.server.service import SearchService

_Case = Annotated[api.CaseName, Query(description="the case's name")]


def add_search_routes(app: FastAPI, service: SearchService, limits: ConcurrencyLimits, options: ServerOptions) -> None:
    """Add the routes for facts about the index, ranked cases and raw scores.

    Args:
        app: the application.
        service: serves the index.
        limits: how much is done at a time.
        options: how the server is run.
    """

    async def facts() -> api.IndexFacts:
        return await limits.run_at_rows(lambda: service.snapshot().facts(options.max_upload_mib))

    async def search(request: api.SearchRequest) -> api.SearchResponse:
        return await limits.run_at_model(lambda: service.snapshot().search(request))

    async def more_like(request: api.LikeRequest) -> api.SearchResponse:
        return await limits.run_at_model(lambda: service.snapshot().more_like(request))

    async def judge(request: api.JudgementRequest) -> api.JudgementResponse:
        await limits.run_at_rows(lambda: service.judge(request))
        return api.JudgementResponse()

    async def counts(request: api.CountsRequest) -> api.CountsResponse:
        return await limits.run_at_rows(lambda: service.snapshot().counts(request))

    async def relevance(request: api.RelevanceRequest) -> api.RelevanceResponse:
        return await limits.run_at_model(lambda: service.snapshot().relevance(request))

    async def relevant_slices(request: api.RelevanceRequest) -> api.RelevantSlicesResponse:
        return await limits.run_at_model(lambda: service.snapshot().relevant_slices(request))

    async def reasons(request: api.ReasonsRequest) -> api.ReasonsResponse:
        return await limits.run_at_model(lambda: service.snapshot().reasons(request))

    async def scores(request: api.ScoresRequest) -> api.ScoresResponse:
        return await limits.run_at_model(lambda: service.snapshot().scores(request))

    app.add_api_route(
        "/api/index",
        facts,
        summary="What the index is, with its labels and columns and their counts",
        responses=api.ERROR_RESPONSES,
    )
    asked: tuple[tuple[str, Callable[..., Any], str], ...] = (
        ("search", search, "Search by text, keyword, case or words"),
        ("search/like", more_like, "More cases like some, and unlike others (Rocchio)"),
        ("counts", counts, "How many studies are left under some filters, with each label and value"),
        ("judgements", judge, "Write down whether a case fits a query, for evaluate --judgements"),
        ("relevance", relevance, "Where in a case the model looks for a query; no diagnosis"),
        ("relevance/slices", relevant_slices, "Pictures of a case through the place where the model looks most"),
        ("reasons", reasons, "Why a case is a hit of a query: sentences of its report, shared labels, denials"),
        ("scores", scores, "A query's score with every study"),
    )
    for path, answer, summary in asked:
        app.add_api_route(f"/api/{path}", answer, methods=["POST"], summary=summary, responses=api.ERROR_RESPONSES)


def add_case_routes(app: FastAPI, service: SearchService, limits: ConcurrencyLimits) -> None:
    """Add the routes for a case, its thumbnails and its volume.

    Args:
        app: the application.
        service: serves the index.
        limits: how much is done at a time.
    """

    async def case(case: _Case) -> api.CaseResponse:
        return await limits.run_at_model(lambda: service.snapshot().case(case))

    async def opening(case: _Case) -> api.OpeningResponse:
        return await limits.run_at_model(lambda: service.snapshot().opening(case))

    async def thumbnail(case: _Case, plane: Literal["axial", "coronal", "sagittal"] = "axial") -> Response:
        content = await limits.run_at_rows(lambda: service.snapshot().thumbnail(case, plane))
        return Response(content, media_type="image/jpeg")

    async def volume(case: _Case) -> Response:
        path = await limits.run_at_model(lambda: service.snapshot().volume(case))
        return FileResponse(path, media_type="application/gzip")

    app.add_api_route(
        "/api/case",
        case,
        summary="Report, labels, grid and nearest cases of a case",
        responses=api.ERROR_RESPONSES,
    )
    app.add_api_route(
        "/api/opening",
        opening,
        summary="The axial slice of a case that differs most from the mean of the index's volumes; no finding",
        responses=api.ERROR_RESPONSES,
    )
    app.add_api_route(
        "/api/thumbnail",
        thumbnail,
        summary="A slice through the middle of a case, JPEG",
        responses={**api.ERROR_RESPONSES, 200: api.file_response("image/jpeg")},
        response_class=Response,
    )
    app.add_api_route(
        "/api/volume",
        volume,
        summary="A case's source volume on its own grid: int16 HU, compressed NIfTI",
        responses={**api.ERROR_RESPONSES, 200: api.file_response("application/gzip")},
        response_class=Response,
    )
