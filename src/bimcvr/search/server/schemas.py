"""What the API takes and gives, as its OpenAPI schema states it."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MOST_HITS = 200


def _sound(text: str) -> str:
    """Refuse what is no text: lone surrogates cannot be encoded, control characters are in no query."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is not valid Unicode") from error
    if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text):
        raise ValueError("has control characters")
    return text


Text = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_sound)]
Condition = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_sound)]
Joined = Annotated[str, Field(max_length=300), AfterValidator(_sound)]
CaseName = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_sound)]
Into = Literal["image", "report"]


JOINED = (
    "further conditions in one text, joined by `and`: `sex = F and age >= 60`; a value with `and` in it stands in"
    " quotes"
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScoresRequest(_Strict):
    """A query whose scores with every study are wanted."""

    mode: Literal["text", "keyword", "study"] = Field(
        description="free text, a keyword of the index, or the volume of a case"
    )
    query: Text = Field(description="the text, the keyword, or the case's name")
    into: Into = Field("image", description="compare with the studies' volumes or with their reports")
    where: list[Condition] = Field(
        [], max_length=20, description="conditions that all hold, like `labels = nodule` or `age >= 60`"
    )
    condition: Joined = Field("", description=JOINED)


class SearchRequest(_Strict):
    """A query."""

    mode: Literal["text", "keyword", "study", "words"] = Field(
        description="free text, a keyword of the index, the volume of a case, or words that stand in reports"
    )
    query: Text = Field(description="the text, the keyword, the case's name, or the words")
    into: Into = Field("image", description="rank the studies' volumes or their reports")
    hybrid: bool = Field(
        False, description="fuse the ranking by vectors with the one by the words of the reports (text, keyword)"
    )
    where: list[Condition] = Field(
        [], max_length=20, description="conditions that all hold, like `labels = nodule` or `age >= 60`"
    )
    condition: Joined = Field("", description=JOINED)
    top: int = Field(20, ge=1, le=MOST_HITS)

    @model_validator(mode="after")
    def _heeded(self) -> Self:
        """Refuse what the query would not heed, as the verb `search` does."""
        if self.hybrid and self.mode not in ("text", "keyword"):
            raise ValueError(f"hybrid fuses with the query's words, and a query by {self.mode} has none to fuse")
        if self.mode == "words" and "into" in self.model_fields_set and self.into == "image":
            raise ValueError("words ranks reports by what they hold, no volumes")
        return self


class ErrorResponse(BaseModel):
    """Why a request was refused."""

    detail: str


class HighlightOut(BaseModel):
    """A part of a report that was asked for, counted in Unicode characters."""

    start: int
    end: int
    kind: Literal["word", "present", "absent", "uncertain", "history"] = Field(
        description="a word of the query; or the finding asked for, and what the report says of it"
    )


class HitOut(BaseModel):
    """A case in a ranking."""

    rank: int
    case: str = Field(description="its name: the study_id, or an opaque one that holds until the server ends")
    score: float
    labels: list[str]
    report: str
    spans: list[HighlightOut]
    columns: dict[str, str] = Field(description="the columns of few values")
    thumbnails: bool = Field(description="whether there are pictures")


class SearchResponse(BaseModel):
    """The answer to a query."""

    hits: list[HitOut]
    among: int = Field(description="how many studies pass the filters")
    score_is: str = Field(description="what the score is")
    asked: list[str] = Field(description="what the text encoder read")
    notes: list[str] = Field(description="why to doubt it")
    seconds: float
    encode_seconds: float


class ScoresResponse(BaseModel):
    """A query's score with every study that passes the filters."""

    cases: list[str]
    scores: list[float] = Field(description="cosines, float64")


class GridOut(BaseModel):
    """The source volume's own grid; its axes run left-right, front-back and bottom-top."""

    size: tuple[int, int, int] = Field(description="voxels")
    spacing_mm: tuple[float, float, float]
    obliquity: float = Field(description="degrees between the slices and the patient's axes")


class CaseResponse(BaseModel):
    """All that is shown of a case."""

    case: str
    report: str
    labels: list[str]
    columns: dict[str, str]
    grid: GridOut | None
    thumbnails: bool
    nearest: list[HitOut] = Field(description="the other cases whose volumes are nearest")


class ValueCount(BaseModel):
    """A value and how many studies have it."""

    value: str
    count: int


class Column(BaseModel):
    """A column of few values."""

    name: str
    values: list[ValueCount]


class IndexFacts(BaseModel):
    """What the index is."""

    version: str
    studies: int
    patients: int | None = Field(description="None where the index does not tell them apart")
    model: str
    created: str
    phantom: bool = Field(description="whether any study is synthetic")
    has_patients: bool = Field(description="whether any study is not synthetic")
    anonymous: bool
    can_embed: bool = Field(description="whether texts and volumes can be asked")
    why_not: str
    labels: list[ValueCount]
    keywords: list[ValueCount] = Field(description="labels that can be asked as a keyword")
    columns: list[Column] = Field(description="what can be filtered by, beside labels")
    all_columns: list[str] = Field(description="names that a condition may begin with")
    upload_mb: int


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"] = "ok"
