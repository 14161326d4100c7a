# SPDX-License-Identifier: Apache-2.0
"""The answer to a request to store instances (STOW-RS, PS3.18 10.5.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from ..types import InputError
from .files import Incoming, Uids

# Failure reasons, PS3.18 table I.2-2 and PS3.7 annex C.
CANNOT_UNDERSTAND = 0xC000
OUT_OF_RESOURCES = 0xA700
DUPLICATE_INSTANCE = 0x0111
OTHER_STUDY = 0x0106


class StoreError(InputError):
    """An instance is not stored.

    Args:
        reason: Failure Reason (0008,1197).
        message: Why, for people.
    """

    def __init__(self, reason: int, message: str) -> None:
        """Keep the reason."""
        super().__init__(message)
        self.reason = reason


def instance_url(base_url: str, uids: Uids) -> str:
    """Address of an instance below that of a DICOMweb service."""
    return f"{base_url}/studies/{uids[0]}/series/{uids[1]}/instances/{uids[2]}"


@dataclass
class StoreReport:
    """What became of the instances of one request.

    Attributes:
        base_url: Address of the service, for the addresses of what was stored.
        stored: Instances that are in the store now.
        failed: (what is known of the instance, Failure Reason, message) of those that are not.
    """

    base_url: str
    stored: list[Incoming] = field(default_factory=list)
    failed: list[tuple[Incoming | None, int, str]] = field(default_factory=list)

    @property
    def status(self) -> int:
        """HTTP status: 200 all stored, 202 some, 409 none."""
        if not self.failed:
            return 200
        return 202 if self.stored else 409

    def dataset(self) -> Dataset:
        """The response module. Instances that could not even be read stand in Other Failures Sequence."""
        answer = Dataset()
        if self.stored:
            study = self.stored[0].uids[0]
            answer.RetrieveURL = f"{self.base_url}/studies/{study}"
            answer.ReferencedSOPSequence = [self._referenced(incoming) for incoming in self.stored]
        known = [_failure(*failure) for failure in self.failed if failure[0]]
        unknown = [_failure(*failure) for failure in self.failed if not failure[0]]
        if known:
            answer.FailedSOPSequence = known
        if unknown:
            answer.OtherFailuresSequence = unknown
        return answer

    def _referenced(self, incoming: Incoming) -> Dataset:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = incoming.sop_class_uid, incoming.uids[2]
        item.RetrieveURL = instance_url(self.base_url, incoming.uids)
        return item


def _failure(incoming: Incoming | None, reason: int, message: str) -> Dataset:
    item = Dataset()
    if incoming:
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = incoming.sop_class_uid, incoming.uids[2]
    item.FailureReason = reason
    item.ErrorComment = message[:64]  # LO holds 64 characters; dcm4chee answers so too
    return item
