#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What routes.py refuses, and how it names and orders what it takes."""
import copy
import importlib.util
import os
import unittest

spec = importlib.util.spec_from_file_location(
    "routes", os.path.join(os.path.dirname(os.path.abspath(__file__)), "routes.py"))
routes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(routes)

DOCUMENT = {
    "servers": [{"url": "/api/v1"}],
    "paths": {"/a/{id}": {"get": {
        "operationId": "getA", "x-weir-access": "viewer",
        "parameters": [{"name": "id", "in": "path", "required": True,
                        "schema": {"type": "string"}}]}}}}


class Routes(unittest.TestCase):
    def refused(self, change, message):
        root = copy.deepcopy(DOCUMENT)
        change(root["paths"]["/a/{id}"]["get"])
        with self.assertRaises(routes.Unfit) as caught:
            routes.generate("x", root)
        self.assertIn("GET /api/v1/a/{id}: ", str(caught.exception))
        self.assertIn(message, str(caught.exception))

    def test_takes(self):
        text = routes.generate("x", DOCUMENT)
        self.assertIn('{"GET", "/api/v1/a/{id}", "getA", HTTP_VIEWER, false, false, '
                      "x_get_a_params, 1, x_get_a},", text)

    def test_refuses(self):
        def query(schema, **more):
            row = {"name": "q", "in": "query", "schema": schema, **more}
            return lambda operation: operation["parameters"].append(row)
        self.refused(lambda o: o.pop("operationId"), "operationId")
        self.refused(lambda o: o.update(operationId="a-b"), "operationId")
        self.refused(lambda o: o.pop("x-weir-access"), "x-weir-access")
        self.refused(lambda o: o.update({"x-weir-access": "root"}), "x-weir-access")
        self.refused(lambda o: o.pop("parameters"), "do not agree")
        self.refused(query({"type": "string", "pattern": "^a$"}), "pattern would not be checked")
        self.refused(query({"type": "object"}), "type object")
        self.refused(query({"type": "integer", "enum": [1]}), "only texts")
        self.refused(query({"type": "array", "items": {"type": "string"}}), "explode")
        self.refused(lambda o: o["parameters"].append(
            {"name": "h", "in": "header", "schema": {"type": "string"}}), "header")
        self.refused(lambda o: o.update(requestBody={"content": {"text/plain": {}}}), "body")
        self.refused(query({"$ref": "other.json#/x"}), "outside")

    def test_twice(self):
        root = copy.deepcopy(DOCUMENT)
        root["paths"]["/b"] = {"get": {"operationId": "getA", "x-weir-access": "viewer"}}
        with self.assertRaises(routes.Unfit):
            routes.generate("x", root)

    def test_names(self):
        for name, expected in (("getSession", "get_session"), ("login", "login"),
                               ("getHTTPRoute", "get_http_route"), ("getTop10", "get_top10")):
            self.assertEqual(routes.snake(name), expected)

    def test_quoted(self):
        self.assertEqual(routes.quoted('a"\\?\n\u00e9'), '"a\\"\\\\\\077\\012\\303\\251"')


if __name__ == "__main__":
    unittest.main()
