"""XML from tapes, which is not to be trusted: no document types, no entities, bounded everything."""

from collections.abc import Mapping
from typing import Final
from xml.parsers import expat

from rehydrate.errors import CorruptMetadataError, LimitError

__all__ = ["VERSION", "TextTree", "XmlFeed", "read_tree"]

TextTree = Mapping[str, str]
"""Texts of a small document by the path of their element below the root.

The version of the root element, where it has one, stands under :data:`VERSION`.
"""
VERSION: Final = "@version"

_LONGEST_TOKEN: Final = 1 << 20
_SLICE: Final = 1 << 18
_DEEPEST: Final = 16  # of a small document
_ENCODINGS: Final = frozenset({"utf-8", "utf-16", "us-ascii", "iso-8859-1"})
_LONGEST_TEXT: Final = 1 << 16


class XmlFeed:
    """A parser that is fed piece by piece and refuses what is hostile."""

    def __init__(self, *, code: str) -> None:
        """Make a parser; the caller sets the handlers of :attr:`parser`.

        Args:
            code: Code of errors for documents that are not well-formed.
        """
        self._code = code
        self._fed = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.buffer_size = _LONGEST_TEXT
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self.parser.XmlDeclHandler = self._declared
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse

    def feed(self, data: bytes) -> None:
        """Parse a piece of the document.

        Args:
            data: The next bytes.

        Raises:
            CorruptMetadataError: It is not well-formed, or a handler found a contradiction.
            LimitError: With code ``"ltfs.limit"`` if something in it is too long.
        """
        for at in range(0, len(data), _SLICE):
            self._parse(data[at : at + _SLICE], last=False)
            if self._fed - self.parser.CurrentByteIndex > _LONGEST_TOKEN + _SLICE:
                raise LimitError("a token of the XML document is too long", code="ltfs.limit")

    def close(self) -> None:
        """Tell that the document ends here.

        Raises:
            CorruptMetadataError: It does not.
        """
        self._parse(b"", last=True)

    def _parse(self, data: bytes, *, last: bool) -> None:
        self._fed += len(data)
        try:
            self.parser.Parse(data, last)
        except expat.ExpatError as error:
            raise CorruptMetadataError(
                f"the XML document is damaged or cut short: {error}", code=self._code
            ) from error

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        """Refuse encodings that only the codecs of Python know: LTFS is written in UTF-8."""
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise CorruptMetadataError(
                f"the XML document has the encoding {encoding[:40]!r}, which LTFS has not",
                code=self._code,
            )

    def _refuse(self, *_: object) -> None:
        raise CorruptMetadataError(
            "the XML document declares a type or an entity, which LTFS does not", code="ltfs.entity"
        )


def read_tree(raw: bytes, root: str, *, limit: int, code: str) -> TextTree:
    """Read a small document whole.

    Args:
        raw: The document.
        root: Name of its root element.
        limit: Most bytes.
        code: Code of errors.

    Raises:
        CorruptMetadataError: It is not well-formed, has another root, or repeats an element.
        LimitError: With code ``"ltfs.limit"`` if it is too large or too deep.
    """
    if len(raw) > limit:
        raise LimitError(f"an XML document of {len(raw)} bytes is no {root}", code="ltfs.limit")
    path: list[str] = []
    texts: dict[str, str] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not path and "version" in attributes:
            texts[VERSION] = attributes["version"]
        path.append(tag)
        name = "/".join(path[1 : _DEEPEST + 1])
        if path[0] != root or name in texts or len(path) > _DEEPEST:
            raise CorruptMetadataError(f"the document is no {root}, or repeats {name!r}", code=code)
        texts[name] = ""

    def text(data: str) -> None:
        name = "/".join(path[1:])
        texts[name] = (texts[name] + data)[:_LONGEST_TEXT]

    def end(_: str) -> None:
        path.pop()

    feed = XmlFeed(code=code)
    feed.parser.StartElementHandler = start
    feed.parser.EndElementHandler = end
    feed.parser.CharacterDataHandler = text
    feed.feed(raw)
    feed.close()
    return {name: value.strip() for name, value in texts.items()}
