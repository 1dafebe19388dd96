"""Microsoft's emulator of Azure's blobs on loopback, and what it does not show: waiting for thaws."""

import contextlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from rehydrate.stores.objects.client import Access
from rehydrate.values import StorePath
from tests.unit.stores.objects.service import Answer, FaultProxy

__all__ = [
    "ACCOUNT", "KEY", "BlobContainer", "Pending", "azure_server", "forget_azure",
    "missing_for_azure",
]  # fmt: skip

# The emulator's account, which Microsoft publishes.
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_PACKAGES: Final = {
    "obstore": "obstore", "azure": "azure-storage-blob", "azure.storage": "azure-storage-blob",
    "azure.storage.blob": "azure-storage-blob",
}  # fmt: skip
_PROGRAM: Final = "azurite-blob"
_BESIDE: Final = Path(__file__).parents[4] / "build" / "azurite" / "node_modules" / ".bin"
_START_SECONDS: Final = 60.0
_LISTENS: Final = re.compile(r"successfully listens on (http://\S+)")


def _program() -> str | None:
    return shutil.which(_PROGRAM) or shutil.which(_PROGRAM, path=_BESIDE)


def missing_for_azure() -> list[str]:
    """Return the packages and the program that tests with the emulator need, and are not there."""
    missing = []
    for name, package in _PACKAGES.items():
        if importlib.util.find_spec(name) is None:
            missing.append(f"the package {package}")
            break  # to look for an inner package of one that is missing is an error
    if _program() is None:
        missing.append(f"the program {_PROGRAM} (npm install azurite)")
    return missing


@contextlib.contextmanager
def azure_server() -> Iterator[str]:
    """Run the emulator and give its address."""
    command = [
        _program() or _PROGRAM, "--blobPort", "0", "--inMemoryPersistence", "--loose", "--silent",
        "--skipApiVersionCheck", "--disableTelemetry",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        with (
            said.open("wb") as out,
            subprocess.Popen(command, stdout=out, stderr=out, cwd=folder) as process,
        ):
            try:
                yield _address(said, process)
            finally:
                process.terminate()


def _address(said: Path, process: "subprocess.Popen[bytes]") -> str:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = _LISTENS.search(said.read_text(errors="replace"))
        if found is not None:
            return found[1]
        threading.Event().wait(0.05)
    message = f"the emulator did not start: {said.read_text(errors='replace')}"
    raise RuntimeError(message)


def forget_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all settings of Azure out of the environment."""
    for name in os.environ:
        if name.startswith(("AZURE_", "AZURITE_")):
            monkeypatch.delenv(name)


@attrs.define(eq=False)
class BlobContainer:
    """A new container of the emulator.

    Attributes:
        server: Address of the emulator.
        name: Name of the container.
        client: Microsoft's client of it.
    """

    server: str
    name: str = attrs.field(factory=lambda: f"container-{uuid.uuid4().hex[:12]}")
    client: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make it."""
        blobs = importlib.import_module("azure.storage.blob")
        signed = {"account_name": ACCOUNT, "account_key": KEY}
        service = blobs.BlobServiceClient(self.endpoint(), credential=signed)
        self.client = service.create_container(self.name)

    def close(self) -> None:
        """Close the client."""
        self.client.close()

    @property
    def url(self) -> str:
        """URL of the folder that tests keep containers in."""
        return f"az://{self.name}/backup"

    def endpoint(self, server: str | None = None) -> str:
        """Return the address of the account, at the emulator or at a proxy before it."""
        return f"{server or self.server}/{ACCOUNT}"

    def access(self, server: str | None = None, **more: Any) -> Access:
        """Return how to reach it, without repetitions."""
        given: dict[str, Any] = {
            "retries": 0, "settings": {"account_name": ACCOUNT, "account_key": KEY}, **more,
        }  # fmt: skip
        return Access(endpoint=self.endpoint(server), **given)

    def signature(self, permission: str) -> str:
        """Return a shared access signature for the container."""
        blobs = importlib.import_module("azure.storage.blob")
        signed: str = blobs.generate_container_sas(
            ACCOUNT, self.name, account_key=KEY, permission=permission, expiry="2199-01-01"
        )
        return signed

    def put(self, path: str, data: bytes, *, kind: str = "Hot") -> None:
        """Put a blob into a tier."""
        blob = self.client.upload_blob(f"backup/{path}", data, overwrite=True)
        if kind != "Hot":
            blob.set_standard_blob_tier(kind)

    def tier(self, path: str) -> str:
        """Return the tier that a blob is in."""
        found = self.client.get_blob_client(f"backup/{path}").get_blob_properties()
        return str(found.blob_tier)

    def fill(self, files: Mapping[StorePath, bytes], *, cold: bool = False) -> None:
        """Put containers; the data into the archive tier if they are to be cold."""
        for path, data in files.items():
            frozen = cold and path.startswith("Data")
            self.put(path, data, kind="Archive" if frozen else "Hot")


class Pending:
    """Lets a proxy say what Azure says of blobs that are moving out of the archive tier.

    The emulator moves them at once. Here a blob is on its way for so many looks at it.
    """

    def __init__(self, proxy: FaultProxy, looks: int) -> None:
        """Stand between the proxy and who asks it."""
        self.looks = looks
        self.left: dict[str, int] = {}
        proxy.alter, proxy.fault = self._alter, self._fault

    def _alter(self, method: str, path: str, headers: dict[str, str]) -> None:
        name, _, query = path.partition("?")
        if method == "PUT" and "comp=tier" in query:
            self.left.setdefault(name, self.looks)
        elif method == "HEAD" and self.left.get(name, 0) > 0:
            self.left[name] -= 1
            headers["X-Ms-Access-Tier"] = "Archive"
            headers["X-Ms-Archive-Status"] = "rehydrate-pending-to-hot"
            headers["X-Ms-Rehydrate-Priority"] = "Standard"

    def _fault(self, method: str, path: str) -> Answer | None:
        name, _, query = path.partition("?")
        if self.left.get(name, 0) <= 0:
            return None
        if method == "GET" or (method == "PUT" and "comp=tier" in query):
            return Answer(409, "BlobBeingRehydrated", "The blob is being rehydrated.")
        return None
