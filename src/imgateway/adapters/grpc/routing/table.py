"""All routes of the services behind the gateway."""

from collections.abc import Iterator, Sequence

import attrs
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodOptions
from google.protobuf.descriptor_pool import DescriptorPool

from imgateway.adapters.grpc.codec import MessageCodec
from imgateway.adapters.grpc.routing.answers import AnswerBinding
from imgateway.adapters.grpc.routing.binding import Binder
from imgateway.adapters.grpc.routing.calls import MessageCall
from imgateway.adapters.grpc.routing.fields import FieldNames
from imgateway.adapters.grpc.routing.publicity import PublicMethods
from imgateway.adapters.grpc.routing.route import Route
from imgateway.adapters.grpc.routing.rules import ANY_METHOD, COMMON_METHODS, NOT_ANY, Rule, rules_of
from imgateway.adapters.grpc.routing.template import PathTemplate
from imgateway.adapters.grpc.routing.trie import Captures, PathTrie
from imgateway.adapters.grpc.schema import Loaded, load
from imgateway.adapters.grpc.schema.installed import WELL_KNOWN
from imgateway.core.settings_grpc import ANY_SERVICE, GrpcSettings
from imgateway.core.settings_problems import within
from imgateway.errors import SettingsError
from imgateway.rpc import RestRoute


@attrs.define(eq=False)
class RouteTable:
    """The routes of one set of descriptors. Does not change: other descriptors make another table.

    Attributes:
        routes: in the order of the files, services, methods and rules.
        problems: what can't be served and why, one line each.
        pool: the descriptors.
        codec: between their messages and JSON, by the settings.
    """

    routes: Sequence[Route]
    problems: Sequence[str]
    pool: DescriptorPool
    codec: MessageCodec
    _tries: dict[str, PathTrie[Route]]
    _methods: dict[str, MethodDescriptor]
    _binder: Binder
    _settings: GrpcSettings
    _public: PublicMethods

    @classmethod
    def build(cls, descriptors: FileDescriptorSet, settings: GrpcSettings, /) -> "RouteTable":
        """Make every route that can be made.

        Raises:
            SettingsError: no file of the set can be loaded, its messages can't be followed, or the prefix is no path.
                Whatever else is wrong is in `problems`.
        """
        loaded = load(descriptors)
        if loaded.problems and all(file.name.startswith(WELL_KNOWN) for file in loaded.files):
            raise SettingsError([f"grpc.descriptor_set: {problem}" for problem in loaded.problems])
        codec = MessageCodec(loaded.pool, unknown_fields=settings.unknown_fields, field_names=settings.field_names)
        binder = Binder(FieldNames(), codec, settings.identity_fields, settings.unknown_fields == "reject")
        table = cls(
            routes=(),
            problems=(),
            pool=loaded.pool,
            codec=codec,
            tries={},
            methods=dict(_methods_of(loaded)),
            binder=binder,
            settings=settings,
            public=PublicMethods.of(settings.public),
        )
        try:
            table.problems = (*loaded.problems, *table._fill(), *table._unmatched())
        except RecursionError:  # of protobuf, which makes the classes of messages within messages that way
            key = "reflection" if settings.descriptor_set is None else "descriptor_set"
            raise SettingsError([f"grpc.{key}: messages contain each other in too long a chain"]) from None
        return table

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

    def method(self, rpc: str, /) -> MethodDescriptor | None:
        """A method by `pkg.Service/Method`, whether it has routes or not."""
        return self._methods.get(rpc)

    def message_call(self, rpc: str, /) -> MessageCall | str:
        """What makes calls of a method out of clients' messages, or why it can't be called so."""
        method = self._methods.get(rpc)
        if method is None:
            return f"{rpc}: no such method"
        if method.client_streaming or method.server_streaming:
            return f"{rpc}: is no unary method"
        if not self._has_target(rpc):
            return f"{rpc}: its service is not in grpc.services"
        try:
            return MessageCall.of(rpc, method, self._binder, rpc in self._public, _idempotent(method))
        except ValueError as error:
            return f"{rpc}: {error}"

    def unanswered(self) -> Iterator[str]:
        """The types in `grpc.messages` that no method can answer, one line each that names the key."""
        for message_type, rpc in self._settings.messages.items():
            if isinstance(problem := self.message_call(rpc), str):
                yield f"{within('grpc.messages', message_type)}: {problem}"

    def _fill(self) -> Iterator[str]:
        """Make the routes; the problems met."""
        routes: list[Route] = []
        prefix = _literals(self._settings.prefix)
        targetless: set[str] = set()
        for rpc, method in self._methods.items():
            rules = rules_of(method)
            service = rpc.partition("/")[0]
            if rules and not self._has_target(rpc):
                if service not in targetless:
                    targetless.add(service)
                    yield f"{service}: is not in grpc.services, its routes are not served"
                continue
            for rule in rules:
                try:
                    route = self._route(rpc, method, rule, prefix)
                except ValueError as error:
                    yield f"{rpc}: {rule}: {error}"
                    continue
                trie = self._tries.setdefault(route.rest.http_method, PathTrie())
                if (first := trie.add(route.template, route)) is None:
                    routes.append(route)
                else:
                    yield f"{rpc}: {rule}: {first.rest.rpc} has the same route, {first.rest.path}"
        self.routes = tuple(routes)

    def _route(self, rpc: str, method: MethodDescriptor, rule: Rule, prefix: tuple[str, ...]) -> Route:
        if rule.problem is not None:
            raise ValueError(rule.problem)
        try:
            template = PathTemplate.parse(rule.path).under(prefix)
        except ValueError as error:
            raise ValueError(f"the path {error}") from None
        public = rpc in self._public
        names = self._binder.names
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
            request=self._binder.bind(method.input_type, template, rule.body, public),
            answer=AnswerBinding.of(method.output_type, rule.response_body, names, self.codec),
        )

    def _has_target(self, rpc: str) -> bool:
        services = self._settings.services
        return ANY_SERVICE in services or rpc.partition("/")[0] in services

    def _unmatched(self) -> Iterator[str]:
        """Settings that name what is not there."""
        if not self._methods:
            return
        for entry in self._public.unused(self._methods):
            yield f'grpc.public: "{entry}" matches no method'
        known = {rpc.partition("/")[0] for rpc in self._methods}
        for service in self._settings.services:
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
