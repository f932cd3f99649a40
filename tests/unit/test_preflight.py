"""What the settings name on this machine must be there before anything starts."""

from importlib.machinery import ModuleSpec

import pytest

from imgateway import AuthSettings, Settings, SettingsError
from imgateway.core.settings_grpc import GrpcServiceSettings, GrpcSettings
from imgateway.core.settings_services import EtcdSettings, KafkaSettings, RedisSettings
from imgateway_cli import preflight

SETTINGS = Settings(
    auth=AuthSettings(secret="9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"),
    kafka=KafkaSettings(bootstrap_servers=("kafka:9092",)),
    redis=RedisSettings(url="redis://redis:6379/0"),
    etcd=EtcdSettings(endpoints=("http://etcd:2379",)),
    grpc=GrpcSettings(reflection=True, services={"*": GrpcServiceSettings(target="logic:50051")}),
)


def test_what_is_installed_is_usable() -> None:
    preflight.require_usable(SETTINGS)


@pytest.mark.parametrize("section", ["kafka", "redis", "etcd", "grpc"])
def test_a_section_whose_library_is_missing_says_what_to_install(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str) -> ModuleSpec | None:
        return None if name == preflight.LIBRARIES[section] else ModuleSpec(name, None)

    monkeypatch.setattr(preflight, "find_spec", found)
    with pytest.raises(SettingsError) as error:
        preflight.require_usable(SETTINGS)
    assert [problem for problem in error.value.problems if f"pip install 'imgateway[{section}]'" in problem]
    assert len(error.value.problems) == 1
