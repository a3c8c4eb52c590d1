"""The text of a query, split into words once for everything that reads it."""

from dataclasses import dataclass
from functools import cached_property

from bimcvr.curation.text.tokens import Word, sentences
from bimcvr.data.text.stop_words import INDEX_STOP_WORDS, QUERY_STOP_WORDS


@dataclass(frozen=True)
class ParsedQuery:
    """A query's text and its words; make one with `parse_query`.

    Attributes:
        text: as it was typed.
        sentences: the words of each of its sentences.
    """

    text: str
    sentences: tuple[tuple[Word, ...], ...]

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words of all its sentences, in order."""
        return tuple(word for sentence in self.sentences for word in sentence)

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of the query's words, without stop words and punctuation."""
        return frozenset(word.stem for word in self.words if word.text not in QUERY_STOP_WORDS and word.text.isalnum())

    @property
    def informative_words(self) -> list[str]:
        """The words behind `stems`, one for each, spelled as in the query."""
        return list(
            {word.stem: self.text[word.start : word.end] for word in self.words if word.stem in self.stems}.values()
        )

    @property
    def has_only_stop_words(self) -> bool:
        """Whether the full-text index leaves out every word of the query."""
        return all(word.text in INDEX_STOP_WORDS for word in self.words)


def parse_query(query: str | ParsedQuery) -> ParsedQuery:
    """Split a query's text into words.

    Args:
        query: the text; a query that is parsed already is returned as it is.

    Returns:
        The parsed query.
    """
    if isinstance(query, ParsedQuery):
        return query
    return ParsedQuery(query, tuple(map(tuple, sentences(query))))
