"""Labels of a report: the findings of the keyword library that it says are there, in English and Spanish."""

from dataclasses import dataclass

from bimcvr.curation.labels.assertion import Assertion, assertions
from bimcvr.curation.labels.keyword_library import Library, read_library
from bimcvr.curation.text.tokens import sentences

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
    """Finds the library's findings in reports, and what the reports assert of them.

    Args:
        library: the keyword library; the project's own if None.

    Example:
        >>> extractor = LabelExtractor()
        >>> extractor.labels("Small nodule in the left lobe. No pleural effusion, pneumothorax or consolidation.")
        ('nodule',)
        >>> extractor.labels("Sin derrame pleural ni neumotórax.")
        ('normal',)
    """

    def __init__(self, library: Library | None = None) -> None:
        self.library = library if library is not None else read_library()

    def __call__(self, report: str, language: str = "") -> list[Mention]:
        """Return the mentions of a report in its order.

        Args:
            report: the text.
            language: `en` or `es` to search that language's phrases only, both else, as for a translation with words
                left over.
        """
        mentions = []
        for sentence in sentences(report):
            places = self.library.places(sentence, language)
            said = assertions(sentence, places)
            mentions += [
                Mention(place.label, sentence[place.first].start, sentence[place.last - 1].end, assertion)
                for place, assertion in zip(places, said, strict=True)
            ]
        return mentions

    def labels(
        self, report: str, language: str = "", uncertain: bool = False, parents: bool = False
    ) -> tuple[str, ...]:
        """Return the labels of a report, sorted.

        `normal` stands alone, as in the PadChest tree: where nothing is present or uncertain, and the report says that
        all is normal or denies a finding.

        Args:
            report: the text.
            language: as in a call.
            uncertain: take uncertain findings for present.
            parents: add the wider findings of each label (`laminar atelectasis` gives `atelectasis` too).
        """
        mentions = self(report, language)
        taken = ("present", "uncertain") if uncertain else ("present",)
        labels = {mention.label for mention in mentions if mention.assertion in taken} - {NORMAL}
        open_question = any(mention.assertion == "uncertain" for mention in mentions)
        denied = any(mention.assertion == "absent" or mention.label == NORMAL for mention in mentions)
        if not labels and not open_question and denied:
            return (NORMAL,)
        if parents:
            labels |= {wider for label in labels for wider in self.library.ancestors(label)}
        return tuple(sorted(labels))
