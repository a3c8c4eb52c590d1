"""Queries as vectors: a text through the text encoder, a keyword through its prompts."""

from dataclasses import dataclass

import numpy as np

from bimcvr.data.text.sentences import split_sentences
from bimcvr.errors import UserError
from bimcvr.search.index.exact_search import unit_vector
from bimcvr.search.index.reader import Index
from bimcvr.search.query.encoder import Encoder


@dataclass(frozen=True)
class EncodedQuery:
    """A query as a vector.

    Attributes:
        vector: (E,).
        parts: what was encoded: the sentences of a text, the prompts of a keyword, the name of a volume or study.
        kind: `text`, `keyword`, `volume` or `study`; its scores are compared with the index's calibration of that kind.
        note: what speaks against the vector; usually empty.
    """

    vector: np.ndarray
    parts: tuple[str, ...]
    kind: str
    note: str = ""


def encode_text(text: str, model: Encoder) -> EncodedQuery:
    """Encode a text as a whole, as reports are encoded in training.

    Args:
        text: the query.
        model: the text encoder.

    Returns:
        The encoded query.
    """
    return EncodedQuery(model.embed_texts([text])[0], tuple(split_sentences(text)), "text")


def encode_keyword(label: str, model: Encoder | None, index: Index) -> EncodedQuery:
    """Encode a keyword as the mean of its prompts' unit vectors, as `evaluate` does.

    Args:
        label: the keyword.
        model: the text encoder, for a label whose prompt vectors the index does not have; None if there is none.
        index: an open index.

    Returns:
        The encoded query.

    Raises:
        UserError: there is no model, and the index has no vectors of the keyword's prompts.
    """
    prompts = index.prompts
    if prompts is not None and label in prompts.labels:
        rows = zip(prompts.sentence, prompts.label, prompts.denies, strict=True)
        texts = [sentence for sentence, about, denies in rows if about == label and not denies]
        vectors = prompts.affirming(label).numpy()
    elif model is not None:
        texts = [template.format(label) for template in model.affirm]
        vectors = model.embed_texts(texts)
    else:
        known = ", ".join(prompts.labels) if prompts is not None else "none"
        raise UserError(
            f"The index has no vectors of the keyword '{label}', and no text encoder is loaded to make them. Keywords"
            f" with vectors: {known}. Name the model (--checkpoint), or write prompts into the .npz file (python -m"
            " bimcvr probes) and run `index` again."
        )
    return EncodedQuery(np.mean([unit_vector(vector) for vector in vectors], axis=0), tuple(texts), "keyword")
