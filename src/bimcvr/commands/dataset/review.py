"""The command `review`: the review queue of `curate` as a page on this machine."""

from pathlib import Path

from bimcvr.commands.stdout import say
from bimcvr.data.reading.grid import MAX_VOXELS, GridRules, NiftiForm
from bimcvr.extras import require_extra


def review(
    curated: Path,
    review: Path | None = None,
    port: int = 8001,
    nifti_form: NiftiForm = "auto",
    max_voxels: int = MAX_VOXELS,
) -> int:
    """Serve the review queue as a page: volume, report, original text and flags of each study, and the decision.

    Each decision is written into the queue's CSV file at once, and the file may be edited in a spreadsheet meanwhile.
    Run `curate` again to take the decisions in. Only this machine can reach the page, and nothing is logged. If the
    environment variable BIMCVR_TOKEN is set, every request must send it; the page asks for it.

    Args:
        curated: the folder that `curate` wrote, with the manifest and the review queue.
        review: the review queue, a CSV file that reviewers fill in; `review.csv` in the folder by default.
        port: the TCP port; 0 takes any free one.
        nifti_form: what decides how a NIfTI file's voxels lie: auto takes the sform and refuses a file whose sform and
            qform disagree; sform or qform takes that one. As for `curate`.
        max_voxels: larger volumes are refused.

    Returns:
        The exit code.

    Raises:
        UserError: the queue or the manifest cannot be read, or the port is in use.
    """
    require_extra("curate")
    from bimcvr.curation.review.page.app import create_review_app
    from bimcvr.curation.review.page.desk import ReviewDesk
    from bimcvr.serving.run import listen, run_server, token_of_environment

    token, rules = token_of_environment(), GridRules(nifti_form, max_voxels)
    desk = ReviewDesk(curated, review or curated / "review.csv", rules)
    app = create_review_app(desk, rules, token)
    with listen("127.0.0.1", port) as listening:
        answered = sum(any(row.decision for row in asked.reviews) for asked in desk.asked().values())
        address = f"http://localhost:{listening.getsockname()[1]}/{'  (requires the token)' if token else ''}"
        say(
            f"{desk.queue}: {len(desk.asked())} questions, {answered} answered\n{address}  Press Ctrl+C to stop.",
            flush=True,
        )
        run_server(app, listening)
    return 0
