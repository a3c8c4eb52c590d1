"""Requests and responses of the review page's API."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bimcvr.serving.valid_text import valid_text

Name = Annotated[str, Field(min_length=1, max_length=64, pattern="^[0-9a-f]+$")]
Reviewer = Annotated[str, Field(max_length=100), AfterValidator(valid_text)]
Label = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(valid_text)]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AnswerModel(_StrictModel):
    """An answer; the decision is empty where there is none."""

    decision: Literal["", "accept", "reject", "correct"] = ""
    corrected: Annotated[str, Field(max_length=20_000), AfterValidator(valid_text)] = ""
    labels: list[Label] | None = Field(None, max_length=200, description="null: none are given; []: no finding")


class AnswerRequest(_StrictModel):
    """An answer to be written."""

    question: Name
    reviewer: Reviewer = Field(min_length=1)
    answer: AnswerModel
    before: AnswerModel = Field(description="the answer that the page showed; if the file has another, it is kept")


class OverwrittenRequest(_StrictModel):
    """What to do with answers that another program has saved over."""

    reviewer: Reviewer = Field(min_length=1)
    write: bool = Field(description="write them again, or leave the file as it is")


class QuestionOut(BaseModel):
    """A question of the list, without texts."""

    question: str
    study: str
    patient: str
    kinds: list[str] = Field(description="flags of its study, by which the list is filtered")
    failed: bool = Field(description="a failed translation, which cannot be accepted")
    superseded: bool = Field(description="the queue has a newer text of this study")
    others: int = Field(description="how many other reviewers have answered")
    mine: AnswerModel


class QueueResponse(BaseModel):
    """The queue."""

    file: str
    synthetic: Literal["all", "some", "none"]
    revision: str
    open_elsewhere: bool
    reviewers: list[str]
    labels: list[str]
    overwritten: list[str]
    questions: list[QuestionOut]


class AnswerResponse(BaseModel):
    """What an answer has changed."""

    question: QuestionOut
    revision_before: str
    revision: str
    open_elsewhere: bool


class MarkOut(BaseModel):
    """A place in a text, in Unicode characters."""

    start: int
    end: int
    kind: str


class TextOut(BaseModel):
    """A text with the places that its flags are about."""

    text: str
    marks: list[MarkOut]


class FlagOut(BaseModel):
    """A flag with its evidence."""

    name: str
    asked: bool
    what: str
    evidence: str


class QuestionResponse(BaseModel):
    """All that is shown of a question but the volume."""

    question: str
    study: str
    report: TextOut
    original: TextOut | None
    flags: list[FlagOut]
    labels: list[str]
    labels_source: str
    archive_labels: list[str]


class VolumeResponse(BaseModel):
    """What can be shown of a volume."""

    slices: dict[str, int] = Field(description="how many there are in each plane")
    windows: dict[str, tuple[float, float]] = Field(description="HU from black to white")
    source_size: tuple[int, int, int]
    source_spacing_mm: tuple[float, float, float]
