from .index.exact_search import Vectors as Vectors
from .index.reader import Index as Index
from .index.schema import IndexedStudy as IndexedStudy
from .index.schema import StudyRecord as StudyRecord
from .index.writer import IndexWriter as IndexWriter
from .ingest.update import RowSelection as RowSelection
from .ingest.update import remove_studies as remove_studies
from .ingest.update import update_index as update_index
from .ingest.vector_sources import CheckpointSource as CheckpointSource
from .ingest.vector_sources import EmbeddingsSource as EmbeddingsSource
from .query.encoder import load_search_model as load_search_model
from .query.results import Hit as Hit
from .query.results import SearchResults as SearchResults
from .query.searcher import Searcher as Searcher
from .server.app import create_app as create_app
from .server.options import ServerOptions as ServerOptions
from .server.service import SearchService as SearchService

__all__ = [
    "CheckpointSource",
    "EmbeddingsSource",
    "Hit",
    "Index",
    "IndexWriter",
    "IndexedStudy",
    "RowSelection",
    "SearchResults",
    "SearchService",
    "Searcher",
    "ServerOptions",
    "StudyRecord",
    "Vectors",
    "create_app",
    "load_search_model",
    "remove_studies",
    "update_index",
]
