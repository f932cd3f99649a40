"""Writes the tables of docs/reference that the code already knows, and says what is out of date.

    python scripts/reference.py

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`; a test fails where it is not what the code says.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import click
from prometheus_client import CollectorRegistry

from imgateway.adapters.prometheus import PrometheusObserver, WorkersObserver
from imgateway.codes import RPC_HTTP_STATUS, TABLE, RpcCode, reconnect_advised
from imgateway.core.settings import Settings
from imgateway.core.settings_keys import key_info, section_class
from imgateway.core.settings_loading import SECTIONS
from imgateway.core.settings_pending import PENDING_KEYS, PENDING_SECTIONS
from imgateway.core.settings_tables import is_table, member_type
from imgateway.core.settings_values import described
from imgateway_cli.main import cli

PAGES: Final = Path(__file__).parents[1] / "docs" / "reference"

_GENERATED: Final = re.compile(r"<!-- generated: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)
_DERIVED: Final = {
    "gateway.id": "`gw-{host name}-{port}`",
    "gateway.advertise": "host and port of `[server]`",
    "observability.log_format": "`console` on a terminal, else `json`",
}


def tables() -> dict[str, str]:
    """Every generated piece by name, as Markdown that ends with a line break."""
    found = {f"settings.{section}": _settings(section) for section in SECTIONS}
    found |= dict(_nested())
    found["settings.pending"] = _pending()
    found["codes"] = _codes()
    found["rest.statuses"] = _rpc_statuses()
    found["metrics"] = _metrics()
    found["metrics.workers"] = _families(WorkersObserver("g-1").registry)
    return found | dict(_commands("", cli))


def current(page: str, known: Mapping[str, str], /) -> str:
    """The page with its generated pieces as the code has them.

    Raises:
        KeyError: the page asks for a piece that is not known.
    """
    return _GENERATED.sub(lambda found: f"<!-- generated: {found[1]} -->\n\n{known[found[1]]}\n<!-- end -->", page)


def used(page: str, /) -> list[str]:
    """The names of the generated pieces in a page."""
    return [found[1] for found in _GENERATED.finditer(page)]


def _table(*rows: tuple[str, ...]) -> str:
    head, *body = rows
    lines = [head, ("---",) * len(head), *body]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _settings(section: str) -> str:
    return _table(("key", "default", "expected", "meaning"), *_keys(section))


def _keys(section: str) -> Iterator[tuple[str, ...]]:
    yield from _rows(section, section_class(getattr(attrs.fields(Settings), section)))


def _nested() -> Iterator[tuple[str, str]]:
    """The keys of tables whose names are the user's choice."""
    for section, keys in SECTIONS.items():
        for name, attribute in keys.items():
            if is_table(attribute.type) and attrs.has(member := member_type(attribute.type)):
                head = ("key", "default", "expected", "meaning")
                yield f"settings.{section}.{name}", _table(head, *_rows(f"{section}.{name}", member))


def _rows(prefix: str, kind: Any) -> Iterator[tuple[str, ...]]:
    values = kind()
    for attribute in attrs.fields(kind):
        name, info, default = attribute.name, key_info(attribute), getattr(values, attribute.name)
        expected = info.rule.expectation if info.rule else described(attribute.type)
        unset = _DERIVED.get(f"{prefix}.{name}", "not set")
        yield (
            f"`{name}`",
            unset if default is None else f"`{_toml(default)}`",
            f"{expected}, in {info.unit}" if info.unit else expected,
            f"{info.doc} Never shown." if info.secret else info.doc,
        )


def _toml(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _pending() -> str:
    return _table(
        ("setting", "what holds until it comes"),
        *((f"`[{section}]`", instead) for section, instead in PENDING_SECTIONS.items()),
        *((f"`{key}`", instead) for key, instead in PENDING_KEYS.items()),
    )


def _codes() -> str:
    return _table(
        ("code", "HTTP status", "close code", "meaning", "connect again?"),
        *(
            (
                f"`{row.code}`",
                "–" if row.http_status is None else str(row.http_status),
                str(row.close_code),
                row.title,
                "yes" if reconnect_advised(row.close_code) else "no",
            )
            for row in TABLE.values()
        ),
    )


def _rpc_statuses() -> str:
    by_status: dict[int, list[str]] = {}
    for code, status in RPC_HTTP_STATUS.items():
        if code is not RpcCode.OK:
            by_status.setdefault(status, []).append(f"`{code.name}`")
    rows = ((str(status), ", ".join(names)) for status, names in sorted(by_status.items()))
    return _table(("status", "`code`"), *rows)


def _metrics() -> str:
    observer = PrometheusObserver()
    observer.connect_decided("accepted")
    observer.connection_closed(1000)
    observer.message_up("accepted")
    observer.published(0.001)
    observer.delivery("handed_over", 1)
    observer.undelivered("no-connection", 1)
    observer.call_finished("im.v1.Chat/Send", "OK", 0.001)
    return _families(observer.registry)


def _families(registry: CollectorRegistry) -> str:
    rows = []
    for family in registry.collect():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        shown = ", ".join(f"`{label}`" for label in sorted(labels)) or "–"
        rows.append((f"`{name}`", family.type, shown, family.documentation))
    return _table(("name", "type", "label", "what it counts"), *rows)


def _commands(path: str, group: click.Group) -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        yield f"cli{path.replace(' ', '.')}.{name}", _command(f"{path} {name}".strip(), command)
        if isinstance(command, click.Group):
            yield from _commands(f"{path} {name}", command)


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"imgateway {name}")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = re.sub(r"\s*\n\s*", lambda gap: "\n\n" if gap[0].count("\n") > 1 else " ", (command.help or "").strip())
    if isinstance(command, click.Group):
        rows = [(f"`{name}`", each.get_short_help_str(limit=100)) for name, each in command.commands.items()]
        return f"```text\n{usage}\n```\n\n{text}\n\n{_table(('command', 'what it does'), *rows)}"
    options = [option for option in command.params if isinstance(option, click.Option)]
    rows = [record for option in options if (record := option.get_help_record(context))]
    shown = _table(("option", "meaning"), *((f"`{names}`", " ".join(meaning.split())) for names, meaning in rows))
    return f"```text\n{usage}\n```\n\n{text}\n\n{shown}"


def main() -> None:
    """Bring every page up to date."""
    known = tables()
    for path in sorted(PAGES.glob("*.md")):
        page = path.read_text()
        if (fresh := current(page, known)) != page:
            path.write_text(fresh)
            sys.stdout.write(f"{path.name} is new\n")


if __name__ == "__main__":
    main()
