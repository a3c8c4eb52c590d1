"""BIMCV's label columns, the same in the released and the raw tables: stringified lists, and unquoted codes."""

from collections.abc import Callable

from bimcvr.curation.sources.table_reader import parse_codes, parse_list, parse_sentences
from bimcvr.curation.study import SetAside


def _joined(parse: Callable[[str], list[str]]) -> Callable[[str], str]:
    return lambda cell: ";".join(dict.fromkeys(parse(cell)))


# column of the table: column of the manifest, and the function that reads its cells
_COLUMNS: dict[str, tuple[str, Callable[[str], str]]] = {
    "Localizations": ("localizations", _joined(parse_list)),
    "LabelsLocalizationsBySentence": ("labels_by_sentence", parse_sentences),
    "labelCUIS": ("label_cuis", _joined(parse_codes)),
    "LocalizationsCUIS": ("localization_cuis", _joined(parse_codes)),
}


def read_label_columns(name: str, row: dict[str, str]) -> tuple[tuple[str, ...], dict[str, str], list[SetAside]]:
    """Read the label columns of a row.

    Args:
        name: the study, for messages.
        row: the cells by column; absent columns count as empty.

    Returns:
        The labels without repetition, further columns of the manifest, and the cells that are no valid lists, which
        stay empty.
    """
    labels: list[str] = []
    columns: dict[str, str] = {}
    faults = []
    for column in ("Labels", *_COLUMNS):
        cell = row.get(column, "")
        if not cell.strip():
            continue
        try:
            if column == "Labels":
                labels = parse_list(cell)
            else:
                target, read = _COLUMNS[column]
                columns[target] = read(cell)
        except ValueError as error:
            faults.append(
                SetAside(
                    f"{name}: {column}",
                    "unreadable_list",
                    f"{name}, column {column}: {error}. The cell was left empty.",
                )
            )
    return tuple(dict.fromkeys(labels)), columns, faults
