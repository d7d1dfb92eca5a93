#!/usr/bin/python3
"""Compares answers of the web application with its contract, api/www/openapi.json.

    contract.py JOURNAL     checks a journal of answers, one JSON object a line: {method, path, status, headers,
                            body}, the body as text. TAP: a test for each operation and status that was seen; then
                            the operations, their successes and problems of their own that nobody has seen.
    contract.py --self-test tests that what fits is let through, and that what does not is found. TAP.

As a module: Contract().check(method, path, status, headers, body) returns a list of violations. The contract is
strict: a status, a field, a media type or a problem code that it does not have for an operation is a violation, and so is
a header that it wants and that is not there. What any request can run into is the response Failure of the contract.
"""
import json
import os
import re
import sys

from jsonschema import Draft202012Validator, FormatChecker

FORMATS = FormatChecker()


@FORMATS.checks("date-time")
def is_date_time(value):
    """A time of RFC 3339, which Debian's jsonschema does not look at by itself."""
    return not isinstance(value, str) or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value) is not None


OPENAPI = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../api/www/openapi.json")
METHODS = ("get", "put", "post", "delete", "patch")

# What a status wants, whoever answers with it (RFC 9110, sections 11.6.1, 15.5.6 and 10.2.3).
WANTED = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def no_name_twice(pairs):
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise ValueError("a name twice in an object")
    return dict(pairs)


class Contract:
    def __init__(self, path=OPENAPI):
        with open(path, encoding="utf-8") as file:
            self.document = json.load(file)
        self.problems = self.document["x-problems"]
        self.failure = self.document["components"]["responses"]["Failure"]
        self.generic = set(self.failure["x-problem-codes"])
        self.validators = {}
        # A path without a parameter in a segment comes before one with it.
        self.templates = [(re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))), template)
                          for template in sorted(self.document["paths"], key=lambda t: t.replace("{", "\x7f"))]

    def operations(self):
        for template, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method, template, item[method]

    def resolve(self, thing):
        while "$ref" in thing:
            found = self.document
            for name in thing["$ref"][2:].split("/"):
                found = found[name.replace("~1", "/").replace("~0", "~")]
            thing = found
        return thing

    def find(self, path):
        """The template of a path, or None."""
        path = path.split("?")[0]
        return next((template for pattern, template in self.templates if pattern.fullmatch(path)), None)

    def find_operation(self, method, path):
        """The operation, or None. HEAD is that of GET."""
        method = "get" if method.upper() == "HEAD" else method.lower()
        return self.document["paths"].get(self.find(path), {}).get(method) if method in METHODS else None

    def errors(self, schema, value):
        """What is wrong with a value."""
        if id(schema) not in self.validators:
            whole = {"components": self.document["components"], "allOf": [schema]}
            self.validators[id(schema)] = Draft202012Validator(whole, format_checker=FORMATS)
        for error in self.validators[id(schema)].iter_errors(value):
            while error.context:
                error = min(error.context, key=lambda e: (-len(e.absolute_path), e.validator == "type"))
            yield "/" + "/".join(map(str, error.absolute_path)) + ": " + error.message[:300]

    def check(self, method, path, status, headers, body):
        """The violations of an answer; headers are a dictionary or pairs, the body text, bytes or None."""
        pairs = headers.items() if hasattr(headers, "items") else headers
        headers = {name.lower(): value for name, value in pairs}
        body = body.encode() if isinstance(body, str) else body or b""
        method = method.upper()
        template = self.find(path)
        operation = self.find_operation(method, path)
        if operation is None:
            found = list(self.check_without_operation(method, template, status, headers, body))
        else:
            found = list(self.check_operation(method, operation, status, headers, body))
        found += [f"header {name} is missing" for name in ("X-Request-Id", WANTED.get(status))
                  if name and name.lower() not in headers]
        return list(dict.fromkeys(found))

    def check_without_operation(self, method, template, status, headers, body):
        there = {m.upper() for m in METHODS if template and m in self.document["paths"][template]}
        if template and method == "OPTIONS" and status == 204:
            yield from self.check_content({}, headers, body)
            allowed = headers.get("allow")
        else:
            codes = {"not_found"} if not template else {"method_not_allowed", "not_implemented"}
            yield from self.check_response(self.failure, codes, method, status, headers, body)
            allowed = headers.get("allow") if status == 405 else None
        if status in (204, 405) and there - {word.strip() for word in (allowed or "").split(",")}:
            yield f"Allow is {allowed}; there are {', '.join(sorted(there))}"

    def check_operation(self, method, operation, status, headers, body):
        codes = set(operation["x-problem-codes"])
        response = operation["responses"].get(str(status), operation["responses"]["default"])
        found = list(self.check_response(self.resolve(response), codes, method, status, headers, body))
        if status == 405:
            found.append(f"{method} is there, and is not allowed")
        yield from found
        if "x-verdict-codes" in operation and status == 200 and not found:
            for result in json.loads(body)["results"]:
                code = result.get("problem", {}).get("code")
                if code and code not in operation["x-verdict-codes"]:
                    yield f"verdict {code} is not documented"

    def check_response(self, response, codes, method, status, headers, body):
        if response is self.failure and status not in {self.problems[c]["status"] for c in codes | self.generic}:
            yield f"status {status} is not documented"
            return
        for name, header in response.get("headers", {}).items():
            header = self.resolve(header)
            if name.lower() in headers:
                for error in self.errors(header["schema"], headers[name.lower()]):
                    yield f"header {name}{error[1:]}"
            elif header.get("required"):
                yield f"header {name} is missing"
        if method == "HEAD":
            if body:
                yield "HEAD has a body"
            return
        yield from self.check_content(response.get("content", {}), headers, body)
        if headers.get("content-type", "").startswith("application/problem+json"):
            yield from self.check_problem(codes, status, headers, body)

    def check_content(self, content, headers, body):
        if not content:
            if body:
                yield f"a body of {len(body)} bytes where there is none"
            return
        media_type = headers.get("content-type", "").split(";")[0].strip().lower()
        if media_type not in content:
            yield f"content type {media_type or 'missing'}; wanted {' or '.join(content)}"
            return
        try:
            text = body.decode("utf-8")
            value = json.loads(text, object_pairs_hook=no_name_twice) if media_type.endswith("json") else text
        except ValueError as error:
            yield f"body: {error}"
            return
        yield from self.errors(content[media_type]["schema"], value)
        if isinstance(value, dict) and value.get("next") and 'rel="next"' not in headers.get("link", ""):
            yield "there is a next page, and no Link to it"

    def read(self, body):
        """An object; what is none was complained of before."""
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        return value if isinstance(value, dict) else {}

    def check_problem(self, codes, status, headers, body):
        problem = self.read(body)
        code = problem.get("code")
        if code not in codes | self.generic:
            yield f"problem {code} is not documented"
        if problem.get("type") != f"/problems/{code}":
            yield f"type {problem.get('type')} of problem {code}"
        if problem.get("status") != status or self.problems.get(code, {}).get("status") != status:
            yield f"status {status} of problem {code}"
        if problem.get("request_id") != headers.get("x-request-id"):
            yield "request_id is not X-Request-Id"

    def examples(self, media):
        """The examples of a media type object."""
        if "example" in media:
            yield media["example"]
        for example in media.get("examples", {}).values():
            yield self.resolve(example)["value"]


def print_test(number, name, complaints):
    print(f"{'not ok' if complaints else 'ok'} {number} - {name}")
    for complaint in complaints[:10]:
        print(f"#   {complaint}")
    return bool(complaints)


def check_journal(path):
    contract = Contract()
    seen, met = {}, set()
    with open(path, encoding="utf-8") as journal:
        for n, line in enumerate(journal, 1):
            a = json.loads(line)
            operation = contract.find_operation(a["method"], a["path"])
            name = operation["operationId"] if operation else f"{a['method']} of {contract.find(a['path']) or 'no route'}"
            found = contract.check(a["method"], a["path"], a["status"], a["headers"], a["body"])
            seen.setdefault((name, a["status"]), []).extend(
                f"line {n}, {a['method']} {a['path'][:100]}: {violation}" for violation in found)
            met |= {(name, str(a["status"])), (name, contract.read(a["body"]).get("code"))}
    failed = 0
    for number, ((name, status), found) in enumerate(sorted(seen.items()), 1):
        failed += print_test(number, f"{name}: {status} is as the contract says", found)
    print(f"1..{len(seen)}")
    for _, _, operation in contract.operations():
        name = operation["operationId"]
        wanted = [status for status in operation["responses"] if status < "4"] + operation["x-problem-codes"]
        missing = [what for what in wanted if (name, what) not in met]
        if not any(seen_name == name for seen_name, _ in seen):
            print(f"# never asked: {name}")
        elif missing:
            print(f"# never seen: {name}: {' '.join(missing)}")
    return bool(failed or not seen)


def good_answers(contract):
    """What the contract's own examples say: method, path, status, headers, body."""
    for method, template, operation in contract.operations():
        for status, response in operation["responses"].items():
            response = contract.resolve(response)
            headers = {name: contract.resolve(h).get("example", "no-store")
                       for name, h in response["headers"].items()}
            for media_type, media in response.get("content", {"": {}}).items():
                for example in contract.examples(media) if media else [None]:
                    if status == "default" or "problem" in media_type and (
                            example["code"] not in set(operation["x-problem-codes"]) | contract.generic):
                        continue
                    text = example if isinstance(example, str) else "" if example is None else json.dumps(example)
                    path = re.sub(r"\{\w+\}", "1", template)
                    yield method, path, int(status), {**headers, "Content-Type": media_type}, text


def self_test():
    contract = Contract()
    problem = {"type": "/problems/not_found", "title": "there is no such thing", "status": 404, "code": "not_found",
               "request_id": "r1"}
    headers = {"X-Request-Id": "r1", "Content-Type": "application/problem+json"}
    merchant = {"id": "1", "name": "Nordic House", "created_at": "2026-11-26T04:59:53.901570Z"}
    plain = {"X-Request-Id": "r1", "Content-Type": "application/json; charset=utf-8", "ETag": '"1"'}
    page = {"items": [], "next": "WyJuZXciXQ"}
    verdict = {"index": 0, "status": 409, "problem": {k: problem[k] for k in problem if k != "request_id"}}

    def without(dictionary, name):
        return {k: v for k, v in dictionary.items() if k != name}

    def gets(path, status, sent, body):
        return "GET", path, status, sent, body if isinstance(body, str) else json.dumps(body)

    one = "/v1/merchants/1"
    good = {
        "an answer": gets(one, 200, plain, merchant),
        "a problem": gets(one, 404, headers, problem),
        "a problem that any request can have": gets(one, 501, headers, {
            **problem, "type": "/problems/not_implemented", "code": "not_implemented", "status": 501}),
        "the answer to HEAD": ("HEAD", one, 200, plain, ""),
        "not modified": gets(one, 304, plain, ""),
        "a path that is none": gets("/v1/nothing", 404, headers, problem),
        "OPTIONS": ("OPTIONS", one, 204, {"X-Request-Id": "r1", "Allow": "GET, HEAD, PATCH, OPTIONS"}, ""),
    }
    bad = {
        "a status that is not documented": gets(one, 418, headers, {**problem, "status": 418}),
        "a success that is not documented": gets(one, 206, plain, merchant),
        "a field too many": gets(one, 200, plain, {**merchant, "password_hash": "x"}),
        "a field too few": gets(one, 200, plain, without(merchant, "name")),
        "an id that is a number": gets(one, 200, plain, {**merchant, "id": 1}),
        "a time that is none": gets(one, 200, plain, {**merchant, "created_at": "yesterday"}),
        "a name twice": gets(one, 200, plain, json.dumps(merchant)[:-1] + ', "id": "2"}'),
        "half a body": gets(one, 200, plain, json.dumps(merchant)[:-9]),
        "no body": gets(one, 200, plain, ""),
        "a body of not modified": gets(one, 304, plain, merchant),
        "a body of HEAD": ("HEAD", one, 200, plain, json.dumps(merchant)),
        "another media type": gets(one, 200, {**plain, "Content-Type": "text/html"}, merchant),
        "no media type": gets(one, 200, without(plain, "Content-Type"), merchant),
        "no X-Request-Id": gets(one, 200, without(plain, "X-Request-Id"), merchant),
        "no ETag": gets(one, 200, without(plain, "ETag"), merchant),
        "an ETag that is none": gets(one, 200, {**plain, "ETag": "1"}, merchant),
        "a problem code of another operation": gets(one, 404, headers, {
            **problem, "type": "/problems/invalid_reset_token", "code": "invalid_reset_token"}),
        "a problem code that nobody knows": gets(one, 404, headers, {
            **problem, "type": "/problems/odd", "code": "odd"}),
        "a problem with the status of another": gets(one, 404, headers, {
            **problem, "type": "/problems/malformed", "code": "malformed"}),
        "a problem that says another status": gets(one, 404, headers, {**problem, "status": 400}),
        "a problem with another type": gets(one, 404, headers, {**problem, "type": "/problems/gone"}),
        "a problem with another request's id": gets(one, 404, headers, {**problem, "request_id": "r2"}),
        "a problem as plain JSON": gets(one, 404, plain, problem),
        "401 without a challenge": gets("/v1/me", 401, headers, {
            **problem, "type": "/problems/invalid_token", "code": "invalid_token", "status": 401}),
        "503 without Retry-After": gets("/docs", 503, headers, {
            **problem, "type": "/problems/unavailable", "code": "unavailable", "status": 503}),
        "a next page without a Link": gets("/v1/products", 200, plain, page),
        "a verdict that is not documented": ("POST", "/v1/orders/batch", 200, plain, json.dumps({
            "results": [verdict]})),
        "405 of a method that is there": gets(one, 405, {**headers, "Allow": "GET, PATCH"}, {
            **problem, "type": "/problems/method_not_allowed", "code": "method_not_allowed", "status": 405}),
        "a success on a path that is none": gets("/v1/nothing", 200, plain, "{}"),
        "a success of a method that is none": ("DELETE", one, 204, {"X-Request-Id": "r1"}, ""),
        "an Allow that forgets a method": ("DELETE", one, 405, {**headers, "Allow": "GET, HEAD"}, json.dumps({
            **problem, "type": "/problems/method_not_allowed", "code": "method_not_allowed", "status": 405})),
        "OPTIONS that forgets a method": ("OPTIONS", one, 204, {"X-Request-Id": "r1", "Allow": "GET"}, ""),
    }
    tests = [(f"{what} is let through", contract.check(*answer)) for what, answer in good.items()]
    tests += [(f"{what} is found", [] if contract.check(*answer) else ["nothing was found"])
              for what, answer in bad.items()]
    batch = "/v1/orders/batch"
    tests.append(("a path comes before one with a parameter", [] if contract.find(batch) == batch else ["not"]))
    own = {}
    for method, path, status, sent, body in good_answers(contract):
        if "problem" in sent["Content-Type"]:
            sent = {**sent, "X-Request-Id": json.loads(body)["request_id"]}
        own.setdefault(f"{method.upper()} {path}", []).extend(contract.check(method, path, status, sent, body))
    tests += [(f"the examples of {name} are let through", found) for name, found in own.items()]
    failed = [print_test(number, *test) for number, test in enumerate(tests, 1)]
    print(f"1..{len(tests)}")
    return any(failed)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(self_test() if sys.argv[1] == "--self-test" else check_journal(sys.argv[1]))
