"""All routes of the services behind the gateway."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Self

import attrs
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodOptions

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway.adapters.grpc.routing.answers import AnswerBinding
from imgateway.adapters.grpc.routing.binding import Binder
from imgateway.adapters.grpc.routing.fields import FieldNames
from imgateway.adapters.grpc.routing.message_call import MessageCall
from imgateway.adapters.grpc.routing.publicity import PublicMethods
from imgateway.adapters.grpc.routing.route import Route
from imgateway.adapters.grpc.routing.rules import ANY_METHOD, COMMON_METHODS, NOT_ANY, Rule, rules_of
from imgateway.adapters.grpc.routing.template import PathTemplate
from imgateway.adapters.grpc.routing.trie import Captures, PathTrie
from imgateway.adapters.grpc.schema import Loaded
from imgateway.core.own_paths import is_own
from imgateway.core.settings_grpc import ANY_SERVICE, GrpcSettings
from imgateway.core.settings_problems import within
from imgateway.errors import SettingsError
from imgateway.rpc import RestRoute

_OWN_METHODS: Final = ("GET", "HEAD", ANY_METHOD)
"""Of rules that the gateway's own paths would hide, or most of what they are for."""


@attrs.frozen(eq=False)
class RouteTable:
    """The routes of one set of descriptors. Does not change: other descriptors make another table.

    Attributes:
        routes: in the order of the files, services, methods and rules.
        calls: what makes calls of clients' messages, by their types in `grpc.messages`; or why they can't be answered.
        problems: what of the descriptors can't be served and why, one line each.
        unmatched: the settings that name what the descriptors do not have, one line each, which names the key.
        files: the descriptors.
    """

    routes: Sequence[Route]
    calls: Mapping[str, MessageCall | str]
    problems: Sequence[str]
    unmatched: Sequence[str]
    files: Sequence[FileDescriptorProto]
    _tries: Mapping[str, PathTrie[Route]]

    @classmethod
    def build(cls, loaded: Loaded, settings: GrpcSettings, /) -> "RouteTable":
        """Make every route that can be made.

        Raises:
            SettingsError: the prefix is no path, or the messages can't be followed. Whatever else is wrong is in
                `problems`, `unmatched` and `calls`.
        """
        try:
            return _Building.of(loaded, settings).table()
        except RecursionError:  # of protobuf, which makes the classes of messages within messages that way
            key = "reflection" if settings.descriptor_set is None else "descriptor_set"
            raise SettingsError([f"grpc.{key}: messages contain each other in too long a chain"]) from None

    def find(self, http_method: str, path: str, /) -> tuple[Route, Captures] | frozenset[str]:
        """The route for a request with what its variables capture, or the HTTP methods that the path would take.

        A rule of the HTTP method itself is preferred to one of any method, which CONNECT, OPTIONS and TRACE never find.
        HEAD finds what GET finds, unless a rule is for HEAD. Takes time by the length of the path, whatever it is.

        Args:
            http_method: in upper case.
            path: undecoded, with the prefix, without `?`.
        """
        trie = self._tries.get(http_method)
        if trie is not None and (found := trie.find(path)) is not None:
            return found
        if http_method == "HEAD" and (trie := self._tries.get("GET")) and (found := trie.find(path)) is not None:
            return found
        takes_any = self._tries.get(ANY_METHOD)
        if takes_any is not None and http_method not in NOT_ANY and (found := takes_any.find(path)) is not None:
            return found
        allowed = {other for other, trie in self._tries.items() if trie.find(path) is not None}
        if ANY_METHOD in allowed:
            return frozenset(allowed - {ANY_METHOD} | COMMON_METHODS)
        return frozenset(allowed | {"HEAD"} if "GET" in allowed else allowed)

    def unanswered(self) -> Iterator[str]:
        """The types in `grpc.messages` that no method can answer, one line each that names the key."""
        for message_type, call in self.calls.items():
            if isinstance(call, str):
                yield f"{within('grpc.messages', message_type)}: {call}"


@attrs.frozen(eq=False)
class _Building:
    """Makes a table.

    Attributes:
        problems: those met so far.
    """

    loaded: Loaded
    settings: GrpcSettings
    binder: Binder
    public: PublicMethods
    prefix: tuple[str, ...]
    methods: Mapping[str, MethodDescriptor]
    tries: dict[str, PathTrie[Route]] = attrs.field(factory=dict, init=False)
    problems: list[str] = attrs.field(factory=list, init=False)

    @classmethod
    def of(cls, loaded: Loaded, settings: GrpcSettings) -> Self:
        codec = MessageCodec(loaded.pool, unknown_fields=settings.unknown_fields, field_names=settings.field_names)
        return cls(
            loaded=loaded,
            settings=settings,
            binder=Binder(FieldNames(), codec, settings.identity_fields, settings.unknown_fields == "reject"),
            public=PublicMethods.of(settings.public),
            prefix=_literals(settings.prefix),
            methods=dict(_methods_of(loaded)),
        )

    def table(self) -> RouteTable:
        routes = tuple(self._routes())
        return RouteTable(
            routes=routes,
            calls={type_: self._call(rpc) for type_, rpc in self.settings.messages.items()},
            problems=(*self.loaded.problems, *self.problems),
            unmatched=tuple(self._unmatched()),
            files=self.loaded.files,
            tries=self.tries,
        )

    def _routes(self) -> Iterator[Route]:
        targetless: set[str] = set()
        for rpc, method in self.methods.items():
            rules = rules_of(method)
            service = rpc.partition("/")[0]
            if rules and not self._has_target(rpc):
                if service not in targetless:
                    targetless.add(service)
                    self.problems.append(f"{service}: is not in grpc.services, its routes are not served")
                continue
            for rule in rules:
                try:
                    route = self._route(rpc, method, rule)
                except ValueError as error:
                    self.problems.append(f"{rpc}: {rule}: {error}")
                    continue
                trie = self.tries.setdefault(route.rest.http_method, PathTrie())
                if (first := trie.add(route.template, route)) is None:
                    yield route
                else:
                    self.problems.append(f"{rpc}: {rule}: {first.rest.rpc} has the same route, {first.rest.path}")

    def _route(self, rpc: str, method: MethodDescriptor, rule: Rule) -> Route:
        if rule.problem is not None:
            raise ValueError(rule.problem)
        try:
            template = PathTemplate.parse(rule.path).under(self.prefix)
        except ValueError as error:
            raise ValueError(f"the path {error}") from None
        if rule.http_method in _OWN_METHODS and (path := template.only_path) is not None and is_own(path):
            raise ValueError("the gateway keeps this path for itself")
        public, binder = rpc in self.public, self.binder
        return Route(
            rest=RestRoute(
                http_method=rule.http_method,
                path=str(template),
                rpc=rpc,
                public=public,
                server_streaming=method.server_streaming,
                client_streaming=method.client_streaming,
                takes_body=bool(rule.body),
            ),
            method=method,
            template=template,
            body=rule.body,
            response_body=rule.response_body,
            idempotent=rule.http_method in ("GET", "HEAD") or _idempotent(method),
            request=binder.bind(method.input_type, template, rule.body, public),
            answer=AnswerBinding.of(method.output_type, rule.response_body, binder.names, binder.codec),
        )

    def _call(self, rpc: str) -> MessageCall | str:
        """What makes calls of a method out of clients' messages, or why it can't be called so."""
        method = self.methods.get(rpc)
        if method is None:
            return f"{rpc}: no such method"
        if method.client_streaming or method.server_streaming:
            return f"{rpc}: is no unary method"
        if not self._has_target(rpc):
            return f"{rpc}: its service is not in grpc.services"
        try:
            return MessageCall.of(rpc, method, self.binder, _idempotent(method))
        except ValueError as error:
            return f"{rpc}: {error}"

    def _has_target(self, rpc: str) -> bool:
        services = self.settings.services
        return ANY_SERVICE in services or rpc.partition("/")[0] in services

    def _unmatched(self) -> Iterator[str]:
        if not self.methods:
            return
        for entry in self.public.unused(self.methods):
            yield f'grpc.public: "{entry}" matches no method'
        known = {rpc.partition("/")[0] for rpc in self.methods}
        for service in self.settings.services:
            if service != ANY_SERVICE and service not in known:
                yield f'grpc.services: "{service}" is not in the descriptors'


def _literals(prefix: str) -> tuple[str, ...]:
    bare = prefix.strip("/")
    if not bare:
        return ()
    try:
        template = PathTemplate.parse(f"/{bare}")
    except ValueError as error:
        raise SettingsError([f"grpc.prefix: {error}"]) from None
    literals = tuple(segment for segment in template.segments if isinstance(segment, str))
    if len(literals) < len(template.segments) or template.verb:
        raise SettingsError(['grpc.prefix: expected a path like "/api", without wildcards'])
    return literals


def _methods_of(loaded: Loaded) -> Iterator[tuple[str, MethodDescriptor]]:
    for file in loaded.files:
        for service in loaded.pool.FindFileByName(file.name).services_by_name.values():
            for method in service.methods:
                yield f"{service.full_name}/{method.name}", method


def _idempotent(method: MethodDescriptor) -> bool:
    options = method.GetOptions()
    return options.idempotency_level in (MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT)
