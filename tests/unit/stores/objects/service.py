"""An S3 server on loopback, and a proxy before it that delays, refuses and cuts answers."""

import contextlib
import http.client
import importlib
import importlib.util
import json
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import attrs
import pytest

from rehydrate.stores.objects.client import Access
from rehydrate.values import StorePath

__all__ = ["Answer", "Bucket", "FaultProxy", "missing_packages", "s3_server", "server_or_skip"]

REGION: Final = "us-east-1"
KEYS: Final[Mapping[str, str]] = {"access_key_id": "test", "secret_access_key": "test"}
_PACKAGES: Final = ("moto", "flask", "obstore", "botocore", "boto3")
_START_SECONDS: Final = 30.0
_STATE: Final = "s3::keyrestore"


def missing_packages() -> list[str]:
    """Return the packages that tests with a server need and that are not there."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Run a server and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def server_or_skip(
    missing: Sequence[str], server: Callable[[], contextlib.AbstractContextManager[str]]
) -> Iterator[str]:
    """Run a server for a fixture and give its address; skip where something is missing.

    Args:
        missing: What the server needs and is not there, for people.
        server: Runs it.
    """
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    with server() as url:
        yield url


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        threading.Event().wait(0.05)
    message = "the S3 server did not start"
    raise RuntimeError(message)


@attrs.define(eq=False)
class Bucket:
    """A new bucket of the server.

    Attributes:
        server: Address of the server.
        name: Name of the bucket.
        client: Client of botocore.
    """

    server: str
    name: str = attrs.field(factory=lambda: f"bucket-{uuid.uuid4().hex[:12]}")
    client: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make it."""
        session = importlib.import_module("botocore.session").get_session()
        self.client = session.create_client(
            "s3",
            endpoint_url=self.server,
            region_name=REGION,
            aws_access_key_id=KEYS["access_key_id"],
            aws_secret_access_key=KEYS["secret_access_key"],
        )
        self.client.create_bucket(Bucket=self.name)

    @property
    def url(self) -> str:
        """URL of the folder that tests keep containers in."""
        return f"s3://{self.name}/backup"

    def access(self, endpoint: str | None = None, **more: Any) -> Access:
        """Return how to reach it, with few and quick repetitions."""
        given: dict[str, Any] = {"retries": 2, "retry_seconds": 5.0, "settings": KEYS, **more}
        return Access(endpoint=endpoint or self.server, region=REGION, **given)

    def put(self, path: str, data: bytes, *, kind: str = "STANDARD") -> str | None:
        """Put an object and return its version."""
        answer = self.client.put_object(
            Bucket=self.name, Key=f"backup/{path}", Body=data, StorageClass=kind
        )
        version: str | None = answer.get("VersionId")
        return version

    def fill(self, files: Mapping[StorePath, bytes], *, kind: str = "STANDARD") -> None:
        """Put containers."""
        for path, data in files.items():
            self.put(path, data, kind=kind)

    def delete(self, path: str) -> None:
        """Remove an object."""
        self.client.delete_object(Bucket=self.name, Key=f"backup/{path}")

    def restore_takes(self, looks: int | None) -> None:
        """Let thaws end after so many looks at an object (``None`` = at once)."""
        transition: dict[str, object] = {"progression": "immediate"}
        if looks is not None:
            transition = {"progression": "manual", "times": looks}
        body = json.dumps({"model_name": _STATE, "transition": transition}).encode()
        connection = http.client.HTTPConnection(urlsplit(self.server).netloc, timeout=30)
        with contextlib.closing(connection):
            path = "/moto-api/state-manager/set-transition"
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            connection.getresponse().read()


@attrs.frozen
class Answer:
    """An answer of the proxy instead of the server's; ``cut`` = bytes of the body that come."""

    status: int = 200
    code: str = ""
    message: str = ""
    more: str = ""
    cut: int | None = None

    @property
    def body(self) -> bytes:
        """The error as S3 writes it."""
        text = (
            f"<Error><Code>{self.code}</Code><Message>{self.message}</Message>{self.more}</Error>"
        )
        return text.encode() if self.code else b""


Fault: TypeAlias = Callable[[str, str], Answer | None]


class FaultProxy(ThreadingHTTPServer):
    """Hands requests on to a server; a fault may answer instead.

    Attributes:
        requests: Method and path with query of each request, in order.
        payers: What each request said about who pays.
        fault: Asked with method and path; ``None`` = hand on.
        latency: Seconds before each answer (for benchmarks).
        spoil: Changes bodies of GET.
        alter: Changes headers of the server's answers; told the method and the path.
        sent: Headers of each request, names in small letters.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, server: str, *, latency: float = 0.0) -> None:
        """Listen on a port of loopback, in a thread."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(server).netloc
        self.requests: list[tuple[str, str]] = []
        self.payers: list[str | None] = []
        self.fault: Fault = lambda _method, _path: None
        self.spoil: Callable[[str, bytes], bytes] = lambda _path, body: body
        self.alter: Callable[[str, str, dict[str, str]], None] = lambda _method, _path, _headers: (
            None
        )
        self.sent: list[Mapping[str, str]] = []
        self.latency = latency
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *details: object) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def count(self, method: str, part: str = "") -> int:
        """Return how many requests had this method and this in their path."""
        return sum(found == method and part in path for found, path in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    @property
    def proxy(self) -> FaultProxy:
        """The server, as what it is."""
        assert isinstance(self.server, FaultProxy)
        return self.server

    def handle_any(self) -> None:
        """Answer one request."""
        proxy = self.proxy
        proxy.requests.append((self.command, self.path))
        proxy.sent.append({name.lower(): value for name, value in self.headers.items()})
        proxy.payers.append(self.headers.get("x-amz-request-payer"))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = proxy.fault(self.command, self.path)
        if fault is None or fault.cut is not None:
            status, headers, data = self.upstream_answer(body)
            proxy.alter(self.command, self.path, headers)
        else:
            status, headers, data = fault.status, {"Content-Type": "application/xml"}, fault.body
        if proxy.latency:
            time.sleep(proxy.latency)
        if self.command == "GET" and fault is None:
            data = proxy.spoil(self.path, data)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD" or "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data if fault is None or fault.cut is None else data[: fault.cut])
        if fault is not None and fault.cut is not None:
            self.close_connection = True

    def upstream_answer(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Hand the request on."""
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=30)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body or None, dict(self.headers))
            answer = connection.getresponse()
            data = answer.read()
            dropped = {"connection", "server", "date", "transfer-encoding"}
            if self.command != "HEAD":
                dropped.add("content-length")
            headers = {
                name.title(): value
                for name, value in answer.getheaders()
                if name.lower() not in dropped
            }
            return answer.status, headers, data


for _method in ("GET", "HEAD", "POST", "PUT"):
    setattr(_Handler, f"do_{_method}", _Handler.handle_any)
