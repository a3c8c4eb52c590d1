"""The command `search`: runs one query and prints the results as a table or JSON, or writes an HTML page."""

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bimcvr.commands.stdout import say, say_json
from bimcvr.errors import UserError
from bimcvr.parsing.trust import split_trust

if TYPE_CHECKING:
    from bimcvr.search.asked.parsed_query import ParsedQuery
    from bimcvr.search.query.results import SearchResults
    from bimcvr.search.query.searcher import Searcher


def search(
    index: Path,
    text: str = "",
    volume: Path | None = None,
    study: str = "",
    keyword: str = "",
    words: str = "",
    like: str = "",
    unlike: str = "",
    into: Literal["image", "report"] | None = None,
    hybrid: bool | None = None,
    where: str = "",
    labels: str = "",
    holding: bool | None = None,
    leave_out: Literal["nothing", "study", "patient"] | None = None,
    top: int = 10,
    checkpoint: Path | None = None,
    device: str | None = None,
    trust: str = "",
    json: bool = False,
    html: Path | None = None,
) -> int:
    """Search an index for similar cases by a text, a volume, a study of the index, a keyword, or words of reports.

    Args:
        index: the folder of the search index.
        text: the query: what is to be seen, like: large right pleural effusion.
        volume: a volume file or a DICOM folder: find cases similar to it.
        study: find cases similar to this study of the index, given by its study_id.
        keyword: find studies with this finding, like atelectasis, by the model's prompts.
        words: find reports that contain these words, by full-text search alone.
        like: find more cases like these studies of the index, given by study_id with commas between; with a text, that
            query is moved towards them.
        unlike: and unlike these studies; for --like.
        into: rank volumes (image, the default) or reports.
        hybrid: fuse the ranking by vectors with the one by words, in which a report that denies what is asked is no
            match; for a text or --keyword; true by default where volumes are ranked and the query names a finding.
        where: only studies that meet these conditions on the index's columns, like "age >= 60 and split = test".
        labels: only studies that have all of these labels, with commas between.
        holding: only studies whose labels contain the keyword (true) or do not (false); for --keyword, true by default
            among reports.
        leave_out: leave out of the hits the query's study, its whole patient, or nothing; for --study, study by default
            among volumes.
        top: how many hits to return.
        checkpoint: the checkpoint of a trained model; by default the file that the index names. Needed where that file
            has moved, or the index was made from embeddings.
        device: where the model runs: cpu or cuda; by default a GPU where there is one.
        trust: classes, modules or packages of others whose code a checkpoint may run, with commas between.
        json: print JSON instead of a table.
        html: also write the result as an HTML page to this file; it shows reports and slices of volumes, with the model
            and the volumes at hand those where it looks most for the query.

    Returns:
        The exit code.

    Raises:
        UserError: the options do not fit together, or the index cannot answer the query.
    """
    from bimcvr.search.asked.findings import has_prompts
    from bimcvr.search.asked.parsed_query import parse_query
    from bimcvr.search.index.filters import split_where
    from bimcvr.search.index.reader import Index
    from bimcvr.search.query.encoder import load_search_model
    from bimcvr.search.query.searcher import Searcher

    options = {"text": text, "volume": volume, "study": study, "keyword": keyword, "words": words}
    queries = {name: str(value) for name, value in options.items() if value}
    fits, others = ([one.strip() for one in names.split(",") if one.strip()] for names in (like, unlike))
    if fits and queries.keys() <= {"text"}:
        queries = {"like": text}
    elif fits or others:
        raise UserError("--like goes alone or with a text, and --unlike with --like.")
    if len(queries) != 1:
        raise UserError(
            "search needs one query: a text in quotes, --volume, --study, --keyword, --words or --like. Example: search"
            ' INDEX "large right pleural effusion".'
        )
    ((mode, query),) = queries.items()
    _check_options(mode, top, into, hybrid, holding, leave_out)
    if html is not None and html.is_dir():
        raise UserError(f"--html {html} is a folder. Name the file to write, like {html / 'results.html'}.")
    with Index.open(index) as opened:
        parsed = parse_query(query) if mode in ("text", "keyword", "words") or (mode == "like" and query) else None
        needs_model = mode == "volume" or (parsed is not None and mode != "words" and not has_prompts(parsed, opened))
        # pictures of where the model looks are worth loading it, but no reason to fail
        wants_maps = html is not None and mode != "words"
        needs_model |= wants_maps and Path(opened.facts.get("checkpoint", "")).is_file()
        searcher = Searcher(opened, load_search_model(opened, checkpoint, device, needs_model, split_trust(trust)))
        filters = [*split_where(where), *(f"labels = {label.strip()}" for label in labels.split(",") if label.strip())]
        if mode == "like":
            results = searcher.like(fits, others, text=query, into=into or "image", top=top, where=filters)
        else:
            results = _run_query(searcher, mode, parsed or query, into, hybrid, filters, holding, leave_out, top)
        if html is not None:
            from bimcvr.search.output.html_page import write_page

            write_page(html, results, opened, searcher.model)
        if json:
            say_json(dumps(results.as_json(), indent=2, ensure_ascii=False))
        else:
            from rich.console import Console

            from bimcvr.search.output.terminal import format_results

            Console(highlight=False).print(format_results(results))
            if html is not None:
                say(f"page: {html}")
    return 0


def _check_options(
    mode: str, top: int, into: str | None, hybrid: bool | None, holding: bool | None, leave_out: str | None
) -> None:
    """Refuse options that the query would ignore."""
    if top < 1:
        raise UserError(f"--top {top} returns nothing. Give a number from 1 on.")
    if hybrid and mode not in ("text", "keyword"):
        raise UserError(f"--hybrid fuses with the query's words, and a query by {mode} has none to fuse.")
    if holding is not None and mode != "keyword":
        raise UserError(
            f"--holding goes with --keyword; this is a query by {mode}. Use --labels or --where to filter it."
        )
    if leave_out is not None and mode != "study":
        raise UserError(f"--leave_out goes with --study; this is a query by {mode}. Use --where to filter it.")
    if into == "image" and mode == "words":
        raise UserError("--words ranks reports by the words that they contain, no volumes.")


def _run_query(
    searcher: "Searcher",
    mode: str,
    query: "str | ParsedQuery",
    into: Literal["image", "report"] | None,
    hybrid: bool | None,
    where: Sequence[str],
    holding: bool | None,
    leave_out: Literal["nothing", "study", "patient"] | None,
    top: int,
) -> "SearchResults":
    if mode == "study":
        return searcher.study(str(query), into=into or "image", top=top, where=where, leave_out=leave_out)
    if mode == "volume":
        return searcher.volume(str(query), top=top, where=where, into=into or "image")
    if mode == "words":
        return searcher.words(query, top=top, where=where)
    if mode == "keyword":
        return searcher.keyword(query, top=top, where=where, holding=holding, hybrid=hybrid, into=into or "image")
    return searcher.text(query, top=top, where=where, hybrid=hybrid, into=into or "image")
