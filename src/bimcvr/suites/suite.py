"""What a suite is: a cohort, one budget for all, and the rows of the tables."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from bimcvr.errors import UserError
from bimcvr.suites.published import published_rows

TABLES = (2, 3, 4)
"""The paper's tables that a row can stand in; Table 1 is about the cohort."""


@dataclass(frozen=True)
class Cohort:
    """A phantom cohort: how many patients, and which seed."""

    patients: int
    seed: int


@dataclass(frozen=True)
class Budget:
    """What every method gets, no more and no less.

    Attributes:
        epochs: passes over the training split; with the split they are the pairs seen.
        seeds: how many, from 0.
        learning_rate_factors: the tuning trials: a row's own learning rate times each of these, at seed 0, chosen on
            `val`.
    """

    epochs: int
    seeds: int
    learning_rate_factors: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """A method.

    Attributes:
        name: unique, and the name of its folder.
        title: as tables print it.
        files: its configuration, later files over earlier ones.
        tables: where it stands.
        paper: the published rows that it corresponds to.
        seeds: its own number of seeds, where it is a minor row.
        train: False for a method that is not trained: one run, no trials, no pairs seen.
    """

    name: str
    title: str
    files: tuple[Path, ...]
    tables: tuple[int, ...]
    paper: tuple[str, ...] = ()
    seeds: int | None = None
    train: bool = True


@dataclass(frozen=True)
class Suite:
    """A suite as its YAML file describes it.

    Attributes:
        name: of its folder below `runs/benchmark`.
        cohort: the phantoms to make; None where a manifest has to be given.
        budget: of all rows.
        options: of `fit` and `test`, the same for all rows, over their files.
        rows: the methods, in the tables' order.
        path: the file.
    """

    name: str
    cohort: Cohort | None
    budget: Budget
    options: Mapping[str, Any]
    rows: tuple[Row, ...]
    path: Path

    def seeds_of(self, row: Row) -> int:
        """Return how many seeds a row runs with: never more than the suite has."""
        return min(self.budget.seeds, row.seeds or self.budget.seeds) if row.train else 1

    def factors_of(self, row: Row) -> tuple[float, ...]:
        """Return a row's tuning trials."""
        return self.budget.learning_rate_factors if row.train else (1.0,)

    def smaller(
        self,
        only: tuple[str, ...],
        patients: int | None,
        cohort_seed: int | None,
        epochs: int | None,
        seeds: int | None,
        trials: int | None,
    ) -> "Suite":
        """Return the suite with some of its numbers replaced, and only some rows.

        Raises:
            UserError: there is no such row, or the suite makes no cohort.
        """
        unknown = [name for name in only if name not in {row.name for row in self.rows}]
        if unknown:
            raise UserError(
                f"{self.path}: there is no row '{unknown[0]}'.{_near(unknown[0], [row.name for row in self.rows])}"
            )
        if self.cohort is None and (patients is not None or cohort_seed is not None):
            raise UserError(
                f"{self.path} is about a manifest, not about phantoms: leave --patients and --cohort_seed out."
            )
        for option, number in (("patients", patients), ("epochs", epochs), ("seeds", seeds), ("trials", trials)):
            if number is not None and number < 1:
                raise UserError(f"--{option} {number}: give at least 1.")
        cohort = self.cohort and Cohort(
            patients or self.cohort.patients, self.cohort.seed if cohort_seed is None else cohort_seed
        )
        budget = Budget(
            epochs or self.budget.epochs, seeds or self.budget.seeds, self.budget.learning_rate_factors[:trials]
        )
        return replace(
            self, cohort=cohort, budget=budget, rows=tuple(row for row in self.rows if not only or row.name in only)
        )


def read_suite(path: Path) -> Suite:
    """Read and check a suite.

    Raises:
        UserError: the file or one that it names is missing, a key is unknown or lacking or has a wrong value.
    """
    if not path.is_file():
        raise UserError(f"There is no suite at {path}. experiments/suites has those that come with bimcvr.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    fields = _Fields(content, str(path), ("name", "cohort", "budget", "options", "rows"))
    budget = _Fields(fields.get("budget", dict), f"{path}, budget", ("epochs", "seeds", "learning_rate_factors"))
    cohort = fields.get("cohort", dict, None)
    made = cohort and _Fields(cohort, f"{path}, cohort", ("patients", "seed"))
    factors = budget.get("learning_rate_factors", list)
    if not factors or not all(isinstance(of, int | float) and of > 0 for of in factors):
        raise UserError(
            f"{path}, budget: learning_rate_factors is {factors}; give a list of positive numbers, one a trial."
        )
    rows = tuple(_row(of, place, path) for place, of in enumerate(fields.get("rows", list), start=1))
    names = [row.name for row in rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice or not rows:
        raise UserError(f"{path}: the row '{twice}' stands twice." if twice else f"{path}: rows is empty.")
    return Suite(
        name=fields.get("name", str),
        cohort=Cohort(made.positive("patients"), made.get("seed", int)) if made else None,
        budget=Budget(budget.positive("epochs"), budget.positive("seeds"), tuple(map(float, factors))),
        options=fields.get("options", dict, {}),
        rows=rows,
        path=path,
    )


def _row(content: Any, place: int, path: Path) -> Row:
    named = content.get("name") if isinstance(content, dict) else None
    where = f"{path}, row {place}" + (f" ({named})" if named else "")
    fields = _Fields(content, where, ("name", "title", "files", "tables", "paper", "seeds", "train"))
    name = fields.get("name", str)
    if not name.replace("_", "").isalnum():
        raise UserError(f"{where}: name is '{name}'; use letters, digits and underscores, since a folder bears it.")
    files = tuple(path.parent / str(file) for file in fields.get("files", list))
    lacking = next((file for file in files if not file.is_file()), None)
    if lacking or not files:
        raise UserError(
            f"{where}: files names {lacking}, which does not exist (paths are relative to the suite's folder)."
            if lacking
            else f"{where}: files is empty."
        )
    tables = fields.get("tables", list)
    if not tables or not set(tables) <= set(TABLES):
        raise UserError(f"{where}: tables is {tables}; give some of {', '.join(map(str, TABLES))}.")
    paper = fields.get("paper", list, [])
    printed = published_rows()
    unknown = next((str(of) for of in paper if of not in printed), None)
    if unknown:
        raise UserError(f"{where}: paper names '{unknown}', which is no row of Tables 2 to 4.{_near(unknown, printed)}")
    return Row(
        name,
        fields.get("title", str),
        files,
        tuple(tables),
        tuple(paper),
        fields.positive("seeds") if "seeds" in content else None,
        fields.get("train", bool, True),
    )


class _Fields:
    """A mapping of a YAML file whose keys are checked as they are read."""

    def __init__(self, content: Any, where: str, known: tuple[str, ...]) -> None:
        self.content, self.where = content, where
        if not isinstance(content, dict):
            raise UserError(f"{where}: expected a mapping with the keys {', '.join(known)}.")
        unknown = next((str(key) for key in content if key not in known), None)
        if unknown:
            raise UserError(
                f"{where}: there is no key '{unknown}'.{_near(unknown, known)} Keys are {', '.join(known)}."
            )

    def get(self, key: str, kind: Callable[..., Any] | type, *default: Any) -> Any:
        """Return a value of the given type; where it lacks, the default, if there is one."""
        if key not in self.content and default:
            return default[0]
        if key not in self.content:
            raise UserError(f"{self.where}: the key '{key}' is missing.")
        value = self.content[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):  # type: ignore[arg-type]
            raise UserError(f"{self.where}: {key} is {value!r}; expected {_KINDS[kind]}.")
        return value

    def positive(self, key: str) -> int:
        """Return a whole number of at least 1."""
        value: int = self.get(key, int)
        if value < 1:
            raise UserError(f"{self.where}: {key} is {value}; give at least 1.")
        return value


_KINDS: dict[Any, str] = {str: "text", int: "a whole number", dict: "a mapping", list: "a list", bool: "true or false"}


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
