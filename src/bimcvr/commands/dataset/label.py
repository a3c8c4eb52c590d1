"""The verb `label`: the findings that reports state, as a column of their manifest."""

from collections import Counter
from pathlib import Path

from bimcvr.commands.stdout import say
from bimcvr.errors import UserError


def label(manifest: Path, out: Path | None = None, library: Path | None = None, replace: bool = False) -> int:
    """Write a manifest with the findings that its reports state, for training, keyword search and the search page.

    Nothing else is changed. `curate` does this and more; the labels are the same.

    Args:
        manifest: the manifest, a CSV file.
        out: where the result is written: a manifest, `<name>-labelled.csv` beside the given one by default.
        library: the keyword library, a YAML file; the shipped one by default.
        replace: label all rows anew, also those that have labels.

    Returns:
        0.
    """
    from bimcvr.atomic_files import require_writable
    from bimcvr.curation.labels.keyword_library import read_library
    from bimcvr.curation.labels.manifest_labels import label_manifest
    from bimcvr.data.manifest import read_manifest, split_list, write_manifest

    if not manifest.name:
        raise UserError("The name of the manifest is empty. Give a CSV file.")
    target = out or manifest.with_name(f"{manifest.stem}-labelled.csv")
    table = read_manifest(manifest)
    if target.parent.resolve() != manifest.parent.resolve():
        raise UserError(
            f"--out {target} lies in another folder than {manifest}, whose `volume` column is relative to its own. Name"
            " a file beside it."
        )
    require_writable(target.parent, "--out")
    labelled = label_manifest(table, read_library(library) if library else None, replace)
    write_manifest(labelled.table, target)
    counts = Counter(name for cell in labelled.column("labels") for name in split_list(cell))
    some = sum(1 for cell in labelled.column("labels") if cell)
    say(f"{target}: {some} of {len(labelled)} rows have labels.")
    say("\n".join(f"{count:>7}  {name}" for name, count in counts.most_common(10)))
    return 0
