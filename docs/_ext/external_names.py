"""Cross-references: names of other packages without a network, our names by the package's face.

The build is nitpicky: a reference to nothing is an error. Two kinds of reference need help.

* A name of the standard library, of numpy or attrs has no page here. It is accepted, without a
  link, if it can be imported; a misspelt one is still an error.
* A signature names ``rehydrate.values.StorePath``; users import, and the pages document,
  ``rehydrate.StorePath``, or the name in one of the faces beside it, such as ``rehydrate.tapes``. The
  reference is led there. A public signature with a type that no face exports leads nowhere and fails
  the build, as it should.
"""

import builtins
import functools
import importlib
import typing
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import rehydrate

PACKAGE = rehydrate.__name__
FACES = ("rehydrate", *(f"rehydrate.{name}" for name in ("native", "objects", "tapes", "windows")))


def exists(name: str) -> bool:
    """Tell whether a dotted name can be imported.

    Args:
        name: Such as ``collections.abc.Sequence`` or ``memoryview``.

    Returns:
        True if it names a module, or something in one.
    """
    if hasattr(builtins, name) or hasattr(typing, name):
        return True
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@functools.cache
def exported() -> dict[str, dict[str, str]]:
    """List what the faces export.

    Returns:
        For each bare name the face of each home: a name may mean different things in two rooms.
    """
    found: dict[str, dict[str, str]] = {}
    for face in FACES:
        module = importlib.import_module(face)
        for name in module.__all__:
            home = getattr(getattr(module, name), "__module__", "")
            found.setdefault(name, {})[home] = face
    return found


def face_name(target: str) -> str | None:
    """Give the name under which a face exports one of our names.

    Args:
        target: Dotted name, such as ``rehydrate.values.StorePath`` or ``StorePath.method``.

    Returns:
        Such as ``rehydrate.StorePath``; ``None`` if it is not exported.
    """
    parts = target.split(".")
    for place, part in enumerate(parts):
        homes = exported().get(part, {})
        home = ".".join(parts[:place])
        if home in FACES and place > 1:
            continue
        face = homes.get(home) or (next(iter(homes.values())) if len(homes) == 1 else None)
        if face is not None and (
            not home.startswith(f"{PACKAGE}.") or home in homes or "" in homes
        ):
            return ".".join([face, *parts[place:]])
    return None


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.Node | None:
    """Resolve what sphinx could not.

    Args:
        app: The application.
        env: Its environment.
        node: The reference.
        contnode: What the reader sees.

    Returns:
        A link, the plain text, or ``None`` if the name is unknown.
    """
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"])
    ours = face_name(target)
    if ours is not None and ours != target:
        domain = env.domains.python_domain
        docname = node.get("refdoc", env.docname)
        # A type alias or NewType is data, a signature asks for a class: look for any kind.
        for kind in ("obj", node["reftype"]):
            found = domain.resolve_xref(env, docname, app.builder, kind, ours, node, contnode)
            if found is not None:
                return found
    if target.split(".", maxsplit=1)[0] != PACKAGE and exists(target):
        return contnode
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to sphinx.

    Args:
        app: The application.

    Returns:
        What sphinx wants to know about the extension.
    """
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
