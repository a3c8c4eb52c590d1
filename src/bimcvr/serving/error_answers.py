"""What a client is told when a request fails: one sentence that says what is wrong, and nothing that was sent."""

import errno
import logging
from collections.abc import Callable
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from bimcvr.errors import UserError

_log = logging.getLogger("bimcvr.serve")
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def add_error_handlers(app: FastAPI, public_message: Callable[[UserError], str], disk_of: str) -> None:
    """Answer 422 to what the user can mend, and 507 where the disk refuses what is written.

    Args:
        app: the application.
        public_message: returns what a client may read of an error.
        disk_of: whose disk it is, for the log: `the index`.
    """

    async def refused(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": public_message(cast(UserError, error))}, 422)

    async def unwritable(_: Request, error: Exception) -> Response:
        refused_write = cast(OSError, error)
        if refused_write.errno not in _UNWRITABLE:
            raise error
        _log.error("nothing can be written to the disk of %s: %s", disk_of, refused_write.strerror)
        told = "The server cannot write to its disk: who runs it has to free some space, or give it the right. Nothing"
        return JSONResponse({"detail": f"{told} of the request was kept."}, 507)

    async def invalid(_: Request, error: Exception) -> Response:
        errors = cast(RequestValidationError, error).errors()
        return JSONResponse({"detail": "; ".join(map(_describe_invalid, errors))}, 422)

    app.add_exception_handler(UserError, refused)
    app.add_exception_handler(OSError, unwritable)
    app.add_exception_handler(RequestValidationError, invalid)


def _describe_invalid(error: dict[str, Any]) -> str:
    """Say what is wrong with a request without repeating what was sent: it may be a report."""
    if error["type"] == "extra_forbidden":
        return "the request has an unknown field"
    if error["type"] == "json_invalid":
        return "the body is not JSON"
    return f"{' '.join(map(str, error['loc'][1:])) or 'the body'}: {error['msg']}"
