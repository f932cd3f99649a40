"""`imgateway demo`: the gateway with a back end and a chat page."""

import click


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port of the chat page.")
def demo(port: int) -> None:
    """Run an embedded gateway, a small back end and a chat page; open it in two browser tabs."""
    # Imported here: the other commands need no server, and `--help` should not wait for one to load.
    from imgateway_cli.demo import run

    run(port)
