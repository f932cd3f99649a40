"""What the package promises about itself: layers, light imports, documented modules, one table of codes."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imgateway
import imgateway_cli
from imgateway.codes import NAMED_CLOSE_CODES, RFC_GOING_AWAY, RFC_NORMAL, TABLE

ROOT = Path(__file__).parents[2]
ADAPTER_LIBRARIES = {
    "aiohttp",
    "aiokafka",
    "click",
    "etcd3",
    "grpc",
    "httptools",
    "jwt",
    "picows",
    "prometheus_client",
    "redis",
    "starlette",
    "uvicorn",
    "uvloop",
    "websockets",
}
PUBLIC_PACKAGES = ("imgateway", "imgateway.ports", "imgateway.testing", "imgateway.adapters.memory")


def _sources() -> list[Path]:
    return sorted((ROOT / "src").rglob("*.py"))


def _module_names() -> list[str]:
    packages = (imgateway, imgateway_cli)
    return [
        *(package.__name__ for package in packages),
        *(
            info.name
            for package in packages
            for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
            if not info.name.endswith("__main__")
        ),
    ]


@pytest.mark.parametrize(
    "module",
    [
        "imgateway",
        "imgateway.core.gateway",
        "imgateway.ports",
        "imgateway.plugins",
        "imgateway.testing",
        "imgateway.adapters",
        "imgateway.adapters.memory",
        "imgateway.adapters.memory.embedded",
    ],
)
def test_importing_it_loads_no_library_of_an_adapter(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert not ADAPTER_LIBRARIES & {name.partition(".")[0] for name in loaded}
    assert not [name for name in loaded if name.startswith("imgateway_cli")]


def test_the_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout
    assert " kept, 0 broken" in outcome.stdout


def test_every_library_of_an_adapter_stays_in_that_adapter() -> None:
    """The linter's contracts name the layers below the adapters; this one holds for the adapters themselves."""
    homes: dict[str, set[str]] = {}
    for path in _sources():
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        if parts[0] != "imgateway":
            continue  # the command line puts the parts together
        for library in _imported(path) & ADAPTER_LIBRARIES:
            homes.setdefault(library, set()).add(".".join(parts[:3]))
    assert all(home.startswith("imgateway.adapters.") for places in homes.values() for home in places), homes
    shared = {library for library, places in homes.items() if len(places) > 1}
    assert not shared, {library: homes[library] for library in shared}


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_every_module_says_what_it_is_and_stays_small() -> None:
    for path in _sources():
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
        assert text.count("\n") <= 400, f"{path} wants splitting"


def test_no_module_is_named_after_nothing() -> None:
    names = {part for name in _module_names() for part in name.split(".")}
    assert not names & {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}


@pytest.mark.parametrize("package", PUBLIC_PACKAGES)
def test_public_names_can_be_imported_and_are_documented(package: str) -> None:
    module = importlib.import_module(package)
    names = module.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name)) or names == sorted(names)
    for name in names:
        public = getattr(module, name)
        if isinstance(public, type):
            assert public.__doc__, f"{package}.{name} has no docstring"


def test_close_codes_stand_in_one_table() -> None:
    """1000 and 1001 are numbers for much else; all others would be no coincidence."""
    codes = {row.close_code for row in TABLE.values()} | NAMED_CLOSE_CODES
    telling = codes - {RFC_NORMAL, RFC_GOING_AWAY}
    assert len(telling) > 15
    elsewhere = [
        f"{path.relative_to(ROOT)}:{line}: {number}"
        for path in _sources()
        if path.name != "codes.py" and "testing" not in path.parts
        for line, number in _numbers(path)
        if number in telling
    ]
    assert elsewhere == []


def _numbers(path: Path) -> Iterator[tuple[int, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield node.lineno, node.value
