# SPDX-License-Identifier: Apache-2.0
"""Messages of several parts (multipart/related, RFC 2387): written piece by piece, read into files."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from fastapi import HTTPException
from fastapi.responses import StreamingResponse
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from .checks import bad_request

MAX_PARTS = 100_000

Part = tuple[str, Iterable[bytes]]
"""Content-Type and content."""


def multipart_response(parts: Iterator[Part], media_type: str) -> StreamingResponse:
    """Send parts one after the other; the first is made before the answer begins, so that its failure is an error.

    Args:
        parts: The parts.
        media_type: Of the parts, without parameters.
    """
    boundary = uuid.uuid4().hex
    kind = f'multipart/related; type="{media_type}"; boundary={boundary}'
    return StreamingResponse(_message(started(parts), boundary), media_type=kind)


def started(items: Iterator[Part]) -> Iterator[Part]:
    """Return the same parts, the first and its first piece already made."""
    try:
        kind, content = next(items)
    except StopIteration:
        return iter(())
    pieces = iter(content)
    first = next(pieces, b"")

    def rest() -> Iterator[Part]:
        yield kind, _chain(first, pieces)
        yield from items

    return rest()


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _message(parts: Iterator[Part], boundary: str) -> Iterator[bytes]:
    line = ""
    for kind, content in parts:
        yield f"{line}--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode("latin-1")
        yield from content
        line = "\r\n"
    yield f"{line}--{boundary}--\r\n".encode("latin-1")


class PartFiles:
    """Writes the parts of a message into files while it comes in.

    Args:
        folder: Where to.
        content_type: Content-Type of the message.
        part_type: Media type that every part must have; a part that does not say has that of the message.

    Raises:
        HTTPException: 415 for another type of message or parts, 400 when the boundary is missing.
    """

    def __init__(self, folder: Path, content_type: str, part_type: str) -> None:
        """Read the boundary."""
        name, params = parse_options_header(content_type)
        if name.lower() != b"multipart/related":
            raise HTTPException(415, f'Send multipart/related; type="{part_type}".')
        if params.get(b"type", part_type.encode()).lower().strip(b'"') != part_type.encode():
            raise HTTPException(415, f"The parts must be {part_type}.")
        boundary = params.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise bad_request("The Content-Type has no boundary of 1 to 70 characters.")
        self._folder, self._part_type = folder, part_type
        self._files: list[Path] = []
        self._file: IO[bytes] | None = None
        self._ended = False
        self._field, self._value, self._headers = b"", b"", dict[bytes, bytes]()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_begin": self._on_header_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def write(self, data: bytes) -> None:
        """Take the next piece of the message.

        Raises:
            HTTPException: 400 when it is malformed, 415 when a part has another type.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise bad_request(f"The multipart message is malformed: {error}.") from error

    def finish(self) -> list[Path]:
        """Return the files of the parts, in order.

        Raises:
            HTTPException: 400 when the message is cut off or has no parts.
        """
        if not self._ended:
            raise bad_request("The multipart message is cut off, or its boundary is not the one in the Content-Type.")
        if not self._files:
            raise bad_request("The multipart message has no parts.")
        return self._files

    def close(self) -> None:
        """Close the file that is open when a message breaks off."""
        if self._file:
            self._file.close()

    def _on_part_begin(self) -> None:
        if len(self._files) >= MAX_PARTS:
            raise HTTPException(413, f"The message has more than {MAX_PARTS} parts.")
        self._headers = {}

    def _on_header_begin(self) -> None:
        self._field, self._value = b"", b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value

    def _on_headers_finished(self) -> None:
        kind = parse_options_header(self._headers.get(b"content-type", self._part_type.encode()))[0]
        if kind.lower() != self._part_type.encode():
            raise HTTPException(415, f"Every part must be {self._part_type}.")
        path = self._folder / f"{len(self._files)}.part"
        self._files.append(path)
        self._file = path.open("wb")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._file.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        assert self._file is not None
        self._file.close()

    def _on_end(self) -> None:
        self._ended = True
