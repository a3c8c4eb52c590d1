"""Service layer behind the HTTP API: opens a changed index again, hides ids and paths, keeps the viewer's volumes."""

import threading
import time
from pathlib import Path

from bimcvr.data.judgements import Query, append_judgement
from bimcvr.data.reading.refused import RefusedVolume
from bimcvr.errors import UserError, without_addresses
from bimcvr.search.index.commit import NAME
from bimcvr.search.index.viewer_volumes import VIEWER, ViewerVolumes
from bimcvr.search.query.encoder import Encoder
from bimcvr.search.server import schemas as api
from bimcvr.search.server.privacy import CaseNames, without_paths
from bimcvr.search.server.snapshot import IndexSnapshot
from bimcvr.search.uploading.uploads import sweep_uploads, upload_folder

JUDGEMENTS = "judgements.csv"
"""The file of judgements in the index folder."""

REOPEN_SECONDS = 5.0
"""How long a snapshot of the index is served before a newer commit is looked for."""


class SearchService:
    """Serves the newest committed state of an index.

    Args:
        folder: the index folder.
        model: encodes texts and volumes; None if the index is served without a model.
        anonymous: give cases opaque names, and let nothing out that identifies a patient: ids, paths, columns with
            many values.

    Attributes:
        names: the public names of cases.
        volumes: the volumes that the viewer shows.
        uploads: the folder that uploads are written to.

    Raises:
        UserError: there is no index in the folder, or the folder cannot be written to.
    """

    def __init__(self, folder: Path, model: Encoder | None, anonymous: bool) -> None:
        # a relative one may be a word that messages have anyway
        folder = folder.absolute()
        self.folder, self.model = folder, model
        self.names = CaseNames(anonymous)
        self.volumes = ViewerVolumes(folder / VIEWER)
        self.uploads = folder / "derived" / "uploads"
        self._newest: IndexSnapshot | None = None
        self._judging = threading.Lock()
        self._opening, self._next_check = threading.Lock(), 0.0
        _check_writable(self.uploads)
        sweep_uploads(self.uploads)
        self.snapshot()

    def snapshot(self) -> IndexSnapshot:
        """Return the committed state of the index.

        The index is opened again when a writer has committed, at most every `REOPEN_SECONDS`. An older snapshot stays
        open for as long as a request uses it, and is closed with the last reference to it.
        """
        with self._opening:
            if self._newest is not None and time.monotonic() < self._next_check:
                return self._newest
            stamp = (self.folder / NAME).stat().st_mtime_ns
            if self._newest is None or self._newest.stamp != stamp:
                self._newest = IndexSnapshot(self.folder, stamp, self.model, self.names, self.volumes)
                self.volumes.keep_only(self._newest.index.study_ids)
            self._next_check = time.monotonic() + REOPEN_SECONDS
            return self._newest

    def judge(self, request: api.JudgementRequest) -> None:
        """Write down whether a case fits a query, in `judgements.csv` of the index folder.

        Args:
            request: the judgement.

        Raises:
            CaseNotFound: there is no such case.
            OSError: the file cannot be written.
        """
        snapshot = self.snapshot()
        query = snapshot.study_id(request.query) if request.mode == "study" else request.query
        with self._judging:
            append_judgement(
                self.folder / JUDGEMENTS, Query(request.mode, query), snapshot.study_id(request.case), request.relevant
            )

    def close(self) -> None:
        """Close the index."""
        if self._newest is not None:
            self._newest.index.close()

    def public_message(self, error: UserError) -> str:
        """Return an error's message for a client, without paths of this machine."""
        if isinstance(error, RefusedVolume):
            _, _, wrong, remedy = error.args
            return without_paths(f"The volume {wrong} {remedy}", self.folder)
        return without_paths(without_addresses(str(error)), self.folder)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with upload_folder(folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to ({error.strerror}): uploads and the viewer's volumes are stored there. Give"
            " the server's user the right to write."
        ) from error
