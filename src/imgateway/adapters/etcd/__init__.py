"""Registration, discovery and ownership of gateway ids in etcd, with etcd3-py."""

from imgateway.adapters.etcd.access import EtcdAccess
from imgateway.adapters.etcd.ownership import EtcdOwnership
from imgateway.adapters.etcd.probing import probe
from imgateway.adapters.etcd.registrar import EtcdRegistrar
from imgateway.adapters.etcd.resolver import EtcdResolver

__all__ = ["EtcdAccess", "EtcdOwnership", "EtcdRegistrar", "EtcdResolver", "probe"]
