# SPDX-License-Identifier: Apache-2.0
"""How a training stands, and what is made of its outcome."""

from __future__ import annotations

from dataclasses import asdict, dataclass

EPS = 1e-4
"""By how much a challenger has to be better to go into service."""


@dataclass
class EpochReport:
    """How training stands after an epoch.

    Attributes:
        epoch: 1-based.
        max_epochs: Epochs in all.
        loss: Mean training loss of the epoch.
        score_name: What ``val_score`` is.
        val_score: Of the averaged weights on the validation cases, in [0, 1]; None where it is undefined.
        learning_rate: Current.
        elapsed_s: Since the start.
        eta_s: Expected to remain.
    """

    epoch: int
    max_epochs: int
    loss: float
    score_name: str
    val_score: float | None
    learning_rate: float
    elapsed_s: float
    eta_s: float

    def line(self) -> str:
        """One line for the log and for ``/train/``."""
        score = "" if self.val_score is None else f", validation {self.score_name} {self.val_score:.3f}"
        return (
            f"epoch {self.epoch}/{self.max_epochs}, loss {self.loss:.4f}{score}, "
            f"lr {self.learning_rate:.1e}, elapsed {self.elapsed_s:.0f} s, ETA {self.eta_s:.0f} s"
        )

    def to_json(self) -> dict[str, float | int | str | None]:
        """Plain values."""
        return asdict(self)


def decision(name: str, challenger: float | None, in_service: float | None, n_val: int) -> tuple[bool, str]:
    """Whether a new version goes into service, and why.

    Args:
        name: Of the validation score.
        challenger: Score of the new version.
        in_service: Of the version in service, on the same studies.
        n_val: Validation studies.
    """
    if challenger is None:
        return True, f"published: there was no validation study {'with a lesion ' if n_val else ''}to compare on"
    if in_service is None:
        return True, "published: there was no version in service to compare with"
    publish = challenger > in_service + EPS
    return publish, (
        f"{'published' if publish else 'not published'}: validation {name} {challenger:.4f} against {in_service:.4f} "
        f"of the version in service, {n_val} validation {'study' if n_val == 1 else 'studies'}"
    )
