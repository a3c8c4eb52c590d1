"""What the text encoder is asked for a query."""

from dataclasses import dataclass

import numpy as np

from bimcvr.curation.text.tokens import sentences
from bimcvr.data.text.sentences import split_sentences
from bimcvr.errors import UserError
from bimcvr.search.index.exact_search import unit_vector
from bimcvr.search.index.reader import Index
from bimcvr.search.query.encoder import Encoder
from bimcvr.search.query.highlights import extractor


@dataclass(frozen=True)
class EncodedQuery:
    """A query as a vector.

    Attributes:
        vector: (E,).
        asked: what it was made of.
        kind: text, keyword, volume or study: which of the index's calibrations it is held against.
        notes: what the reader should know of it.
    """

    vector: np.ndarray
    asked: tuple[str, ...]
    kind: str
    notes: tuple[str, ...] = ()


def encode_text(text: str, model: Encoder) -> EncodedQuery:
    """Return a text as a query: whole, as reports were read in training."""
    return EncodedQuery(model.embed_texts([text])[0], tuple(split_sentences(text)), "text")


def encode_keyword(label: str, model: Encoder | None, index: Index) -> EncodedQuery:
    """Return a keyword as a query: the mean of its prompts' unit vectors, as `evaluate` asks it.

    Raises:
        UserError: there is no model, and the index has no vectors of the keyword's prompts.
    """
    held = index.prompts
    if held is not None and label in held.labels:
        rows = zip(held.sentence, held.label, held.denies, strict=True)
        asked = [sentence for sentence, of, denies in rows if of == label and not denies]
        vectors = held.affirming(label).numpy()
    elif model is not None:
        asked = [template.format(label) for template in model.affirm]
        vectors = model.embed_texts(asked)
    else:
        known = ", ".join(held.labels) if held is not None else "none"
        raise UserError(
            f"The index has no vectors of the keyword '{label}' and no text encoder to make them. It has: {known}. Name"
            " the model (--checkpoint), or write prompts into the .npz (python -m bimcvr probes) and run `index`"
            " again."
        )
    return EncodedQuery(np.mean([unit_vector(vector) for vector in vectors], axis=0), tuple(asked), "keyword")


def canonical_label(text: str, index: Index) -> str:
    """Return the label that a text is another name of and nothing more, as the index writes it, or an empty text."""
    wanted = " ".join(text.strip().strip(".").casefold().split())
    # the prompts' spelling goes first: a keyword is asked through them
    known: list[str] = [*(index.prompts.labels if index.prompts else ()), *index.label_counts()]
    for label in known:
        if label.casefold() == wanted:
            return label
    words = [word for sentence in sentences(wanted) for word in sentence]
    places = extractor().library.find(words)
    if len(places) == 1 and places[0].is_phrase and (places[0].first, places[0].last) == (0, len(words)):
        return places[0].label
    return ""


def has_prompts(text: str, index: Index) -> bool:
    """Return whether a text is a keyword whose prompts the index has: no text encoder is needed then."""
    return index.prompts is not None and canonical_label(text, index) in index.prompts.labels
