"""What the audit's measurements say against a volume that is searched with: no chest is without neighbours."""

from pathlib import Path

from bimcvr.curation.audit.flags import meaning
from bimcvr.curation.audit.volume_checks import check_volume
from bimcvr.curation.audit.volume_facts import measure_volume
from bimcvr.data.reading.grid import GridRules
from bimcvr.data.reading.refused import RefusedVolume


def volume_notes(path: Path, rules: GridRules) -> list[str]:
    """Measure a volume as `audit` does, and return what is wrong with it, one sentence a flag.

    Args:
        path: a volume file or a DICOM folder that the model has read.
        rules: which grids are accepted.

    Returns:
        Sentences without the file's name; none if nothing is wrong, or the volume cannot be measured by these rules.
    """
    try:
        facts = measure_volume(path, rules)
    except RefusedVolume:
        return []
    return [f"About the volume: {meaning(found.flag).what} ({found.evidence})." for found in check_volume("", facts)]
