# SPDX-License-Identifier: Apache-2.0
"""Retrieving from a folder of DICOM files with the methods of dicomweb_client's clients."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from ..types import InputError
from .files import NotInPacs
from .frames import is_compressed, native_pixels, number_of_frames, stored_frames
from .headers import Header, Json, bulk_value, metadata, read_header
from .rendered import FORMATS, parse_look
from .search import PacsSearch
from .store import instance_url
from .transcode import to_explicit_little
from .worker import isolated_raw_frames, isolated_render

logger = logging.getLogger(__name__)

MediaTypes = Sequence[str | tuple[str, ...]] | None
_UID = "([0-9.]{1,64})"
_BULK_URL = re.compile(rf"/studies/{_UID}/series/{_UID}/instances/{_UID}/bulkdata/([0-9A-Fa-f/]+)$")


class PacsRetrieve(PacsSearch):
    """Retrieving: instances, metadata, frames, bulk data and pictures."""

    def retrieve_instance(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str, media_types: MediaTypes = None
    ) -> Dataset:
        """Read an instance, as stored unless ``media_types`` asks for Explicit VR Little Endian.

        Raises:
            NotInPacs: If there is none (404), or it cannot be had in the transfer syntaxes asked for (406).
        """
        path = self.instance_path(study_instance_uid, series_instance_uid, sop_instance_uid)
        dataset: Dataset = dcmread(path, force=True)
        asked = {str(item[1]) for item in media_types or () if not isinstance(item, str) and len(item) > 1}
        if not asked or "*" in asked or str(read_header(path).syntax) in asked:
            return dataset
        if ExplicitVRLittleEndian not in asked:
            raise NotInPacs("The instance cannot be converted to the transfer syntaxes asked for.", 406)
        return to_explicit_little(read_header(path))

    def iter_series(
        self, study_instance_uid: str, series_instance_uid: str, media_types: MediaTypes = None
    ) -> Iterator[Dataset]:
        """Read the instances of a series one after the other."""
        for uids, _ in self.instances(study_instance_uid, series_instance_uid):
            yield self.retrieve_instance(*uids, media_types)

    def retrieve_series(
        self, study_instance_uid: str, series_instance_uid: str, media_types: MediaTypes = None
    ) -> list[Dataset]:
        """Read the instances of a series."""
        return list(self.iter_series(study_instance_uid, series_instance_uid, media_types))

    def iter_study(self, study_instance_uid: str, media_types: MediaTypes = None) -> Iterator[Dataset]:
        """Read the instances of a study one after the other."""
        for uids, _ in self.instances(study_instance_uid):
            yield self.retrieve_instance(*uids, media_types)

    def retrieve_study(self, study_instance_uid: str, media_types: MediaTypes = None) -> list[Dataset]:
        """Read the instances of a study."""
        return list(self.iter_study(study_instance_uid, media_types))

    def iter_metadata(
        self, base_url: str, study: str, series: str | None = None, instance: str | None = None
    ) -> Iterator[Json]:
        """Metadata of instances; an instance that cannot be read any more is left out, with a line in the log.

        Args:
            base_url: Address of the service that will give out the bulk data.
            study: Of this study,
            series: of this series in it,
            instance: only this.
        """
        for uids, path in self.instances(study, series, instance):
            place = f"{instance_url(base_url, uids)}/bulkdata"
            try:
                yield metadata(read_header(path), lambda element, place=place: f"{place}/{element}")  # type: ignore[misc]
            except (InputError, OSError) as error:
                logger.warning("no metadata of %s: %s", path, error)

    def retrieve_study_metadata(self, study_instance_uid: str) -> list[Json]:
        """Metadata of the instances of a study."""
        return list(self.iter_metadata(self.base_url, study_instance_uid))

    def retrieve_series_metadata(self, study_instance_uid: str, series_instance_uid: str) -> list[Json]:
        """Metadata of the instances of a series."""
        return list(self.iter_metadata(self.base_url, study_instance_uid, series_instance_uid))

    def retrieve_instance_metadata(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str
    ) -> Json:
        """Metadata of an instance."""
        uids = (study_instance_uid, series_instance_uid, sop_instance_uid)
        for found in self.iter_metadata(self.base_url, *uids):
            return found
        raise NotInPacs(f"Instance {sop_instance_uid} cannot be read.")

    def syntax(self, path: Path) -> str:
        """Transfer syntax UID of a file of the store."""
        return str(read_header(path, [Tag(0x00080018)]).syntax)

    def is_part10(self, path: Path) -> bool:
        """Whether a file of the store begins as DICOM Part 10 says; old files may be bare datasets."""
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"

    def explicit_little(self, path: Path) -> bytes:
        """A file of the store as Explicit VR Little Endian.

        Raises:
            InputError: If it cannot be converted.
        """
        out = BytesIO()
        try:
            to_explicit_little(read_header(path)).save_as(out, write_like_original=False)
        except (InputError, OSError):
            raise
        except Exception as error:  # pydicom raises anything on values that cannot be written
            raise InputError(f"the instance cannot be written as Explicit VR Little Endian: {error}") from error
        return out.getvalue()

    # -- pixels and bulk data

    def image(self, study: str, series: str, instance: str) -> Header:
        """The header of an instance that has pixels.

        Raises:
            InputError: If the file cannot be read.
            NotInPacs: If there is none, or it is not an image.
        """
        header = read_header(self.instance_path(study, series, instance))
        if header.pixel_tag is None:
            raise NotInPacs("The instance has no pixel data: it is not an image.")
        return header

    def frames(self, header: Header, numbers: Sequence[int], raw: bool) -> Iterator[bytes]:
        """Frames of an image, as stored or as raw little-endian samples.

        Raises:
            InputError: If one cannot be decoded.
            NotInPacs: If there is no such frame.
        """
        count = number_of_frames(header)
        for number in numbers:
            if not 1 <= number <= count:
                raise NotInPacs(f"There is no frame {number}: the instance has {count}.")
        if raw:
            return (frame for frame, _ in isolated_raw_frames(header, list(numbers)))
        return stored_frames(header, list(numbers))

    def iter_instance_frames(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        frame_numbers: Sequence[int],
        media_types: MediaTypes = None,
    ) -> Iterator[bytes]:
        """Frames as stored, or raw little-endian samples where ``application/octet-stream`` is asked for.

        Raises:
            InputError: If the instance has no such frame.
        """
        header = self.image(study_instance_uid, series_instance_uid, sop_instance_uid)
        asked = {item if isinstance(item, str) else item[0] for item in media_types or ()}
        as_stored = any(not isinstance(item, str) and item[1:] == ("*",) for item in media_types or ())
        raw = "application/octet-stream" in asked and not as_stored
        yield from self.frames(header, frame_numbers, raw)

    def retrieve_instance_frames(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        frame_numbers: Sequence[int],
        media_types: MediaTypes = None,
    ) -> list[bytes]:
        """All of :meth:`iter_instance_frames`."""
        uids = (study_instance_uid, series_instance_uid, sop_instance_uid)
        return list(self.iter_instance_frames(*uids, frame_numbers, media_types))

    def bulk_data(self, study: str, series: str, instance: str, element: str) -> Iterator[bytes]:
        """The value of a binary element: in one piece, or by frame where pixel data is compressed.

        Raises:
            NotInPacs: If there is no such element.
        """
        path = self.instance_path(study, series, instance)
        header = read_header(path)
        try:
            if header.pixel_tag is None or element.upper() != f"{header.pixel_tag:08X}":
                yield bulk_value(path, element)
            elif is_compressed(header.syntax):
                yield from stored_frames(header, range(1, number_of_frames(header) + 1))
            else:
                yield from native_pixels(header)
        except InputError as error:
            raise NotInPacs(str(error)) from error

    def iter_bulkdata(
        self, url: str, media_types: MediaTypes = None, byte_range: tuple[int, int] | None = None
    ) -> Iterator[bytes]:
        """The binary value at an address from the metadata."""
        found = _BULK_URL.search(url)
        if not found:
            raise NotInPacs(f"{url[:200]} is not the address of bulk data.")
        for value in self.bulk_data(*found.groups()):
            yield value[byte_range[0] : byte_range[1] + 1] if byte_range else value

    def retrieve_bulkdata(
        self, url: str, media_types: MediaTypes = None, byte_range: tuple[int, int] | None = None
    ) -> list[bytes]:
        """All of :meth:`iter_bulkdata`."""
        return list(self.iter_bulkdata(url, media_types, byte_range))

    # -- pictures

    def rendered(
        self,
        study: str,
        series: str | None = None,
        instance: str | None = None,
        number: int | None = None,
        media_type: str = "image/jpeg",
        params: Mapping[str, Any] | None = None,
    ) -> bytes:
        """A picture of a frame, or of what stands best for an instance, series or study: its middle.

        Args:
            study: Study Instance UID.
            series: Series Instance UID.
            instance: SOP Instance UID.
            number: Frame, from 1.
            media_type: ``image/jpeg`` or ``image/png``.
            params: ``window``, ``viewport``, ``quality`` as in PS3.18 8.3.5.

        Raises:
            InputError: If it cannot be rendered.
            NotInPacs: If there is nothing, or nothing that is an image.
        """
        found = self.instances(study, series, instance)
        look = parse_look(params or {})
        middle = len(found) // 2
        for _, path in [*found[middle:], *reversed(found[:middle])]:
            header = read_header(path)
            if header.pixel_tag is not None:
                if number is not None:
                    self.frames(header, [number], raw=False)  # refuses a frame that there is not
                try:
                    return isolated_render(header, number, look, media_type)
                except InputError as error:
                    raise NotInPacs(f"The picture cannot be made: {error}.", 406) from error
        raise NotInPacs("There is no image to render: no pixel data.", 406)

    def retrieve_series_rendered(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        media_types: MediaTypes = None,
        params: Mapping[str, Any] | None = None,
    ) -> bytes:
        """A picture of the middle of a series."""
        uids = (study_instance_uid, series_instance_uid)
        return self.rendered(*uids, media_type=_picture_type(media_types), params=params)

    def retrieve_instance_rendered(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        media_types: MediaTypes = None,
        params: Mapping[str, Any] | None = None,
    ) -> bytes:
        """A picture of an instance."""
        uids = (study_instance_uid, series_instance_uid, sop_instance_uid)
        return self.rendered(*uids, media_type=_picture_type(media_types), params=params)

    def retrieve_instance_frames_rendered(
        self,
        study_instance_uid: str,
        series_instance_uid: str,
        sop_instance_uid: str,
        frame_numbers: Sequence[int],
        media_types: MediaTypes = None,
        params: Mapping[str, Any] | None = None,
    ) -> bytes:
        """A picture of a frame; of the first one where several are asked for."""
        uids = (study_instance_uid, series_instance_uid, sop_instance_uid)
        return self.rendered(*uids, frame_numbers[0], _picture_type(media_types), params)


def _picture_type(media_types: MediaTypes) -> str:
    for item in media_types or ():
        name = item if isinstance(item, str) else item[0]
        if name in FORMATS:
            return name
    return "image/jpeg"
