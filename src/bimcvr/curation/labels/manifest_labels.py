"""Labels of a manifest's reports in memory, for the rows that have none."""

from dataclasses import replace

from bimcvr.curation.labels.extractor import LabelExtractor
from bimcvr.curation.labels.keyword_library import KeywordLibrary, shipped_rules
from bimcvr.data.manifest import MadeLabels, Manifest
from bimcvr.data.manifest_schema import COLUMNS


def label_manifest(manifest: Manifest, library: KeywordLibrary | None = None, replace: bool = False) -> Manifest:
    """Return a manifest with the findings that its reports state, in the columns `labels` and `labels_source`.

    The same extractor as `curate` has; `labels_source` is `keywords` for the rows that it labelled.

    Args:
        manifest: the dataset; its column `language`, where it has one, says `en` or `es`.
        library: the keyword library; the shipped one if None.
        replace: label all rows anew, also those that have labels.

    Example:
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> table = pd.DataFrame({"study_id": ["s1"], "volume": ["s1.nii.gz"], "report": ["A nodule. No effusion."]})
        >>> label_manifest(Manifest(table, Path("m.csv"), Path())).column("labels")
        ['nodule']
    """
    extractor = LabelExtractor(library)
    labels, sources = manifest.column("labels"), manifest.column("labels_source")
    rows = zip(manifest.column("report"), manifest.column("language"), labels, strict=True)
    for row, (report, language, given) in enumerate(list(rows)):
        if given and not replace:
            continue
        found = extractor.labels(report, language if language in ("en", "es") else "")
        labels[row] = COLUMNS["labels"].delimiter.join(found)
        sources[row] = "keywords" if found else ""
    return manifest.with_column("labels", labels).with_column("labels_source", sources)


def with_labels(manifest: Manifest) -> Manifest:
    """Return a manifest that has labels as it is, and any other with those of `label_manifest` beside its table.

    The file's identity and what a run writes of it stay without them; `Manifest.labels_from` tells.

    Args:
        manifest: the dataset; it has labels if any of its rows has one.
    """
    if any(manifest.column("labels")):
        return manifest
    return replace(manifest, made_labels=MadeLabels(tuple(label_manifest(manifest).column("labels")), shipped_rules()))


def describe_made(manifest: Manifest) -> str:
    """Return a line on labels that were made in memory; empty where the manifest has its own."""
    if (made := manifest.made_labels) is None:
        return ""
    some = sum(map(bool, made.cells))
    return (
        f"labels: made in memory from the reports, by {made.rules}: {some} of {len(manifest)} studies have some."
        f" `python -m bimcvr label {manifest.path}` writes them."
    )
