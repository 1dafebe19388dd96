"""Two corrections of what autodoc makes of our source.

* The reader of Google docstrings takes a colon in the first line of an attribute's text for the end
  of a type. Our attributes have their types in annotations, and colons where English wants them.
* A Protocol is shown as if it were made with ``(*args, **kwargs)``. Nobody makes one.
"""

from sphinx.application import Sphinx

EMPTY_COMMENT = ["..", ""]


def keep_text(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Put an invisible line before the text, so that no colon is in the first one.

    Args:
        app: The application.
        what: Kind of the object.
        name: Its full name.
        obj: The object.
        options: Options of the directive.
        lines: The docstring; changed in place.
    """
    if what in {"attribute", "data", "property"} and lines:
        lines[:0] = EMPTY_COMMENT


def hide_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str, None] | None:
    """Show a Protocol without the signature of its constructor.

    Args:
        app: The application.
        what: Kind of the object.
        name: Its full name.
        obj: The object.
        options: Options of the directive.
        signature: What autodoc found.
        returns: The annotation of the result.

    Returns:
        The signature to show, or ``None`` to leave it.
    """
    if what == "class" and getattr(obj, "_is_protocol", False):
        return "", None
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to sphinx, ahead of the reader of Google docstrings.

    Args:
        app: The application.

    Returns:
        What sphinx wants to know about the extension.
    """
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", keep_text, priority=100)
    app.connect("autodoc-process-signature", hide_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
