"""The HTTP server: the API over an index, and the page's files. Texts, ids and reports are never logged."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from bimcvr import __version__
from bimcvr.errors import UserError
from bimcvr.search.index.viewer_volumes import write_nifti
from bimcvr.search.server import schemas as api
from bimcvr.search.server.middleware import LOOPBACK, Receive, Scope, SecurityMiddleware, Send
from bimcvr.search.server.service import CaseNotFound, SearchService
from bimcvr.search.server.uploads import open_upload, suffix_of, upload_folder

PAGE = Path(__file__).parent / "web"
"""The page's files; nothing else of the disk is served by name."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_UPLOADS = frozenset({"/api/search/volume", "/api/convert"})
_WAITING = 8
"""Uploads that may wait for their turn; more are told to come again."""

_Where = TypeAdapter(list[api.Condition])
_T = TypeVar("_T")


@dataclass(frozen=True)
class ServerOptions:
    """How a server is run.

    Attributes:
        token: what clients must bear; empty asks for none.
        hosts: names by which it may be addressed.
        max_upload_mib: the limit of an upload, MiB.
        upload_seconds: how long one may take to arrive.
    """

    token: str = ""
    hosts: tuple[str, ...] = LOOPBACK
    max_upload_mib: int = 1024
    upload_seconds: float = 600.0


class _Turns:
    """Whose turn it is: one at the model or at a whole volume, four at the rows, one upload on the disk."""

    def __init__(self) -> None:
        self.model, self.rows, self.upload = CapacityLimiter(1), CapacityLimiter(4), asyncio.Semaphore(1)
        # one thread for good: each that calls torch keeps buffers and workers of its own
        self._thread = ThreadPoolExecutor(1, "model")
        self.uploads = 0

    async def at_model(self, do: Callable[[], _T]) -> _T:
        async with self.model:
            with CancelScope(shield=True):
                result = await asyncio.wrap_future(self._thread.submit(do))
            return result

    async def at_rows(self, do: Callable[[], _T]) -> _T:
        return await to_thread.run_sync(do, limiter=self.rows)

    @asynccontextmanager
    async def uploading(self) -> AsyncIterator[None]:
        """Wait for the place on the disk before a body is read: others' bodies stay with their senders."""
        if self.uploads > _WAITING:
            raise HTTPException(429, "Too many volumes are waiting. Try again in a minute.", {"retry-after": "60"})
        self.uploads += 1
        try:
            async with self.upload:
                yield
        finally:
            self.uploads -= 1


def create_app(service: SearchService, options: ServerOptions) -> SecurityMiddleware:
    """Return the whole application over an index."""
    app = FastAPI(
        title="bimcvr search",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        description="Search of CT studies by text, keyword, case and volume.",
    )
    turns = _Turns()
    _add_faults(app, service)
    _add_pages(app)
    _add_questions(app, service, turns, options)
    _add_cases(app, service, turns)
    _add_uploads(app, service, turns, options)
    return SecurityMiddleware(app, options.hosts, options.token, options.max_upload_mib * 2**20, _UPLOADS)


def _add_faults(app: FastAPI, service: SearchService) -> None:
    async def unknown(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 404)

    async def refused(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": service.plain(cast(UserError, error))}, 422)

    async def invalid(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "; ".join(map(_invalid, cast(RequestValidationError, error).errors()))}, 422)

    app.add_exception_handler(CaseNotFound, unknown)
    app.add_exception_handler(UserError, refused)
    app.add_exception_handler(RequestValidationError, invalid)


def _invalid(fault: dict[str, Any]) -> str:
    """Say what is wrong with a request without sending back what was sent: it may be a report."""
    if fault["type"] in ("extra_forbidden", "json_invalid"):
        return {"extra_forbidden": "there is a field that is not known", "json_invalid": "the body is no JSON"}[
            fault["type"]
        ]
    return f"{' '.join(map(str, fault['loc'][1:])) or 'the body'}: {fault['msg']}"


def _add_pages(app: FastAPI) -> None:
    files = {path.name: path for path in PAGE.iterdir() if path.suffix in _TYPES}

    async def page() -> Response:
        return FileResponse(files["index.html"], media_type=_TYPES[".html"])

    async def page_file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "There is no such file.")
        return FileResponse(files[name], media_type=_TYPES[files[name].suffix])

    async def health() -> api.Health:
        return api.Health()

    app.add_api_route("/", page, include_in_schema=False)
    app.add_api_route("/page/{name}", page_file, include_in_schema=False)
    app.add_api_route("/health", health, summary="Tell that the server answers; asks for no token")


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": api.ErrorResponse, "description": text}
    for status, text in {
        400: "malformed, or a host name not served",
        401: "the token is missing or wrong",
        403: "sent by another site's page",
        404: "no such case",
        413: "too large",
        422: "refused, with the reason",
        429: "too many uploads waiting",
    }.items()
}


def _add_questions(app: FastAPI, service: SearchService, turns: _Turns, options: ServerOptions) -> None:
    async def facts() -> api.IndexFacts:
        return await turns.at_rows(lambda: service.snapshot().facts(options.max_upload_mib))

    async def search(asked: api.SearchRequest) -> api.SearchResponse:
        return await turns.at_model(lambda: service.snapshot().search(asked))

    async def scores(asked: api.ScoresRequest) -> api.ScoresResponse:
        return await turns.at_model(lambda: service.snapshot().scores(asked))

    app.add_api_route(
        "/api/index", facts, summary="What the index is, its labels and columns with counts", responses=_ERRORS
    )
    app.add_api_route(
        "/api/search", search, methods=["POST"], summary="Search by text, keyword, case or words", responses=_ERRORS
    )
    app.add_api_route(
        "/api/scores", scores, methods=["POST"], summary="A query's score with every study", responses=_ERRORS
    )


_Case = Annotated[api.CaseName, Query(description="the case's name")]


def _add_cases(app: FastAPI, service: SearchService, turns: _Turns) -> None:
    async def case(case: _Case) -> api.CaseResponse:
        return await turns.at_model(lambda: service.snapshot().case(case))

    async def thumbnail(case: _Case, plane: Literal["axial", "coronal", "sagittal"] = "axial") -> Response:
        content = await turns.at_rows(lambda: service.snapshot().thumbnail(case, plane))
        return Response(content, media_type="image/jpeg")

    async def volume(case: _Case) -> Response:
        path = await turns.at_model(lambda: service.snapshot().volume(case))
        return FileResponse(path, media_type="application/gzip")

    def media(kind: str) -> dict[int | str, dict[str, Any]]:
        return {
            **_ERRORS,
            200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}, "description": "the file"},
        }

    app.add_api_route("/api/case", case, summary="Report, labels, grid and nearest cases of a case", responses=_ERRORS)
    app.add_api_route(
        "/api/thumbnail",
        thumbnail,
        summary="A slice through a case's middle, JPEG",
        responses=media("image/jpeg"),
        response_class=Response,
    )
    app.add_api_route(
        "/api/volume",
        volume,
        summary="A case's source volume on its own grid: int16 HU, compressed NIfTI",
        responses=media("application/gzip"),
        response_class=Response,
    )


def _where(where: Annotated[str, Query(max_length=6000, description="a JSON list of conditions")] = "[]") -> list[str]:
    try:
        return _Where.validate_json(where)
    except ValidationError as error:
        raise HTTPException(422, 'where is no JSON list of conditions, like ["labels = nodule"].') from error


def _add_uploads(app: FastAPI, service: SearchService, turns: _Turns, options: ServerOptions) -> None:
    name_of_file = Annotated[
        str, Query(min_length=1, max_length=300, description="the file's name: its ending says what it is")
    ]
    body = {
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    }

    async def take(request: Request, name: str, held: AsyncExitStack, do: Callable[[Path], _T]) -> _T:
        """Write a body to a folder of its own and do something with the volume in it.

        The folder is deleted when `held` is closed.
        """
        suffix = suffix_of(name)
        await held.enter_async_context(turns.uploading())
        folder = held.enter_context(upload_folder(service.uploads))
        file = folder / f"upload{suffix}"
        await _receive(request, file, options.upload_seconds)
        return await turns.at_model(lambda: do(open_upload(file, folder)))

    async def search_volume(
        request: Request,
        name: name_of_file,
        where: Annotated[list[str], Depends(_where)],
        into: api.Into = "image",
        top: Annotated[int, Query(ge=1, le=api.MOST_HITS)] = 20,
        condition: Annotated[api.Joined, Query(description=api.JOINED)] = "",
    ) -> api.SearchResponse:
        if service.model is None:
            raise HTTPException(422, "This index is served without a model: no volume can be asked.")
        async with AsyncExitStack() as held:
            return await take(request, name, held, partial(_search_volume, service, top, where, condition, into))

    async def convert(request: Request, name: name_of_file) -> Response:
        async with AsyncExitStack() as held:
            path = await take(request, name, held, _convert)
            return _SentOnce(path, held.pop_all(), options.upload_seconds)

    app.add_api_route(
        "/api/search/volume",
        search_volume,
        methods=["POST"],
        openapi_extra=body,
        responses=_ERRORS,
        summary="Search by a volume (.nii, .nii.gz, .mha, .nrrd, or a .zip of one DICOM series); nothing of it is kept",
    )
    app.add_api_route(
        "/api/convert",
        convert,
        methods=["POST"],
        openapi_extra=body,
        response_class=Response,
        summary="A volume as the reader sees it: int16 HU, compressed NIfTI; nothing of it is kept",
        responses={
            **_ERRORS,
            200: {"content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}},
        },
    )


def _search_volume(
    service: SearchService, top: int, where: list[str], condition: str, into: api.Into, source: Path
) -> api.SearchResponse:
    return service.snapshot().search_volume(source, top, where, condition, into)


def _convert(source: Path) -> Path:
    from bimcvr.data.reading.volume import read_volume

    # beside the upload, and deleted with it
    converted = source.parent / "converted.nii.gz"
    write_nifti(read_volume(source), converted)
    return converted


class _SentOnce(FileResponse):
    """A file that is deleted once it is sent, or was not taken in time."""

    def __init__(self, path: Path, held: AsyncExitStack, seconds: float) -> None:
        super().__init__(path, media_type="application/gzip")
        self._held, self._seconds = held, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held, asyncio.timeout(self._seconds):
            await super().__call__(scope, receive, send)


async def _receive(request: Request, file: Path, seconds: float) -> None:
    received = 0
    try:
        async with asyncio.timeout(seconds):
            with file.open("wb") as out:
                async for chunk in request.stream():
                    await to_thread.run_sync(out.write, chunk)
                    received += len(chunk)
    except ClientDisconnect as error:
        raise HTTPException(400, "The volume did not arrive whole.") from error
    except TimeoutError as error:
        raise HTTPException(408, f"The volume did not arrive within {math.ceil(seconds)} seconds.") from error
    if not received:
        raise HTTPException(422, "Nothing was sent: the body is the file itself.")
