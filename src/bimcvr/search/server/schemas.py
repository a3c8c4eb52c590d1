"""Requests and responses of the API, from which its OpenAPI schema is made."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from bimcvr.serving.valid_text import valid_text

MOST_HITS = 200


QueryText = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(valid_text)]
ConditionText = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(valid_text)]
JoinedConditions = Annotated[str, Field(max_length=300), AfterValidator(valid_text)]
CaseName = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(valid_text)]
Into = Literal["image", "report"]

CONDITIONS = "conditions that must all hold, like `labels = nodule` or `age >= 60`"
JOINED_CONDITIONS = (
    "further conditions in one text, joined by `and`: `sex = F and age >= 60`; a value that contains a separate `and`"
    " must be in quotes"
)


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScoresRequest(_StrictModel):
    """A query whose score with every study is wanted."""

    mode: Literal["text", "keyword", "study"] = Field(
        description="free text, a keyword of the index, or the volume of a case"
    )
    query: QueryText = Field(description="the text, the keyword, or the case's name")
    into: Into = Field("image", description="compare with the studies' volumes or with their reports")
    where: list[ConditionText] = Field([], max_length=20, description=CONDITIONS)
    condition: JoinedConditions = Field("", description=JOINED_CONDITIONS)


class RelevanceRequest(_StrictModel):
    """A case, and a query whose place in it is wanted."""

    case: CaseName = Field(description="the case's name")
    mode: Literal["text", "keyword", "study"] = Field(
        description="free text, a keyword of the index, or the volume of a case"
    )
    query: QueryText = Field(description="the text, the keyword, or the case's name")


class SearchRequest(_StrictModel):
    """A query."""

    mode: Literal["text", "keyword", "study", "words"] = Field(
        description="free text, a keyword of the index, the volume of a case, or words that occur in reports"
    )
    query: QueryText = Field(description="the text, the keyword, the case's name, or the words")
    into: Into = Field("image", description="rank the studies' volumes or their reports")
    hybrid: bool | None = Field(
        None,
        description="fuse the ranking by vectors with the one by the words of the reports (text, keyword); by default"
        " where volumes are ranked and the query names a finding",
    )
    where: list[ConditionText] = Field([], max_length=20, description=CONDITIONS)
    condition: JoinedConditions = Field("", description=JOINED_CONDITIONS)
    top: int = Field(20, ge=1, le=MOST_HITS, description="how many cases to return")

    @model_validator(mode="after")
    def _options_fit_mode(self) -> Self:
        """Refuse options that the mode would ignore, as the command `search` does."""
        if self.hybrid and self.mode not in ("text", "keyword"):
            raise ValueError(f"hybrid fuses with the query's words, and a query by {self.mode} has none to fuse")
        if self.mode == "words" and "into" in self.model_fields_set and self.into == "image":
            raise ValueError("words ranks reports by the words that they contain, no volumes")
        return self


class LikeRequest(_StrictModel):
    """Cases that fit and cases that do not: more like the first."""

    relevant: list[CaseName] = Field(min_length=1, max_length=MOST_HITS, description="names of cases that fit")
    not_relevant: list[CaseName] = Field([], max_length=MOST_HITS, description="names of cases that do not")
    text: Annotated[str, Field(max_length=4000), AfterValidator(valid_text)] = Field(
        "", description="the query by text or keyword that they were judged for"
    )
    into: Into = Field("image", description="rank the studies' volumes or their reports")
    where: list[ConditionText] = Field([], max_length=20, description=CONDITIONS)
    condition: JoinedConditions = Field("", description=JOINED_CONDITIONS)
    top: int = Field(20, ge=1, le=MOST_HITS, description="how many cases to return")


class CountsRequest(_StrictModel):
    """Filters whose counts are wanted."""

    where: list[ConditionText] = Field(
        [], max_length=20, description=f"{CONDITIONS}; one on a column does not count among that column's values"
    )
    condition: JoinedConditions = Field("", description=JOINED_CONDITIONS)


class JudgementRequest(_StrictModel):
    """Whether a case fits a query."""

    mode: Literal["text", "keyword", "study"] = Field(description="as of the search")
    query: QueryText = Field(description="as of the search")
    case: CaseName = Field(description="the case's name")
    relevant: bool | None = Field(description="null takes an earlier judgement back")


class JudgementResponse(BaseModel):
    """That a judgement was written."""

    saved: Literal[True] = True


class ErrorResponse(BaseModel):
    """Why a request was refused."""

    detail: str


class SeriesOut(BaseModel):
    """One of several series of an upload."""

    series: int = Field(description="what to send as `series` to choose it")
    description: str
    modality: str
    slices: int
    kernel: str
    thickness_mm: str


class SeveralSeriesResponse(ErrorResponse):
    """An upload has several series that could be meant."""

    series: list[SeriesOut]


class HighlightOut(BaseModel):
    """A part of a report that matches the query, in Unicode characters."""

    start: int
    end: int
    kind: Literal["word", "present", "absent", "uncertain", "history"] = Field(
        description="a word of the query; or for the finding that was searched for, what the report says of it"
    )


class HitOut(BaseModel):
    """A case in a ranking."""

    rank: int
    case: str = Field(description="its name: the study_id, or an opaque name that is valid until the server ends")
    score: float
    labels: list[str]
    report: str
    spans: list[HighlightOut]
    columns: dict[str, str] = Field(description="the columns with few distinct values")
    thumbnails: bool = Field(description="whether there are thumbnails")
    patient: str = Field(description="the patient's id; empty where the index has none, or ids are hidden")
    day: str = Field(description="of the study, like 2020-03-31; empty where the index has no such date")
    repeats: str = Field(description="the best-ranked hit with the same report or volume; empty if there is none")
    repeats_why: Literal["", "report", "volume"] = Field(description="what both have in common")


class SearchResponse(BaseModel):
    """The results of a query."""

    hits: list[HitOut]
    candidates: int = Field(description="how many studies pass the filters")
    score_is: str = Field(description="what the score is")
    hybrid: bool = Field(description="whether the rankings by vectors and by words were fused")
    measured: str = Field(description="how well the model finds the keyword by volumes alone; empty if not measured")
    query_parts: list[str] = Field(description="what the text encoder read: the sentences of a text, or prompts")
    notes: list[str] = Field(description="reasons to distrust the results")
    seconds: float
    encode_seconds: float


class ScoresResponse(BaseModel):
    """A query's score with every study that passes the filters."""

    cases: list[str]
    scores: list[float] = Field(description="cosines, float64")


class RelevanceResponse(BaseModel):
    """Where in a case the model looks for a query. It is no diagnosis."""

    score: float = Field(description="the cosine of the case's volume and the query")
    speaks: bool = Field(description="whether any part of the volume speaks for the query; if not, the map is empty")
    made_of: Literal["maps", "tokens", "gradients"] = Field(
        description="maps of the encoder's stages, its tokens, or gradients of its input"
    )
    token_mm: tuple[float, float, float] = Field(description="size of a part of the map: slices, rows, columns")
    peak_mm: tuple[float, float, float] = Field(description="the highest place, in the mm of the NIfTI of `api/volume`")
    note: str = Field(description="what the model does not see of the volume")
    map: str = Field(description="base64 of a compressed NIfTI in the same mm: uint8, 255 at the highest place")


class RelevantSlice(BaseModel):
    """A slice of a case through the place where the model looks most for a query."""

    plane: str = Field(description="`axial`, `coronal` or `sagittal`")
    number: int = Field(description="of the slice, from 1 on: from the feet, the front, the patient's right")
    slices: int = Field(description="how many the volume has in this direction")
    picture: str = Field(description="base64 of a JPEG in grey")
    map: str = Field(description="base64 of a PNG of the same size: the map, to lay over the picture")


class RelevantSlicesResponse(BaseModel):
    """Slices of a case through the place where the model looks most for a query. It is no diagnosis."""

    slices: list[RelevantSlice] = Field(description="none where no part of the volume speaks for the query")


class OpeningResponse(BaseModel):
    """The slice that a case opens at where the model says nothing. It is no finding."""

    slice: int | None = Field(description="of the axial slices from the feet, from 0; null: the index has no mean")
    volumes: int = Field(description="of how many volumes the mean is that this slice differs most from")


class ReasonsRequest(_StrictModel):
    """A case, and the query that it is a hit of."""

    case: CaseName = Field(description="the case's name")
    mode: Literal["text", "keyword", "study", "words"] = Field(description="as of the search")
    query: QueryText = Field(description="as of the search")


class SentenceOut(BaseModel):
    """A sentence of a report."""

    text: str
    score: float = Field(description="its cosine with the query, or how many of its parts match")


class ReasonsResponse(BaseModel):
    """Why a case is a hit of a query, as far as its report tells."""

    matching: list[SentenceOut] = Field(description="the sentences nearest to the query, best first")
    contrary: list[SentenceOut] = Field(description="those that deny what the query wants, or state what it denies")
    labels: list[str] = Field(description="labels that the case shares with the query")
    score_is: str = Field(description="what a sentence's score is")


class GridOut(BaseModel):
    """The grid of the source volume; its axes run left-right, front-back and bottom-top."""

    size: tuple[int, int, int] = Field(description="voxels")
    spacing_mm: tuple[float, float, float]
    obliquity: float = Field(description="degrees between the slices and the patient's axes")


class SeriesFactsOut(BaseModel):
    """What the manifest says of a case's series; empty where it says nothing, or where ids are hidden."""

    date: str = Field(description="of the study, as the manifest has it")
    day: str = Field(description="the same like 2020-03-31; empty where it is not for certain a date")
    kernel: str
    thickness: str = Field(description="of a slice, mm")
    contrast: str = Field(description="the contrast medium")


class PatientStudyOut(BaseModel):
    """Another case of the same patient."""

    case: str
    series: SeriesFactsOut
    days_later: int | None = Field(description="than the case that was asked for; negative: before it; null: unknown")
    labels: list[str]


class CaseResponse(BaseModel):
    """All that is shown of a case."""

    case: str
    report: str
    labels: list[str]
    columns: dict[str, str] = Field(description="of the manifest, other than what `series` says")
    grid: GridOut | None
    thumbnails: bool
    patient: str = Field(description="the patient's id; empty where the index has none, or ids are hidden")
    series: SeriesFactsOut
    same_patient: list[PatientStudyOut] = Field(description="other cases of the patient, the newest first")
    nearest: list[HitOut] = Field(description="the other cases with the nearest volumes")


class ValueCount(BaseModel):
    """A value and how many studies have it."""

    value: str
    count: int


class Keyword(ValueCount):
    """A label that can be searched for, and how well the model finds it by the volumes alone."""

    measured: str = Field(description="what `index` has measured, as a sentence; empty if nothing")
    better_than_chance: bool | None = Field(description="null where nothing was measured")


class CountsResponse(BaseModel):
    """How many studies are left under some filters, with each label and each value."""

    studies: int
    labels: dict[str, int] = Field(description="label → studies that pass the filters and have it")
    columns: dict[str, dict[str, int]] = Field(description="column → value → studies left if this value is chosen")


class Column(BaseModel):
    """A column with few distinct values."""

    name: str
    values: list[ValueCount]


class IndexFacts(BaseModel):
    """What the index is."""

    version: str
    studies: int
    patients: int | None = Field(description="null where the index has no patient ids")
    model: str
    created: str
    phantom: bool = Field(description="whether any study is synthetic")
    has_patients: bool = Field(description="whether any study is not synthetic")
    anonymous: bool
    can_embed: bool = Field(description="whether new texts and volumes can be searched for")
    why_not: str
    labels: list[ValueCount]
    keywords: list[Keyword] = Field(description="labels that can be searched for as a keyword")
    columns: list[Column] = Field(description="columns offered as filters, beside the labels")
    all_columns: list[str] = Field(description="columns that a condition may name")
    max_upload_mib: int
    lists: str = Field(description="the name under which a browser keeps its lists of cases of this index")


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": text}
    for status, text in {
        400: "malformed, or addressed by a host name that is not served",
        401: "the token is missing or wrong",
        403: "sent by another site's page",
        404: "no such case",
        413: "too large",
        422: "refused, with the reason",
        429: "too many uploads are waiting",
        507: "nothing can be written to the server's disk",
    }.items()
}
"""The error responses of every API route, for the OpenAPI schema."""


def file_response(media_type: str) -> dict[str, Any]:
    """Return the OpenAPI description of a response that is a file.

    Args:
        media_type: of the file.

    Returns:
        The description of status 200.
    """
    return {
        "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
        "description": "the file",
    }
