"""The logger given to uvicorn and websockets: both put request lines, and so tokens, into their lines below WARNING."""

import logging
from typing import Final

QUIET: Final = logging.getLogger("imgateway.uvicorn")
QUIET.setLevel(logging.WARNING)
# A level can be lowered by a logging configuration; the filter stays.
QUIET.addFilter(lambda record: record.levelno >= logging.WARNING)
