from .anonymise.anonymiser import Anonymised as Anonymised
from .anonymise.anonymiser import Anonymiser as Anonymiser
from .archives.extractor import ArchiveLimits as ArchiveLimits
from .audit.audit import AuditResult as AuditResult
from .audit.audit import audit_manifest as audit_manifest
from .audit.finding import Finding as Finding
from .audit.volume_facts import VolumeFacts as VolumeFacts
from .audit.volume_facts import measure_volume as measure_volume
from .labels.extractor import LabelExtractor as LabelExtractor
from .labels.extractor import Mention as Mention
from .labels.keyword_library import KeywordLibrary as KeywordLibrary
from .labels.keyword_library import read_library as read_library
from .labels.manifest_labels import label_manifest as label_manifest
from .labels.manifest_labels import with_labels as with_labels
from .pipeline.decisions import Checks as Checks
from .pipeline.decisions import SplitStep as SplitStep
from .pipeline.denoise import Denoise as Denoise
from .pipeline.shards import Source as Source
from .pipeline.steps import TranslateStep as TranslateStep
from .sources.amos_mm import AmosMM as AmosMM
from .sources.bimcv.bimcv_covid import BimcvCovid19 as BimcvCovid19
from .sources.bimcv.bimcv_r import BimcvR as BimcvR
from .sources.csv_table import CsvTable as CsvTable
from .sources.ct_rate import CtRate as CtRate
from .sources.dicom_folder import DicomFolder as DicomFolder
from .sources.inspect_ctpa import Inspect as Inspect
from .sources.merlin import Merlin as Merlin
from .sources.single_shard import SingleShardSource as SingleShardSource
from .study import SetAside as SetAside
from .study import SourceStudy as SourceStudy
from .translation.checks import check_translation as check_translation
from .translation.marian import MarianTranslator as MarianTranslator
from .translation.openai_api import OpenAITranslator as OpenAITranslator
from .translation.translator import TranslationError as TranslationError
from .translation.translator import Translator as Translator

__all__ = [
    "AmosMM",
    "Anonymised",
    "Anonymiser",
    "ArchiveLimits",
    "AuditResult",
    "BimcvCovid19",
    "BimcvR",
    "Checks",
    "CsvTable",
    "CtRate",
    "Denoise",
    "DicomFolder",
    "Finding",
    "Inspect",
    "KeywordLibrary",
    "LabelExtractor",
    "MarianTranslator",
    "Mention",
    "Merlin",
    "OpenAITranslator",
    "SetAside",
    "SingleShardSource",
    "Source",
    "SourceStudy",
    "SplitStep",
    "TranslateStep",
    "TranslationError",
    "Translator",
    "VolumeFacts",
    "audit_manifest",
    "check_translation",
    "label_manifest",
    "measure_volume",
    "read_library",
    "with_labels",
]
