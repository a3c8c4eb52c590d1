"""Which rows of a split are scored: published protocols differ in their galleries."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from bimcvr.contracts import Gallery

GalleryChoice = Literal["all", "one_per_patient", "one_per_report"]
"""Every row; the first row of each patient, in the manifest's order; the first row of each normalised report text."""


def chosen_gallery(gallery: Gallery, choice: GalleryChoice) -> Gallery:
    """Return the rows that a protocol scores.

    Args:
        gallery: All rows of a split.
        choice: Which rows.

    Returns:
        A part of the rows, in their order; its description says how it was chosen and how many rows were left out.
    """
    if choice == "all":
        return gallery
    keys: Sequence[object] = gallery.patient if choice == "one_per_patient" else gallery.same_text.tolist()
    first = list({key: position for position, key in reversed(list(enumerate(keys)))}.values())
    part = gallery.only(np.sort(first).tolist())
    left_out = len(gallery.rows) - len(part.rows)
    return replace(part, description={**gallery.description, "gallery": choice, "rows_left_out_of_gallery": left_out})
