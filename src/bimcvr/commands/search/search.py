"""The verb `search`: one query, its answer as a table, JSON or a page."""

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bimcvr.errors import UserError

if TYPE_CHECKING:
    from bimcvr.search.query.results import SearchResults
    from bimcvr.search.query.searcher import Searcher


def run(words: Sequence[str]) -> int:
    """Read the command line of `search`: the text stands behind the index, where the query is one."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog="python -m bimcvr search", description=search.__doc__.splitlines()[0] if search.__doc__ else ""
    )
    parser.add_function_arguments(search, as_positional=True, skip={"text", *_FLAGS})
    parser.add_argument("text", nargs="?", default="", help="what is to be seen, like: large right pleural effusion")
    for name, what in _FLAGS.items():
        parser.add_argument(f"--{name}", action="store_true", help=what)
    options = parser.instantiate(parser.parse_args(list(words[1:])))
    return search(**vars(options))


_FLAGS = {"hybrid": "fuse the ranking by vectors with the one by words", "json": "print JSON"}


def search(
    index: Path,
    text: str = "",
    volume: Path | None = None,
    study: str = "",
    keyword: str = "",
    words: str = "",
    into: Literal["image", "report"] | None = None,
    hybrid: bool = False,
    where: str = "",
    labels: str = "",
    holding: bool | None = None,
    leave_out: Literal["nothing", "study", "patient"] | None = None,
    top: int = 10,
    checkpoint: Path | None = None,
    device: str | None = None,
    json: bool = False,
    html: Path | None = None,
) -> int:
    """Find similar cases in an index: by a text, a volume, a study of the index, a keyword, or the reports' words.

    Args:
        index: the folder that `index` made.
        text: what is to be seen, like "large right pleural effusion".
        volume: a volume file or DICOM folder whose like is wanted.
        study: a study_id of the index whose like is wanted.
        keyword: a finding, like atelectasis: asked through the model's prompts.
        words: words that the reports hold, by full text alone.
        into: rank volumes (image, the default) or reports.
        hybrid: fuse the ranking by vectors with the one by words (text and keyword).
        where: a filter: "age >= 60 and split = test".
        labels: only studies whose labels hold all of these, with commas between.
        holding: with keyword: only studies whose labels hold it (true, the default among reports) or do not (false).
        leave_out: with study: the study itself (study, the default among volumes), its whole patient, or nothing.
        top: how many.
        checkpoint: the model, where it is no longer where the index was made, or the index was made from embeddings.
        device: where the model runs: cpu or cuda.
        json: print JSON.
        html: also write a page with pictures.
    """
    from bimcvr.search.index.filters import split_where
    from bimcvr.search.index.reader import Index
    from bimcvr.search.query.query_encoding import has_prompts
    from bimcvr.search.query.searcher import Searcher

    given = {"text": text, "volume": volume, "study": study, "keyword": keyword, "words": words}
    modes = {name: value for name, value in given.items() if value}
    if len(modes) != 1:
        raise UserError(
            "search needs one query: a text in quotes, --volume, --study, --keyword or --words. Like: search INDEX "
            '"large right pleural effusion".'
        )
    mode = next(iter(modes))
    _refuse_idle(mode, top, into, hybrid, holding, leave_out)
    if html is not None and html.is_dir():
        raise UserError(f"--html {html} is a folder. Name the file to write, like {html / 'answer.html'}.")
    with Index.open(index) as opened:
        from bimcvr.search.query.encoder import load_search_model

        needed = mode == "volume" or (mode in ("text", "keyword") and not has_prompts(str(modes[mode]), opened))
        searcher = Searcher(opened, load_search_model(opened, checkpoint, device, needed))
        filters = [*split_where(where), *(f"labels = {label.strip()}" for label in labels.split(",") if label.strip())]
        answer = _ask(searcher, mode, str(modes[mode]), into, hybrid, filters, holding, leave_out, top)
        if html is not None:
            from bimcvr.search.output.html_page import write_page

            write_page(html, answer, opened)
        if json:
            print(dumps(answer.as_json(), indent=2, ensure_ascii=False))
        else:
            from bimcvr.search.output.terminal import show

            show(answer)
            if html is not None:
                print(f"page: {html}")
    return 0


def _refuse_idle(
    mode: str, top: int, into: str | None, hybrid: bool, holding: bool | None, leave_out: str | None
) -> None:
    """Refuse options that the query would not heed."""
    if top < 1:
        raise UserError(f"--top {top} asks for nothing. Give a number from 1 on.")
    if hybrid and mode not in ("text", "keyword"):
        raise UserError(f"--hybrid fuses with the query's words, and a query by {mode} has none to fuse.")
    if holding is not None and mode != "keyword":
        raise UserError(
            f"--holding goes with --keyword; this is a query by {mode}. Use --labels or --where to filter it."
        )
    if leave_out is not None and mode != "study":
        raise UserError(f"--leave_out goes with --study; this is a query by {mode}. Use --where to filter it.")
    if into == "image" and mode == "words":
        raise UserError("--words ranks reports by what they hold, no volumes.")


def _ask(
    searcher: "Searcher",
    mode: str,
    asked: str,
    into: Literal["image", "report"] | None,
    hybrid: bool,
    where: Sequence[str],
    holding: bool | None,
    leave_out: Literal["nothing", "study", "patient"] | None,
    top: int,
) -> "SearchResults":
    if mode == "keyword":
        return searcher.keyword(asked, top=top, where=where, holding=holding, hybrid=hybrid, into=into or "image")
    if mode == "words":
        return searcher.words(asked, top=top, where=where)
    if mode == "study":
        return searcher.study(asked, into=into or "image", top=top, where=where, leave_out=leave_out)
    if mode == "volume":
        return searcher.volume(asked, top=top, where=where, into=into or "image")
    return searcher.text(asked, top=top, where=where, hybrid=hybrid, into=into or "image")
