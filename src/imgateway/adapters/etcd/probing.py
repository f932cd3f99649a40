"""Trying etcd out, for whoever wants to know why it doesn't work."""

from imgateway.adapters.etcd.access import EtcdAccess
from imgateway.adapters.etcd.instances import InstanceKeys
from imgateway.adapters.etcd.keyspace import EtcdKeyspace
from imgateway.adapters.etcd.ownership import PREFIX
from imgateway.adapters.etcd.transport import EtcdTransport


async def probe(access: EtcdAccess, /, *, prefix: str = "/services/") -> None:
    """Read what the other parts would read. Bounded in time, writes nothing.

    Raises:
        SettingsError: a TLS file can't be used.
        ServiceUnavailableError: no endpoint answered, or etcd refuses; the text names the setting to look at.
    """
    async with EtcdTransport(access) as transport:
        for key in (InstanceKeys(prefix).prefix, PREFIX):
            await EtcdKeyspace(transport).read(key.encode())
