"""The chat page."""

from collections.abc import Sequence
from importlib.resources import files

from starlette.routing import BaseRoute

from imgateway.adapters.starlette.static_page import static_page


def page_routes() -> Sequence[BaseRoute]:
    """The page at `/`, what it consists of under `/demo/`."""
    return static_page(files(__package__).joinpath("page"), path="/", below="/demo")
