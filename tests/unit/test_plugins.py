"""Plugins by real entry points: packages are laid out as an installer would."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from imgateway import plugins
from imgateway.core.settings import AuthSettings
from imgateway.errors import SettingsError

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin_authenticator"
SECRET = "canary canary, where does it turn up"

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution with one module and its entry points where Python finds it."""

    def install(module: str, source: str, group: str = plugins.AUTHENTICATORS, **points: str) -> None:
        site = tmp_path / f"site-{module}"
        metadata = site / f"{module}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{module}.py").write_text(source)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in points.items())
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


CHECKER = """
class Checker:
    def __init__(self, auth):
        self.auth = auth

    async def authenticate(self, credentials):
        raise NotImplementedError

    async def aclose(self):
        pass
"""


def problem(auth: AuthSettings) -> str:
    with pytest.raises(SettingsError) as caught:
        plugins.load_authenticator(auth)
    [only] = caught.value.problems
    assert SECRET not in only
    return only


def test_the_default_is_our_own() -> None:
    authenticator = plugins.load_authenticator(AuthSettings(secret="kept by the issuer and by the gateway alone"))
    assert type(authenticator).__name__ == "JwtAuthenticator"


def test_a_plugin_is_made_from_the_settings(install: Install) -> None:
    install("plugin_good", CHECKER, mine="plugin_good:Checker")
    auth = AuthSettings(plugin="mine", secret=SECRET)
    authenticator = plugins.load_authenticator(auth)
    assert type(authenticator).__qualname__ == "Checker"
    assert getattr(authenticator, "auth", None) is auth


def test_only_the_named_plugin_is_imported(install: Install) -> None:
    install("plugin_good", CHECKER, mine="plugin_good:Checker")
    install("plugin_idle", "raise RuntimeError", idle="plugin_idle:Checker")
    plugins.load_authenticator(AuthSettings(plugin="mine"))
    assert "plugin_idle" not in sys.modules
    assert {"idle", "jwt", "mine"} <= set(plugins.installed(plugins.AUTHENTICATORS))
    assert "plugin_idle" not in sys.modules


def test_an_unknown_name_lists_what_is_installed(install: Install) -> None:
    install("plugin_good", CHECKER, mine="plugin_good:Checker")
    said = problem(AuthSettings(plugin="mime", secret=SECRET))
    assert said.startswith("auth.plugin: ")
    assert "'mime'" in said
    assert "jwt, mine" in said


@pytest.mark.parametrize(
    ("source", "point"),
    [
        ("import a_module_that_nobody_has", "plugin_bad:Checker"),
        ("raise RuntimeError('of its own')", "plugin_bad:Checker"),
        ("this is not Python", "plugin_bad:Checker"),
        (CHECKER, "plugin_bad:Missing"),
        (CHECKER, "plugin_missing:Checker"),
        (CHECKER, "plugin_bad"),
        ("Checker = 7", "plugin_bad:Checker"),
    ],
)
def test_a_plugin_that_can_not_be_loaded_is_named(install: Install, source: str, point: str) -> None:
    install("plugin_bad", source, broken=point)
    said = problem(AuthSettings(plugin="broken", secret=SECRET))
    assert said.startswith("auth.plugin: plugin 'broken' (plugin_")


@pytest.mark.parametrize(
    "source",
    [
        "def make(auth): raise ValueError(f'what is {auth.secret}?')",
        "def make(auth): return None",
        "def make(auth): return object()",
        "def make(): return None",
        CHECKER.replace("aclose", "close") + "make = Checker",
    ],
)
def test_a_plugin_that_makes_no_authenticator_is_named(install: Install, source: str) -> None:
    install("plugin_bad", source, broken="plugin_bad:make")
    assert problem(AuthSettings(plugin="broken", secret=SECRET)).startswith("auth.plugin: 'broken'")


def test_a_plugin_may_refuse_settings_in_its_own_words(install: Install) -> None:
    source = (
        "from imgateway.errors import SettingsError\ndef make(auth): raise SettingsError(['auth.issuer: expected one'])"
    )
    install("plugin_strict", source, strict="plugin_strict:make")
    assert problem(AuthSettings(plugin="strict")) == "auth.issuer: expected one"


def test_a_name_that_two_packages_claim_is_nobodys(install: Install) -> None:
    install("plugin_one", CHECKER, same="plugin_one:Checker")
    install("plugin_two", CHECKER, same="plugin_two:Checker")
    said = problem(AuthSettings(plugin="same"))
    assert "plugin_one:Checker" in said
    assert "plugin_two:Checker" in said


def test_other_groups_work_alike(install: Install) -> None:
    install("plugin_codec", "def make(): return 'made'", group="imgateway.codecs", mine="plugin_codec:make")
    assert plugins.installed("imgateway.codecs") == ("mine",)
    assert plugins.load("imgateway.codecs", "mine")() == "made"
    assert "mine" not in plugins.installed(plugins.AUTHENTICATORS)
    with pytest.raises(SettingsError, match="installed: none"):
        plugins.load("imgateway.limiters", "mine")


def test_the_example_loads_by_the_entry_point_it_declares(install: Install) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    [module] = EXAMPLE.glob("imgateway_*.py")
    install(module.stem, module.read_text(), **project["entry-points"][plugins.AUTHENTICATORS])
    authenticator = plugins.load_authenticator(AuthSettings(plugin="session-cookie", secret=SECRET))
    assert type(authenticator).__module__ == module.stem
    assert problem(AuthSettings(plugin="session-cookie")).startswith("auth.secret")


def test_the_example_passes_its_own_tests() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout


def test_the_how_to_shows_the_example_as_it_is() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "how-to" / "plugin-authenticator.md").read_text()
    shown = re.findall(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    code = "\n".join(file.read_text() for file in EXAMPLE.glob("*.py"))
    assert len(shown) == 3
    for block in shown:
        assert block in code
    declared, configured = (
        tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.M)
    )
    assert declared["project"] == {
        "entry-points": tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    }
    [name] = declared["project"]["entry-points"][plugins.AUTHENTICATORS]
    assert configured["auth"]["plugin"] == name
