"""API routes that receive a volume, to search with it or to convert it; nothing of it is kept."""

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

from anyio import to_thread
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.search.index.viewer_volumes import write_nifti
from bimcvr.search.server import schemas as api
from bimcvr.search.server.limits import ConcurrencyLimits
from bimcvr.search.server.options import ServerOptions
from bimcvr.search.server.service import SearchService
from bimcvr.search.uploading.series_choice import SeveralSeries, list_series
from bimcvr.search.uploading.uploads import open_upload, suffix_of, upload_folder
from bimcvr.serving.middleware import Scope, Send
from bimcvr.serving.slow_clients import Receive

UPLOAD_PATHS = frozenset({"/api/search/volume", "/api/convert"})

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_FileName = Annotated[
    str, Query(min_length=1, max_length=300, description="the file's name; its ending gives the format")
]
_Series = Annotated[int | None, Query(ge=1, description="of a zip with several series, the one that is meant")]
_Where = TypeAdapter(list[api.ConditionText])
_T = TypeVar("_T")


def add_upload_routes(app: FastAPI, service: SearchService, limits: ConcurrencyLimits, options: ServerOptions) -> None:
    """Add the routes that take a volume as the request's body.

    Args:
        app: the application.
        service: serves the index.
        limits: how much is done at a time.
        options: how the server is run.
    """

    async def process(
        request: Request, name: str, series: int | None, stack: AsyncExitStack, work: Callable[[Path], _T]
    ) -> _T:
        """Write a body to a folder of its own and process the volume in it; closing `stack` deletes the folder."""
        suffix = suffix_of(name)
        await stack.enter_async_context(limits.uploading())
        folder = stack.enter_context(upload_folder(service.uploads))
        file = folder / f"upload{suffix}"
        await _receive(request, file, options.upload_seconds)
        return await limits.run_at_model(lambda: _work_on(open_upload(file, folder, series), work))

    async def search_volume(
        request: Request,
        name: _FileName,
        where: Annotated[list[str], Depends(_parse_where)],
        into: api.Into = "image",
        top: Annotated[int, Query(ge=1, le=api.MOST_HITS)] = 20,
        condition: Annotated[api.JoinedConditions, Query(description=api.JOINED_CONDITIONS)] = "",
        series: _Series = None,
    ) -> api.SearchResponse:
        if service.model is None:
            raise HTTPException(422, "This index is served without a model: it cannot be searched by a volume.")
        async with AsyncExitStack() as stack:
            return await process(
                request, name, series, stack, partial(_search_volume, service, top, where, condition, into)
            )

    async def convert(request: Request, name: _FileName, series: _Series = None) -> Response:
        async with AsyncExitStack() as stack:
            path = await process(request, name, series, stack, _convert)
            return _DeletedAfterSending(path, stack.pop_all(), options.upload_seconds)

    app.add_api_route(
        "/api/search/volume",
        search_volume,
        methods=["POST"],
        openapi_extra=_BODY,
        responses={**api.ERROR_RESPONSES, 409: {"model": api.SeveralSeriesResponse, "description": "choose a series"}},
        summary="Search by a volume (.nii, .nii.gz, .mha, .nrrd, or a .zip of a DICOM series); nothing of it is kept",
    )
    app.add_api_route(
        "/api/convert",
        convert,
        methods=["POST"],
        openapi_extra=_BODY,
        response_class=Response,
        summary="A volume as the reader reads it: int16 HU, compressed NIfTI; nothing of it is kept",
        responses={
            **api.ERROR_RESPONSES,
            409: {"model": api.SeveralSeriesResponse, "description": "choose a series"},
            200: api.file_response("application/gzip"),
        },
    )


def _parse_where(
    where: Annotated[str, Query(max_length=6000, description="a JSON list of conditions")] = "[]",
) -> list[str]:
    try:
        return _Where.validate_json(where)
    except ValidationError as error:
        raise HTTPException(422, 'where is not a JSON list of conditions, like ["labels = nodule"].') from error


def _work_on(source: Path, work: Callable[[Path], _T]) -> _T:
    """Read the volume; where several series of a zip could be meant, say which there are."""
    try:
        return work(source)
    except RefusedVolume as refusal:
        if refusal.reason == "several_series" and source.is_dir():
            series = list_series(source)
            if len(series) > 1:
                raise SeveralSeries(series) from refusal
        raise


def _search_volume(
    service: SearchService, top: int, where: list[str], condition: str, into: api.Into, source: Path
) -> api.SearchResponse:
    return service.snapshot().search_volume(source, top, where, condition, into)


def _convert(source: Path) -> Path:
    from bimcvr.data.reading.volume import read_volume

    # in the upload's folder, with which it is deleted
    converted = source.parent / "converted.nii.gz"
    write_nifti(read_volume(source), converted)
    return converted


class _DeletedAfterSending(FileResponse):
    """A file whose folder is deleted when it has been sent, or was not received in time."""

    def __init__(self, path: Path, stack: AsyncExitStack, seconds: float) -> None:
        super().__init__(path, media_type="application/gzip")
        self._stack, self._seconds = stack, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack, asyncio.timeout(self._seconds):
            await super().__call__(scope, receive, send)


async def _receive(request: Request, file: Path, seconds: float) -> None:
    """Write the request's body to a file.

    Raises:
        HTTPException: the body did not arrive completely or in time, or is empty.
    """
    received = 0
    try:
        async with asyncio.timeout(seconds):
            with file.open("wb") as out:
                async for chunk in request.stream():
                    await to_thread.run_sync(out.write, chunk)
                    received += len(chunk)
    except ClientDisconnect as error:
        raise HTTPException(400, "The volume did not arrive completely.") from error
    except TimeoutError as error:
        raise HTTPException(408, f"The volume did not arrive within {math.ceil(seconds)} seconds.") from error
    if not received:
        raise HTTPException(422, "Nothing was sent: the body must be the file itself.")
