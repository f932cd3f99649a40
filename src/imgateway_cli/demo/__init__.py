"""`imgateway demo`: an embedded gateway, a small back end and a chat page in one process."""

from imgateway_cli.demo.app import run

__all__ = ["run"]
