"""Path templates as OpenAPI has them: a parameter is one segment."""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from imgateway.adapters.grpc.routing.percent import encoded
from imgateway.adapters.grpc.routing.template import PathTemplate, Variable, Wildcard

_UNNAMED: Final = "segment"


@attrs.frozen
class PathParameter:
    """A segment that clients fill in.

    Attributes:
        name: unique in its path.
        variable: whose it is; None for a segment that goes into no field.
        whole: whether it alone is the variable's value.
        rest: whether it may be several segments, with slashes between them.
    """

    name: str
    variable: Variable | None
    whole: bool
    rest: bool


@attrs.frozen
class OpenApiPath:
    """A path with its parameters.

    Attributes:
        pieces: literal text and parameters, one after the other.
    """

    pieces: tuple[str | PathParameter, ...]

    @property
    def parameters(self) -> Sequence[PathParameter]:
        """In the order of the path."""
        return [piece for piece in self.pieces if isinstance(piece, PathParameter)]

    @property
    def shape(self) -> str:
        """The same for two paths that OpenAPI takes for one (OpenAPI 3.1, section "Paths Object")."""
        return "".join(piece if isinstance(piece, str) else "{}" for piece in self.pieces)

    def named_like(self, other: "OpenApiPath", /) -> "OpenApiPath":
        """This path with the parameter names of another one of the same shape."""
        names = iter([parameter.name for parameter in other.parameters])
        return OpenApiPath(tuple(p if isinstance(p, str) else attrs.evolve(p, name=next(names)) for p in self.pieces))

    def __str__(self) -> str:
        return "".join(piece if isinstance(piece, str) else f"{{{piece.name}}}" for piece in self.pieces)


def openapi_path(template: PathTemplate, called: Callable[[Variable], str], /) -> OpenApiPath:
    """A template's path. `{name=shelves/*}` becomes `shelves/{name}`; further wildcards of a variable get numbers.

    Args:
        template: the path.
        called: how the document calls a variable.
    """
    owners = {
        index: variable
        for variable in template.variables
        for index in range(variable.start, variable.start + len(variable.pattern))
    }
    taken = {called(variable) for variable in template.variables}
    pieces: list[str | PathParameter] = []
    used: set[str] = set()
    for index, segment in enumerate(template.segments):
        pieces.append("/")
        if not isinstance(segment, Wildcard):
            pieces.append(encoded(segment))
            continue
        owner = owners.get(index)
        name = _free(_UNNAMED, used | taken) if owner is None else called(owner)
        if name in used:
            name = _free(name, used | taken)
        used.add(name)
        whole = owner is not None and len(owner.pattern) == 1
        pieces.append(PathParameter(name, owner, whole, segment is Wildcard.REST))
    if template.verb:
        pieces.append(f":{encoded(template.verb)}")
    return OpenApiPath(tuple(pieces))


def _free(name: str, taken: set[str]) -> str:
    number = 1
    while (candidate := name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    return candidate
