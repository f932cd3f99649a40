"""The reference pages say what the code says: generated tables are fresh, and lists are complete."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from imgateway import ports, testing
from imgateway.adapters.grpc.routing.query import MAX_DEPTH, MAX_PARAMETERS
from imgateway.adapters.grpc.routing.rules import SERVED_METHODS
from imgateway.core.own_paths import OWN_PATHS
from imgateway.core.topics import Topics
from imgateway.model import GatewayId, Undelivered

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
LIBRARY = ROOT / "src" / "imgateway"

_WORD = re.compile(r"[a-z]+([_-][a-z]+)*")
_REFUSING = frozenset({"Refusal", "say_error", "_refusal", "_refuse"})
_COUNTED = frozenset({"connect_decided", "message_up", "delivery", "undelivered"})


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The script that writes the tables."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.md")), ids=lambda path: path.stem)
def test_generated_tables_are_fresh(path: Path, reference: ModuleType) -> None:
    text = path.read_text()
    assert text == reference.current(text, reference.tables()), "run python scripts/reference.py"


def test_every_table_is_shown_once(reference: ModuleType) -> None:
    shown = [name for path in REFERENCE.glob("*.md") for name in reference.used(path.read_text())]
    assert sorted(shown) == sorted(reference.tables())


def words_given_to(functions: frozenset[str], *folders: str) -> Iterator[str]:
    """The literal words with which the library calls any of `functions`."""
    for path in (path for folder in folders for path in (LIBRARY / folder).rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                for argument in call.args if name in functions else ():
                    word = argument.value if isinstance(argument, ast.Constant) else None
                    if isinstance(word, str) and _WORD.fullmatch(word):
                        yield word


def test_every_word_in_details_is_explained() -> None:
    words = set(words_given_to(_REFUSING, "core", "wire", "adapters/starlette"))
    assert {"duplicate_key", "origin", "client_msg_id_reused"} <= words, "this test no longer finds them"
    assert {word for word in words if f"`{word}`" not in page("codes")} == set()


def test_every_label_that_is_counted_is_explained() -> None:
    words = set(words_given_to(_COUNTED, "core"))
    assert {"handed_over", "duplicate", "dropped-too-large"} <= words, "this test no longer finds them"
    words |= {reason.value for reason in Undelivered}
    assert {word for word in words if f"`{word}`" not in page("metrics")} == set()


def test_topics_groups_and_reasons_are_as_the_code_has_them() -> None:
    topics, gateway_id = Topics(), GatewayId("{gateway_id}")
    names = [topics.upstream, topics.downstream(gateway_id), topics.undelivered, topics.downstream_group(gateway_id)]
    names += [reason.value for reason in Undelivered]
    assert [name for name in names if f"`{name}`" not in page("records")] == []


def test_every_port_and_every_suite_is_listed() -> None:
    suites = {name for name in testing.__all__ if name.endswith("Suite")} - {"ContractSuite"}
    helpers = {"PublishTicket", "Settlement"}  # what callers of a port bring along
    listed = set(re.findall(r"`(\w+)`", page("python-api")))
    assert (set(ports.__all__) - helpers | suites) - listed == set()
    assert {name for name in listed if name.endswith("Suite")} - set(testing.__all__) == set()


def test_what_rules_and_queries_may_have_is_as_the_code_has_it() -> None:
    rules = page("rest").partition("\n## Rules that are left out\n")[2].partition("\n## ")[0]
    methods, _, paths = rules.partition("`OPTIONS`")
    assert set(re.findall(r"`([A-Z][A-Z-]+)`", methods)) == SERVED_METHODS
    assert all(f"`{path}`" in paths for path in OWN_PATHS)
    fields = page("rest").partition("**Where fields come from.**")[2].partition("\n\n")[0]
    assert f"{MAX_PARAMETERS:,} parameters" in fields
    assert f"{MAX_DEPTH} steps" in fields
