"""The review page as an HTTP application. Reports, names and answers are never logged."""

from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response

from bimcvr import __version__
from bimcvr.curation.labels.keyword_library import read_library
from bimcvr.curation.review.answers import Answer, AnswerChanged, answer_of
from bimcvr.curation.review.page import schemas as api
from bimcvr.curation.review.page.cohort import Mark
from bimcvr.curation.review.page.desk import Asked, QuestionNotFound, ReviewDesk
from bimcvr.curation.review.page.pictures import PLANES, WINDOWS, Pictures, Plane, Window
from bimcvr.data.manifest import split_list
from bimcvr.data.reading.grid import GridRules
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.errors import UserError, without_addresses
from bimcvr.serving.error_answers import add_error_handlers
from bimcvr.serving.middleware import LOOPBACK, SecurityMiddleware
from bimcvr.serving.page_files import add_page_routes

PAGE = Path(__file__).parent / "web"
"""The page's own files."""


def create_review_app(desk: ReviewDesk, rules: GridRules, token: str = "") -> SecurityMiddleware:
    """Return the ASGI application over a review queue.

    Args:
        desk: the queue.
        rules: which grids of volumes are accepted.
        token: what clients must send as `Authorization: Bearer …`; empty for none.

    Returns:
        The application, inside the middleware that checks host, origin, token and size of each request.
    """
    app = FastAPI(title="bimcvr review", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)

    def public_message(error: UserError) -> str:
        if isinstance(error, RefusedVolume):
            _, _, wrong, remedy = error.args
            return f"The volume {wrong} {remedy}"
        return without_addresses(str(error)).replace(f"{desk.folder}/", "")

    async def not_found(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 404)

    async def changed(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 409)

    app.add_exception_handler(QuestionNotFound, not_found)
    app.add_exception_handler(AnswerChanged, changed)
    add_error_handlers(app, public_message, "the review queue")
    add_page_routes(app, PAGE)
    _add_queue_routes(app, desk)
    _add_picture_routes(app, desk, Pictures(rules))
    return SecurityMiddleware(app, LOOPBACK, token, 0, frozenset())


# routes are plain functions: FastAPI runs them in threads, since they read files


def _add_queue_routes(app: FastAPI, desk: ReviewDesk) -> None:
    def queue(reviewer: api.Reviewer = "") -> api.QueueResponse:
        return _queue(desk, reviewer)

    def question(question: api.Name) -> api.QuestionResponse:
        return _details(desk, desk.question(question))

    def answer(request: api.AnswerRequest) -> api.AnswerResponse:
        before = desk.revision
        asked = desk.answer(request.question, request.reviewer, _answer(request.answer), _answer(request.before))
        return api.AnswerResponse(
            question=_question(desk, asked, request.reviewer),
            revision_before=before,
            revision=desk.revision,
            open_elsewhere=desk.open_elsewhere(),
        )

    def overwritten(request: api.OverwrittenRequest) -> api.QueueResponse:
        desk.settle_overwritten(request.reviewer, request.write)
        return _queue(desk, request.reviewer)

    app.add_api_route("/api/queue", queue)
    app.add_api_route("/api/question", question)
    app.add_api_route("/api/answer", answer, methods=["POST"])
    app.add_api_route("/api/overwritten", overwritten, methods=["POST"])


def _add_picture_routes(app: FastAPI, desk: ReviewDesk, pictures: Pictures) -> None:
    def volume(question: api.Name) -> api.VolumeResponse:
        stack = pictures.stack(*desk.volume(desk.question(question).question.study_id))
        return api.VolumeResponse(
            slices=dict(zip(PLANES, stack.counts, strict=True)),
            windows={str(name): limits for name, limits in WINDOWS.items()},
            source_size=stack.source_size,
            source_spacing_mm=stack.source_spacing,
        )

    def picture(
        question: api.Name,
        plane: Plane,
        number: Annotated[int | None, Query(ge=0)] = None,
        window: Window = "chest",
    ) -> Response:
        path, size = desk.volume(desk.question(question).question.study_id)
        return Response(pictures.slice(path, size, plane, number, window), media_type="image/jpeg")

    app.add_api_route("/api/volume", volume)
    app.add_api_route("/api/picture", picture, response_class=Response)


def _queue(desk: ReviewDesk, reviewer: str) -> api.QueueResponse:
    manifest, questions = desk.cohort.manifest, desk.asked()
    synthetic: Literal["all", "some", "none"] = "none"
    if manifest.is_phantom:
        synthetic = "some" if manifest.has_patients else "all"
    known = set(read_library().keywords)
    reviewers = {review.reviewer for asked in questions.values() for review in asked.reviews if review.reviewer}
    return api.QueueResponse(
        file=desk.queue.name,
        synthetic=synthetic,
        revision=desk.revision,
        open_elsewhere=desk.open_elsewhere(),
        reviewers=sorted(reviewers),
        labels=sorted(known.union(desk.cohort.labels())),
        overwritten=desk.overwritten(reviewer),
        questions=[_question(desk, asked, reviewer) for asked in questions.values()],
    )


def _question(desk: ReviewDesk, asked: Asked, reviewer: str) -> api.QuestionOut:
    mine = answer_of(asked.reviews, reviewer)
    labels = None if mine.labels is None else sorted(mine.labels)
    return api.QuestionOut(
        question=asked.name,
        study=asked.question.study_id,
        patient=desk.cohort.patient(asked.question.study_id),
        kinds=desk.cohort.kinds(asked.question),
        failed=asked.failed,
        superseded=asked.superseded,
        others=asked.others(reviewer),
        mine=api.AnswerModel.model_construct(decision=mine.decision, corrected=mine.corrected, labels=labels),
    )


def _details(desk: ReviewDesk, asked: Asked) -> api.QuestionResponse:
    cohort, question = desk.cohort, asked.question
    in_report, in_original = cohort.marks(question)
    original = cohort.original(question)
    return api.QuestionResponse(
        question=asked.name,
        study=question.study_id,
        report=_text(question.report, in_report),
        original=_text(original, in_original) if original else None,
        flags=[api.FlagOut(**vars(flag)) for flag in cohort.flags(question)],
        labels=sorted(split_list(cohort.cell(question.study_id, "labels"))),
        labels_source=cohort.cell(question.study_id, "labels_source"),
        archive_labels=sorted(split_list(cohort.cell(question.study_id, "archive_labels"))),
    )


def _text(text: str, marks: list[Mark]) -> api.TextOut:
    return api.TextOut(text=text, marks=[api.MarkOut(start=mark.start, end=mark.end, kind=mark.flag) for mark in marks])


def _answer(model: api.AnswerModel) -> Answer:
    return Answer(model.decision, model.corrected, None if model.labels is None else frozenset(model.labels))
