"""Filters: what they let through, and that nothing of them is ever run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimcvr.errors import UserError
from bimcvr.search.index.filters import Condition, parse_where

COLUMNS = ["study_id", "age", "labels", "study_date", "sex"]


@pytest.mark.parametrize(
    ("text", "cell", "holds"),
    [
        ("labels = nodule", "pleural effusion;nodule", True),
        ("labels = nodul", "pleural effusion;nodule", False),
        ("labels=pleural effusion", "pleural effusion; nodule", True),
        ("labels != nodule", "pleural effusion;nodule", False),
        ("age >= 60", "60", True),
        ("age > 60", "60.0", False),
        ("age < 60", "", False),
        ("age <= 6e1", "9", True),
        ("age < 60", "nan", False),
        ("study_date >= 2020-03", "2020-03-01", True),
        ("study_date < 2020-03", "2020-02-29", True),
        ("study_date < 2020-03", "", False),
        ("sex = 'F'", "F", True),
        ('sex = "O\'Hara; x"', "O'Hara; x", True),
    ],
)
def test_a_condition_holds(text: str, cell: str, holds: bool) -> None:
    (condition,) = parse_where(text, COLUMNS)
    assert condition.holds([cell, "5"] if condition.operator in "<>" else [cell])[0] == holds


def test_conditions_are_joined_by_and_outside_of_quotes() -> None:
    found = parse_where("age >= 60 AND labels = 'mass and nodule' and sex = F", COLUMNS)
    assert found == [
        Condition("age", ">=", "60"),
        Condition("labels", "=", "mass and nodule"),
        Condition("sex", "=", "F"),
    ]


def test_an_apostrophe_is_no_quote() -> None:
    found = parse_where("sex = O'Brien and labels = St John's and study_id = 'a and b'", COLUMNS)
    assert [condition.value for condition in found] == ["O'Brien", "St John's", "a and b"]
    assert len(parse_where("sex = 'tis and labels = 'twas", COLUMNS)) == 2


def test_a_sequence_holds_one_condition_an_item() -> None:
    assert parse_where(["labels = a and b"], COLUMNS) == [Condition("labels", "=", "a and b")]


def test_a_column_name_may_have_an_operator_in_it() -> None:
    columns = ["a", "a=b", "=", "dose>=2"]
    texts = {"a=b = 3": "a=b", "a=b": "a", "= != 3": "=", "dose>=2 = 3": "dose>=2", "dose>=2=3": "dose>=2"}
    assert {text: parse_where(text, columns)[0].column for text in texts} == texts
    assert parse_where("a=b", columns) == [Condition("a", "=", "b")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ages = 3", "Did you mean 'age'?"),
        ("age", "is not a condition"),
        ("age > old", "need a number"),
        ("1=1", "no column '1'"),
        ("age = 3 or 1 = 1; DROP TABLE rows", None),
        ("= 3", "no column ''"),
    ],
)
def test_what_is_no_filter_is_explained(text: str, message: str | None) -> None:
    if message is None:
        assert not parse_where(text, COLUMNS)[0].holds(["3"]).any()
        return
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        [condition.holds(["3"]) for condition in parse_where(text, COLUMNS)]


def test_a_range_over_a_column_without_numbers_is_refused() -> None:
    with pytest.raises(UserError, match="contains no number"):
        parse_where("sex > 3", COLUMNS)[0].holds(["F", "M", ""])


@given(st.text())
def test_any_text_is_a_filter_or_a_user_error(text: str) -> None:
    try:
        for condition in parse_where(text, COLUMNS):
            condition.holds(["a", "3", ""])
    except UserError:
        pass


@given(st.text(min_size=1))
def test_a_value_is_compared_as_it_stands(value: str) -> None:
    assert Condition("sex", "=", value).holds([value, value + "x"]).tolist() == [True, False]
