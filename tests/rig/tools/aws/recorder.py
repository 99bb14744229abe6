"""Writes down who asked what of the emulator, and from when to when: by which a test sees that no two operators wrote
at the same time. Only where RIG_RECORD is set.

    GET /_rig/calls/111122223333    the requests so far that were signed with this key, those under way without an end
    PUT /_rig/latency               {"111122223333": 0.5}: answers to requests signed with these keys come so many
                                    seconds late, so that a test meets an operator in the middle of its work
"""

import asyncio
import json
import time

# What tells requests apart. Whoever reads this knows AWS's protocols.
HEADERS = ("authorization", "content-type", "host", "user-agent", "x-amz-copy-source", "x-amz-target")


class Recorder:
    def __init__(self, app):
        self.app = app
        self.calls = {}
        self.latency = {}

    async def __call__(self, scope, receive, send):
        path = scope.get("path", "")
        if scope["type"] != "http" or path.startswith("/_ministack/"):
            await self.app(scope, receive, send)
        elif path.startswith("/_rig/"):
            await self.answer(scope["method"], path, receive, send)
        else:
            await self.record(scope, receive, send)

    async def record(self, scope, receive, send):
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope.get("query_string", b"")
        uri = scope.get("raw_path") or scope["path"].encode()
        call = {
            "method": scope["method"],
            "uri": (uri.split(b"?")[0] + (b"?" + query if query else b"")).decode("latin-1"),
            "headers": {name: headers[name] for name in HEADERS if name in headers},
            "body": "",
            "begun": time.monotonic(),
            "ended": None,
            "status": None,
        }
        key = headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        self.calls.setdefault(key, []).append(call)
        # The operation of IAM and STS is in there; what else a body holds tells nothing.
        keeps_body = "form-urlencoded" in headers.get("content-type", "")

        async def heard():
            message = await receive()
            if keeps_body and message["type"] == "http.request":
                call["body"] += message.get("body", b"").decode("latin-1")
            return message

        async def said(message):
            if message["type"] == "http.response.start":
                call["status"] = message["status"]
                # What was asked for is done by now: the answer alone is late, as with a slow network.
                await asyncio.sleep(self.latency.get(key, 0))
            await send(message)

        try:
            await self.app(scope, heard, said)
        finally:
            call["ended"] = time.monotonic()

    async def answer(self, method, path, receive, send):
        status, answer = 404, {}
        if method == "GET" and path.startswith("/_rig/calls/"):
            status, answer = 200, self.calls.get(path.rpartition("/")[2], [])
        elif (method, path) == ("PUT", "/_rig/latency"):
            self.latency.update(json.loads(await body(receive)))
            status = 200
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def body(receive):
    whole = b""
    while True:
        message = await receive()
        whole += message.get("body", b"")
        if not message.get("more_body"):
            return whole
