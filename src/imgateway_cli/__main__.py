"""Where the process begins: `imgateway`, or `python -m imgateway_cli`."""

import os
import signal
import sys
from typing import NoReturn

_SERVERS = ("serve", "demo")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if len(sys.argv) > 1 and sys.argv[1] in _SERVERS:
        # Loading takes a good part of a second, and until a gateway runs there is nothing to part from.
        signal.signal(signal.SIGTERM, _end)
    from imgateway_cli.main import main as run

    run()


def _end(_number: int, _frame: object) -> NoReturn:
    os._exit(0)


if __name__ == "__main__":
    main()
