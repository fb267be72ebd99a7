#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the route table of an OpenAPI 3.1 document as C: routes.py NAME OPENAPI.json.

For NAME api: the prototypes of the handlers (operationId getSession: api_get_session), the rows
api_routes[], and the document itself in pieces, api_document[]. Each operation says who may ask
by x-weir-access; all but GET need CSRF protection. What cannot be turned into rows is an error,
so that nothing in the document is promised and not checked.
"""
import json
import re
import sys

ACCESS = ("public", "viewer", "operator", "admin")
METHODS = ("get", "put", "post", "delete", "patch")
TYPES = {"string": "HTTP_TEXT", "integer": "HTTP_INTEGER", "number": "HTTP_NUMBER",
         "boolean": "HTTP_BOOLEAN", "array": "HTTP_LIST"}
# which keywords bound a type, and which others say nothing that is checked here
LIMITS = {"string": ("minLength", "maxLength"), "integer": ("minimum", "maximum"),
          "number": ("minimum", "maximum"), "array": ("minItems", "maxItems"), "boolean": ()}
SAID_ONLY = {"type", "description", "format", "default", "enum", "items", "title", "examples"}
PIECE = 2000  # a C string literal may have 4095 bytes


class Unfit(Exception):
    pass


def quoted(text):
    out = []
    for byte in text.encode():
        if byte in b'"\\':
            out.append("\\" + chr(byte))
        elif 0x20 <= byte < 0x7f and byte != ord("?"):
            out.append(chr(byte))
        else:
            out.append(f"\\{byte:03o}")
    return '"' + "".join(out) + '"'


def snake(name):
    return re.sub(r"(?<=[a-z0-9])([A-Z])|(?<=[A-Z])([A-Z])(?=[a-z])",
                  lambda m: "_" + m[0], name).lower()


class Document:
    def __init__(self, root):
        self.root = root
        servers = root.get("servers") or [{"url": ""}]
        self.prefix = re.sub(r"^https?://[^/]*", "", servers[0]["url"]).rstrip("/")

    def resolve(self, node):
        while "$ref" in node:
            ref = node["$ref"]
            if not ref.startswith("#/"):
                raise Unfit(f"{ref} is outside the document")
            node = self.root
            for step in ref[2:].split("/"):
                node = node[step.replace("~1", "/").replace("~0", "~")]
        return node

    def operations(self):
        """(method, path, operation, parameters), literal path segments before {parameters}"""
        found = []
        for path, item in self.root["paths"].items():
            item = self.resolve(item)
            for method, operation in item.items():
                if method in METHODS:
                    shared = [self.resolve(p) for p in item.get("parameters", [])]
                    own = [self.resolve(p) for p in operation.get("parameters", [])]
                    names = {(p["name"], p["in"]) for p in own}
                    shared = [p for p in shared if (p["name"], p["in"]) not in names]
                    found.append((method.upper(), self.prefix + path, operation, shared + own))
        found.sort(key=lambda row: ([(s.startswith("{"), s) for s in row[1].split("/")], row[0]))
        return found

    def body_rows(self, operation):
        """Rows of a JSON body's properties, or None where no JSON body is taken."""
        if "requestBody" not in operation:
            return None
        content = self.resolve(operation["requestBody"])["content"]
        if list(content) != ["application/json"]:
            raise Unfit("the body must be application/json")
        schema = self.resolve(content["application/json"]["schema"])
        if schema.get("type") != "object":
            raise Unfit("the body must be an object")
        required = schema.get("required", [])
        return [param_row(name, "BODY", name in required, self.resolve(value), self)
                for name, value in schema.get("properties", {}).items()]


def limits(schema, kind):
    low_key, high_key = LIMITS[kind] or (None, None)
    low, high = schema.get(low_key), schema.get(high_key)
    if low is None and high is None:
        return ""
    lengths = kind in ("string", "array")
    low_text = repr(low) if low is not None else "0" if lengths else "-HUGE_VAL"
    return f", .min = {low_text}, .max = {repr(high) if high is not None else 'HUGE_VAL'}"


def default_text(schema):
    value = schema.get("default")
    if value is None:
        return ""
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, list):
        value = ",".join(value)
    return f", .unset = {quoted(str(value))}"


def param_row(name, where, required, schema, document):
    """(C initialiser with %WORDS%, words or None)"""
    kind = schema.get("type")
    inner = document.resolve(schema["items"]) if kind == "array" and "items" in schema else None
    plain = kind in TYPES and (kind != "array" or (inner and inner.get("type") == "string"))
    head = f".name = {quoted(name)}, .in = HTTP_IN_{where}, .required = {str(required).lower()}"
    if not plain:
        if where != "BODY":
            raise Unfit(f"parameter {name}: type {kind} is not possible in the {where.lower()}")
        return head + ", .type = HTTP_ANY", None
    unknown = set(schema) - SAID_ONLY - set(LIMITS[kind])
    if unknown:
        raise Unfit(f"parameter {name}: {', '.join(sorted(unknown))} would not be checked")
    words = (inner or schema).get("enum")
    if words and not all(isinstance(word, str) for word in words):
        raise Unfit(f"parameter {name}: only texts can be enumerated")
    return (head + f", .type = {TYPES[kind]}" + limits(schema, kind) + default_text(schema)
            + (", .words = %WORDS%" if words else "")), words


def route(name, row, document, out):
    method, path, operation, parameters = row
    identity = operation.get("operationId")
    if not identity or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", identity):
        raise Unfit("operationId is missing or not an identifier")
    access = operation.get("x-weir-access")
    if access not in ACCESS:
        raise Unfit(f"x-weir-access must be one of {', '.join(ACCESS)}")
    rows = []
    for p in parameters:
        if p["in"] not in ("path", "query"):
            raise Unfit(f"parameter {p['name']} in {p['in']} is not possible")
        if p["in"] == "query" and p["schema"].get("type") == "array" and p.get("explode", True):
            raise Unfit(f"parameter {p['name']}: lists need explode: false")
        rows.append(param_row(p["name"], p["in"].upper(), p.get("required", False),
                              document.resolve(p["schema"]), document))
    named = {p["name"] for p in parameters if p["in"] == "path"}
    if named != set(re.findall(r"\{([^}]*)\}", path)):
        raise Unfit("path and path parameters do not agree")
    body = document.body_rows(operation)
    rows += body or []

    symbol = f"{name}_{snake(identity)}"
    for i, (_, words) in enumerate(rows):
        if words:
            out.append(f"static const char *const {symbol}_words_{i}[] = "
                       f"{{{', '.join(map(quoted, words))}, NULL}};")
    if rows:
        out.append(f"static const HttpParamRow {symbol}_params[] = {{")
        for i, (text, _) in enumerate(rows):
            out.append(f"    {{{text.replace('%WORDS%', f'{symbol}_words_{i}')}}},")
        out.append("};")
    params = f"{symbol}_params, {len(rows)}" if rows else "NULL, 0"
    csrf = str(method != "GET").lower()
    return symbol, (f"    {{{quoted(method)}, {quoted(path)}, {quoted(identity)}, "
                    f"HTTP_{access.upper()}, {csrf}, {str(body is not None).lower()}, {params}, "
                    f"{symbol}}},")


def pieces(text):
    """The document in bytes of ASCII, cut for C."""
    return [text[i:i + PIECE] for i in range(0, len(text), PIECE)]


def generate(name, root):
    document = Document(root)
    tables, routes, symbols = [], [], []
    for row in document.operations():
        try:
            symbol, text = route(name, row, document, tables)
        except Unfit as unfit:
            raise Unfit(f"{row[0]} {row[1]}: {unfit}") from None
        if symbol in symbols:
            raise Unfit(f"{row[0]} {row[1]}: operationId is used twice")
        symbols.append(symbol)
        routes.append(text)
    lines = ["/* made by spec/gen/routes.py */", "#include <math.h>", "#include <stddef.h>", "",
             '#include "http/router.h"', ""]
    lines += [f"HttpHandler {symbol};" for symbol in symbols] + [""] + tables
    lines += ["", f"static const HttpRoute {name}_routes[] = {{"] + routes + ["};", ""]
    lines += [f"__attribute__((unused)) static const char *const {name}_document[] = {{"]
    lines += [f"    {quoted(piece)}," for piece in pieces(json.dumps(root, separators=(",", ":")))]
    return "\n".join(lines + ["    NULL,", "};", ""])


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: routes.py NAME OPENAPI.json")
    with open(sys.argv[2], encoding="utf-8") as file:
        root = json.load(file)
    try:
        print(generate(sys.argv[1], root), end="")
    except Unfit as unfit:
        sys.exit(f"{sys.argv[2]}: {unfit}")


if __name__ == "__main__":
    main()
