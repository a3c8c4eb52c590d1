"""Queries as vectors: a text through the text encoder, a keyword through its prompts."""

from dataclasses import dataclass

import numpy as np

from bimcvr.data.text.sentences import split_sentences
from bimcvr.errors import UserError
from bimcvr.search.asked.labels import label_extractor
from bimcvr.search.index.exact_search import unit_vector
from bimcvr.search.index.reader import Index
from bimcvr.search.query.encoder import Encoder


@dataclass(frozen=True)
class EncodedQuery:
    """A query as a vector.

    Attributes:
        vector: (E,).
        parts: what was encoded: the sentences of a text, the prompts of a keyword, the name of a volume or study.
        kind: `text`, `keyword`, `denied`, `volume` or `study`; its scores are compared with the index's calibration of
            that kind.
        notes: what speaks against the vector; usually none.
    """

    vector: np.ndarray
    parts: tuple[str, ...]
    kind: str
    notes: tuple[str, ...] = ()


def encode_text(text: str, model: Encoder) -> EncodedQuery:
    """Encode a text as a whole, as reports are encoded in training.

    Args:
        text: the query.
        model: the text encoder.

    Returns:
        The encoded query.
    """
    return EncodedQuery(model.embed_texts([text])[0], tuple(split_sentences(text)), "text")


def encode_keyword(label: str, model: Encoder | None, index: Index, denied: bool = False) -> EncodedQuery:
    """Encode a keyword as the mean of its prompts' unit vectors, as `evaluate` does.

    A denied one is what is opposite to it: the cases least like `There is …` come first. Text encoders read `no` as a
    word among others, so the prompts that deny a finding rank worse (measured in docs/search.md).

    Args:
        label: the keyword.
        model: the text encoder, for a label whose prompt vectors the index does not have; None if there is none.
        index: an open index.
        denied: whether the finding is to be absent.

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
        keyword = label_extractor().library.keywords.get(label.casefold())
        own = keyword.asks if keyword is not None else ()
        texts = list(own or (template.format(label) for template in model.affirm))
        vectors = model.embed_texts(texts)
    else:
        known = ", ".join(prompts.labels) if prompts is not None else "none"
        raise UserError(
            f"The index has no vectors of the keyword '{label}', and no text encoder is loaded to make them. Keywords"
            f" with vectors: {known}. Name the model (--checkpoint), or write prompts into the .npz file (python -m"
            " bimcvr probes) and run `index` again."
        )
    mean = np.mean([unit_vector(vector) for vector in vectors], axis=0)
    if denied:
        return EncodedQuery(-mean, tuple(f"unlike: {text}" for text in texts), "denied")
    return EncodedQuery(mean, tuple(texts), "keyword")
