"""A suite of experiments as its YAML file describes it: a cohort, one budget for all methods, and the tables' rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from bimcvr.errors import UserError
from bimcvr.presets import read_yaml
from bimcvr.suggest import did_you_mean
from bimcvr.suites.tables.published import published_rows

Positive = Annotated[StrictInt, Field(ge=1)]
GalleryName = Literal["all", "diagonal", "one_per_patient", "one_per_report"]
"""A protocol over a whole gallery: `bimcvr.suites.protocol_tables` says what each is."""


class _Checked(BaseModel):
    """A mapping of the file. Every field's description completes the error message "… is 0; expected …"."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Cohort(_Checked):
    """A phantom cohort.

    Attributes:
        patients: How many.
        seed: Of the cohort.
    """

    patients: Positive = Field(description="a whole number of at least 1")
    seed: StrictInt = Field(description="a whole number")


class Budget(_Checked):
    """What every method gets, no more and no less.

    Attributes:
        epochs: Passes over the training split, which decide how many pairs are seen.
        seeds: How many, counted from 0.
        learning_rate_factors: The tuning trials: a row's own learning rate times each of these, at seed 0, chosen on
            `val`.
    """

    epochs: Positive = Field(description="a whole number of at least 1")
    seeds: Positive = Field(description="a whole number of at least 1")
    learning_rate_factors: tuple[Annotated[float, Field(gt=0, strict=True)], ...] = Field(
        min_length=1, description="a list of positive numbers, one for each trial"
    )


class SuiteRow(_Checked):
    """A method, and the rows of the tables that show it.

    Attributes:
        name: Unique; its run folders are named after it.
        title: As tables print it.
        files: Its configuration, later files over earlier ones.
        tables: The paper's tables that show it; Table 1 is about the cohort. Tables of galleries and pools show all
            rows.
        paper: The published rows that it corresponds to.
        seeds: Its own number of seeds, if it is a minor row.
        train: False for a method that is not trained: one run, no trials, no pairs seen.
    """

    name: Annotated[StrictStr, Field(pattern=r"^\w+$")] = Field(
        description="letters, digits and underscores, since a folder is named after it"
    )
    title: StrictStr = Field(description="text")
    files: tuple[Path, ...] = Field(min_length=1, description="a list of configuration files")
    tables: tuple[Literal[2, 3, 4], ...] = Field((), description="a list with some of 2, 3, 4")
    paper: tuple[StrictStr, ...] = Field((), description="a list of published rows")
    seeds: Positive | None = Field(None, description="a whole number of at least 1")
    train: StrictBool = Field(True, description="true or false")


class SuiteFile(_Checked):
    """The keys of a suite's file.

    Attributes:
        name: Of its folder below `runs/benchmark`.
        cohort: The phantoms to make; None where a manifest has to be given.
        budget: Of all rows.
        options: Options of `fit` and `test` that all rows share; they override the rows' files.
        galleries: Protocols over whole galleries, each with a table of its own.
        pools: Sizes of pools, each with a table of its own.
        rows: The methods, in the tables' order.
    """

    name: StrictStr = Field(description="text")
    cohort: Cohort | None = Field(None, description="a mapping with the keys patients, seed")
    budget: Budget = Field(description="a mapping with the keys epochs, seeds, learning_rate_factors")
    options: dict[str, Any] = Field({}, description="a mapping of options of fit")
    galleries: tuple[GalleryName, ...] = Field(
        (), description=f"a list with some of {', '.join(get_args(GalleryName))}"
    )
    pools: tuple[Annotated[StrictInt, Field(ge=2)], ...] = Field(
        (), description="a list of whole numbers of at least 2"
    )
    rows: tuple[SuiteRow, ...] = Field(min_length=1, description="a list of methods")


class Suite(SuiteFile):
    """A suite, with the path of its file."""

    path: Path

    def seeds_of(self, row: SuiteRow) -> int:
        """Return how many seeds a row runs with: never more than the suite has."""
        return min(self.budget.seeds, row.seeds or self.budget.seeds) if row.train else 1

    def factors_of(self, row: SuiteRow) -> tuple[float, ...]:
        """Return a row's tuning trials, as factors of its learning rate."""
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

        Args:
            only: The rows to keep; all by default.
            patients: Another size of the cohort.
            cohort_seed: Another seed of the cohort.
            epochs: Another number of epochs.
            seeds: Another number of seeds.
            trials: Only so many tuning trials.

        Raises:
            UserError: There is no such row, the suite makes no cohort, or a number is below 1.
        """
        names = [row.name for row in self.rows]
        unknown = next((name for name in only if name not in names), None)
        if unknown:
            raise UserError(f"{self.path}: there is no row '{unknown}'.{did_you_mean(unknown, names)}")
        if self.cohort is None and (patients is not None or cohort_seed is not None):
            raise UserError(
                f"{self.path} is about a manifest, not about phantoms: leave --patients and --cohort_seed out."
            )
        for option, number in (("patients", patients), ("epochs", epochs), ("seeds", seeds), ("trials", trials)):
            if number is not None and number < 1:
                raise UserError(f"--{option} {number}: give at least 1.")
        cohort = self.cohort and Cohort(
            patients=patients or self.cohort.patients, seed=self.cohort.seed if cohort_seed is None else cohort_seed
        )
        budget = Budget(
            epochs=epochs or self.budget.epochs,
            seeds=seeds or self.budget.seeds,
            learning_rate_factors=self.budget.learning_rate_factors[:trials],
        )
        rows = tuple(row for row in self.rows if not only or row.name in only)
        return self.model_copy(update={"cohort": cohort, "budget": budget, "rows": rows})


def read_suite(path: Path) -> Suite:
    """Read and check a suite.

    Args:
        path: The YAML file; the files that it names are relative to its folder.

    Raises:
        UserError: The file or one that it names is missing, a key is unknown or missing or has a wrong value.
    """
    if not path.is_file():
        raise UserError(f"There is no suite at {path}. experiments/suites has those that come with bimcvr.")
    content = read_yaml(path)
    try:
        suite = SuiteFile.model_validate(content)
    except ValidationError as error:
        raise UserError(_explain(error, content, path)) from None
    names = [row.name for row in suite.rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"{path}: the row '{twice}' appears twice.")
    unseen = next((row.name for row in suite.rows if not row.tables), None)
    if unseen and not suite.galleries and not suite.pools:
        raise UserError(
            f"{path}: no table shows the row '{unseen}'. Give it `tables`, or the suite `galleries` or `pools`."
        )
    rows = tuple(_with_files(row, number, path) for number, row in enumerate(suite.rows, start=1))
    return Suite(**{**dict(suite), "rows": rows}, path=path)


def _with_files(row: SuiteRow, number: int, path: Path) -> SuiteRow:
    """Return a row with the paths of its files, after looking that they and the published rows exist."""
    where = f"{path}, row {number} ({row.name})"
    files = tuple(path.parent / file for file in row.files)
    missing = next((file for file in files if not file.is_file()), None)
    if missing:
        raise UserError(
            f"{where}: files names {missing}, which does not exist (paths are relative to the suite's folder)."
        )
    unknown = next((name for name in row.paper if name not in published_rows()), None)
    if unknown:
        raise UserError(
            f"{where}: paper names '{unknown}', which is no row of Tables 2 to 4."
            f"{did_you_mean(unknown, published_rows())}"
        )
    return row.model_copy(update={"files": files})


def _explain(error: ValidationError, content: Any, path: Path) -> str:
    """Turn pydantic's first error, an unknown key before others, into file, place, key and what was expected."""
    problems = error.errors()
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    keys = list(problem["loc"])
    model: type[BaseModel] = SuiteFile
    where, mapping = str(path), content
    if len(keys) > 1 and keys[0] == "rows":
        mapping = content["rows"][keys[1]]
        name = f" ({mapping['name']})" if isinstance(mapping, Mapping) and "name" in mapping else ""
        model, where, keys = SuiteRow, f"{path}, row {int(keys[1]) + 1}{name}", keys[2:]
    elif len(keys) > 1 and keys[0] in ("cohort", "budget"):
        model = Cohort if keys[0] == "cohort" else Budget
        where, mapping, keys = f"{path}, {keys[0]}", content[keys[0]], keys[1:]
    known = list(model.model_fields)
    if not keys:
        return f"{where}: expected a mapping with the keys {', '.join(known)}."
    key = str(keys[0])
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no key '{key}'.{did_you_mean(key, known)} Keys are {', '.join(known)}."
    if problem["type"] == "missing":
        return f"{where}: the key '{key}' is missing."
    if mapping[key] == []:
        return f"{where}: {key} is empty; expected {model.model_fields[key].description}."
    return f"{where}: {key} is {mapping[key]!r}; expected {model.model_fields[key].description}."
