"""Labels of a report: the findings of the keyword library that it states as present, in English and Spanish."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bimcvr.curation.labels.assertion import Assertion, assertions
from bimcvr.curation.labels.keyword_library import KeywordLibrary, read_library
from bimcvr.curation.text.tokens import Word, sentences

NORMAL = "normal"


@dataclass(frozen=True)
class Mention:
    """A finding named in a report: `report[start:end]`.

    Attributes:
        label: the library's name for it.
        start: its first character.
        end: one past its last character.
        assertion: `present`, `absent`, `uncertain` or `history`.
    """

    label: str
    start: int
    end: int
    assertion: Assertion


class LabelExtractor:
    """Finds the findings of the keyword library in reports, and whether the reports assert them.

    Args:
        library: the keyword library; the shipped one if None.

    Example:
        >>> extractor = LabelExtractor()
        >>> extractor.labels("Small nodule in the left lobe. No pleural effusion, pneumothorax or consolidation.")
        ('nodule',)
        >>> extractor.labels("Sin derrame pleural ni neumotórax.")
        ('normal',)
    """

    def __init__(self, library: KeywordLibrary | None = None) -> None:
        self.library = library if library is not None else read_library()

    def __call__(self, report: str, language: str = "") -> list[Mention]:
        """Return the mentions in a report, in order.

        Args:
            report: the text.
            language: `en` or `es` to search the phrases of that language only; otherwise both, as a translation may
                have untranslated words.
        """
        return self.mentions(sentences(report), language)

    def mentions(self, report: Iterable[Sequence[Word]], language: str = "") -> list[Mention]:
        """Return the mentions in a report that is split into words already.

        Args:
            report: the words of each of its sentences.
            language: as in `__call__`.
        """
        mentions = []
        for sentence in report:
            matches = self.library.find(sentence, language)
            mentions += [
                Mention(match.label, sentence[match.first].start, sentence[match.last - 1].end, assertion)
                for match, assertion in zip(matches, assertions(sentence, matches), strict=True)
            ]
        return mentions

    def labels(
        self, report: str, language: str = "", uncertain: bool = False, parents: bool = False
    ) -> tuple[str, ...]:
        """Return the labels of a report, sorted.

        `normal` is only returned alone, as in the PadChest tree: if no finding is present or uncertain, and the report
        states that everything is normal or negates a finding.

        Args:
            report: the text.
            language: as in `__call__`.
            uncertain: also return uncertain findings.
            parents: also return the broader findings of each label (`atelectasis` for `laminar atelectasis`).
        """
        mentions = self(report, language)
        accepted = ("present", "uncertain") if uncertain else ("present",)
        labels = {mention.label for mention in mentions if mention.assertion in accepted} - {NORMAL}
        any_uncertain = any(mention.assertion == "uncertain" for mention in mentions)
        stated_normal = any(mention.assertion == "absent" or mention.label == NORMAL for mention in mentions)
        if not labels and not any_uncertain and stated_normal:
            return (NORMAL,)
        if parents:
            labels |= {parent for label in labels for parent in self.library.ancestors(label)}
        return tuple(sorted(labels))
