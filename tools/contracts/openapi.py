"""The OpenAPI document of the HTTP API, and how it breaks a released one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final

from lyo.tools.contracts.compatibility import breaks

__all__ = ["openapi_document", "operation_breaks"]

Node = dict[str, Any]

_APP: Final = "lyo.predictive.api.app"
_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


def openapi_document() -> Node | None:
    """The API's own document; None if the API is not part of this version."""
    module = _module()
    if module is None:
        return None
    described: Node = module.openapi()
    return described


def _module() -> ModuleType | None:
    try:
        return importlib.import_module(_APP)
    except ModuleNotFoundError as error:
        if error.name != _APP:
            raise
        return None


def operation_breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """How the present OpenAPI document breaks a released one, one sentence each."""
    return list(_operations(old, new))


def _operations(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for path, item in old.get("paths", {}).items():
        item_now = new.get("paths", {}).get(path, {})
        for method in item.keys() & _METHODS:
            place = f"{method.upper()} {path}"
            if method not in item_now:
                yield f"{place}: the operation is gone"
                continue
            for line in _operation(_whole(item, method), _whole(item_now, method), old, new):
                yield f"{place}: {line}"


def _whole(item: Node, method: str) -> Node:
    """An operation with the parameters of its path; its own parameters take precedence."""
    operation: Node = item[method]
    own = operation.get("parameters", [])
    names = {(parameter["in"], parameter["name"]) for parameter in own}
    shared = [
        parameter
        for parameter in item.get("parameters", ())
        if (parameter["in"], parameter["name"]) not in names
    ]
    return operation | {"parameters": [*shared, *own]}


def _operation(was: Node, now: Node, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from _security(was, now, old, new)
    yield from _parameters(was, now, old, new)
    body, body_now = was.get("requestBody"), now.get("requestBody")
    if body_now is not None and body_now.get("required") and not (body or {}).get("required"):
        yield "a body is now required"
    if body is not None:
        yield from _media(body, body_now or {}, old, new, inbound=True, what="body")
    for status, answer in was.get("responses", {}).items():
        answer_now = now.get("responses", {}).get(status)
        if answer_now is None:
            yield f"the answer {status} is gone"
        else:
            yield from _media(answer, answer_now, old, new, inbound=False, what=f"answer {status}")
            yield from _headers(answer, answer_now, old, new, f"answer {status}")


def _security(was: Node, now: Node, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Credentials that met a released alternative must meet one of the present alternatives."""
    before, after = _alternatives(was, old), _alternatives(now, new)
    for credentials in before:
        if not any(_suffices(credentials, required) for required in after):
            yield f"security was {before}, is {after}"
    for name in sorted({name for credentials in before for name in credentials}):
        scheme, scheme_now = _scheme(old, name), _scheme(new, name)
        if scheme != scheme_now and any(name in required for required in after):
            yield f"the security scheme {name} was {scheme}, is {scheme_now}"


def _alternatives(operation: Node, document: Mapping[str, Any]) -> list[Node]:
    # No alternatives means the same as one alternative that requires nothing.
    return operation.get("security", document.get("security")) or [{}]


def _suffices(credentials: Node, required: Node) -> bool:
    return all(
        name in credentials and set(scopes) <= set(credentials[name]) for name, scopes in required.items()
    )


def _scheme(document: Mapping[str, Any], name: str) -> Node:
    scheme = document.get("components", {}).get("securitySchemes", {}).get(name, {})
    return {part: value for part, value in scheme.items() if part != "description"}


def _headers(
    was: Node, now: Node, old: Mapping[str, Any], new: Mapping[str, Any], what: str
) -> Iterator[str]:
    for name, header in was.get("headers", {}).items():
        header_now = now.get("headers", {}).get(name)
        if header_now is None:
            yield f"the {what} no longer has the header {name}"
            continue
        if header.get("required") and not header_now.get("required"):
            yield f"the {what} may now lack the header {name}"
        lines = _schema(header, header_now, old, new, inbound=False)
        yield from (f"{what} header {name} {line}" for line in lines)


def _parameters(was: Node, now: Node, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before = {(parameter["in"], parameter["name"]): parameter for parameter in was.get("parameters", ())}
    after = {(parameter["in"], parameter["name"]): parameter for parameter in now.get("parameters", ())}
    for place, parameter in before.items():
        if place not in after:
            yield f"the {place[0]} parameter {place[1]} is gone"
            continue
        yield from (
            f"parameter {place[1]} {line}"
            for line in _schema(parameter, after[place], old, new, inbound=True)
        )
    for place, parameter in after.items():
        if parameter.get("required") and not before.get(place, {}).get("required"):
            yield f"the {place[0]} parameter {place[1]} is now required"


def _media(
    was: Node, now: Node, old: Mapping[str, Any], new: Mapping[str, Any], *, inbound: bool, what: str
) -> Iterator[str]:
    for media, content in was.get("content", {}).items():
        content_now = now.get("content", {}).get(media)
        if content_now is None:
            yield f"the {what} is no longer {media}"
            continue
        yield from (f"{what} {line}" for line in _schema(content, content_now, old, new, inbound=inbound))


def _schema(
    was: Node, now: Node, old: Mapping[str, Any], new: Mapping[str, Any], *, inbound: bool
) -> list[str]:
    """Compare two schemas that refer into their documents."""
    before = {**_components(old), **was.get("schema", {})}
    after = {**_components(new), **now.get("schema", {})}
    return breaks(before, after, inbound=inbound)


def _components(document: Mapping[str, Any]) -> Node:
    """The components of a document, to which references point; 'components' is no keyword of a schema."""
    return {"components": document.get("components", {})}
