from .cache.fill import fill_cache
from .cache.volume_cache import CachedVolume, VolumeCache
from .counterfactual.changes import Change, changed_reports
from .hu.geometry import Geometry
from .hu.model_grid import ModelGrid
from .loading.datamodule import CTReportDataModule
from .loading.dataset import StudyDataset
from .manifest import Manifest, read_manifest, write_manifest
from .reading.refused import RefusedVolume
from .reading.resample import read_on_grid, read_resized
from .reading.volume import Volume, read_volume
from .splits import SplitAssignment, assign_splits
from .text.samplers import ContiguousSampler, HeadSampler, RandomWordsSampler
from .text.sentences import split_sentences

__all__ = [
    "CTReportDataModule",
    "CachedVolume",
    "Change",
    "ContiguousSampler",
    "Geometry",
    "HeadSampler",
    "Manifest",
    "ModelGrid",
    "RandomWordsSampler",
    "RefusedVolume",
    "SplitAssignment",
    "StudyDataset",
    "Volume",
    "VolumeCache",
    "assign_splits",
    "changed_reports",
    "fill_cache",
    "read_manifest",
    "read_on_grid",
    "read_resized",
    "read_volume",
    "split_sentences",
    "write_manifest",
]
