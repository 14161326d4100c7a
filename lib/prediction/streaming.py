# SPDX-License-Identifier: Apache-2.0
"""A forward-only model on a stream: a frame in, its findings out, at a cost that does not grow with what came before.

Findings are those of single frames: a lesion's pixels are connected within the frame. What makes them one lesion over
time is the track, whatever class each frame gives it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from ..configs import ModelConfig
from ..findings.lesions import lesions_from_boxes, outlined_lesions
from ..networks.lesion_net import LesionNet
from ..networks.streaming import StreamState, stream_step, streaming_obstacles
from ..tracking import CausalTracker, Detections, TrackerRules
from ..types import Finding, FloatArray, InputError, Sequence, SequenceKind, Source
from .predictor import Maps, Prediction, Predictor, mean_maps, mirrored, to_maps
from .stream_input import StreamInput, StreamPreparation

MAX_LESIONS_PER_FRAME = 20
"""Per class only the largest are measured: noise must not make a frame late."""


@dataclass(frozen=True)
class FrameResult:
    """What a model says about one frame of a stream, knowing the frames before.

    Attributes:
        frame: Number of the frame, from 0.
        time_s: When it was taken, seconds from the start of the stream.
        presence: Probability that it holds a lesion.
        attention: Its weight among the frames so far, or None.
        study: Probability that the frames so far hold each class; empty where the model does not say.
        findings: Best first; ``boxes`` and ``frame_scores`` hold this frame only, ``track_id`` is the lesion over time.
        confirmed: Tracks among these that were seen often enough to be no noise.
        born: Tracks that this frame has confirmed.
        lost: Confirmed tracks that have been without a finding for too long; their ids do not come again.
    """

    frame: int
    time_s: float
    presence: float
    attention: float | None
    study: dict[str, float]
    findings: tuple[Finding, ...]
    confirmed: frozenset[int] = frozenset()
    born: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values; a finding has one ``box``, and no place in the patient."""
        return {
            "frame": self.frame,
            "time_s": round(self.time_s, 4),
            "presence": round(self.presence, 4),
            "attention": None if self.attention is None else round(self.attention, 4),
            "study": {name: round(value, 4) for name, value in self.study.items()},
            "findings": [self._finding(finding) for finding in self.findings],
            "events": [
                {"kind": kind, "track_id": track}
                for kind, tracks in (("born", self.born), ("lost", self.lost))
                for track in tracks
            ],
        }

    def _finding(self, finding: Finding) -> dict[str, Any]:
        data = finding.to_json()
        kept = {key: data[key] for key in ("id", "label", "score", "track_id", "measurements")}
        return {**kept, "confirmed": finding.track_id in self.confirmed, "box": data["boxes"][str(self.frame)]}


def require_streaming(config: ModelConfig) -> None:
    """Check that a model needs no later frames.

    Raises:
        InputError: If it does; the message names the keys of its configuration.
    """
    if obstacles := streaming_obstacles(config.network):
        raise InputError(
            f"the model '{config.name}' needs frames that a stream does not have yet; a model that streams has"
            f" {' and '.join(obstacles)} in its configuration, and is trained like this"
        )


class FrameStream:
    """One stream through a forward-only model. Streams share the network; the state is the stream's own.

    Args:
        predictor: The model.
        config: As the predictor's, with the thresholds of this stream.
        given: What is known of the frames.
        source: Model, version and weights, for the findings.

    Raises:
        InputError: If the model is not forward-only, or cannot read such frames.
    """

    def __init__(self, predictor: Predictor, config: ModelConfig, given: StreamInput, source: Source) -> None:
        require_streaming(config)
        self._network = cast(LesionNet, predictor.network)
        self._predictor, self._source = predictor, source
        # A threshold on volume is for whole lesions: each frame shows but a slice of one.
        self._config = replace(config, inference=replace(config.inference, min_volume_ml=0.0))
        self.given = given
        self.prepare = StreamPreparation(given, config.input)
        self.reset()

    @property
    def source(self) -> Source:
        """Model, version and weights."""
        return self._source

    def reset(self) -> None:
        """Forget the frames so far: what comes next is another sequence. Track ids start again."""
        self.prepare.reset()
        self._states: list[StreamState | None] = [None] * (2 if self._config.inference.flip_tta else 1)
        self._tracker = CausalTracker(TrackerRules.reporting(self._config.inference.score_threshold))

    def read_frame(self, data: bytes) -> FloatArray:
        """A frame as it was sent -> (C, H, W).

        Raises:
            InputError: If it cannot be read or has another size than was announced.
        """
        return self.given.read_frame(data, len(self._config.input.channels))

    def push(self, frame: FloatArray, number: int, time_s: float) -> FrameResult:
        """Take the next frame.

        Args:
            frame: (C, H, W) in the sender's intensities.
            number: Its number; a stream may leave some out.
            time_s: When it was taken.

        Raises:
            InputError: If the frame has another shape than was announced.
        """
        prediction = self.predict(frame)
        study = prediction.study
        findings = self._find(prediction, self._as_sequence(frame, time_s))
        seen = Detections([finding.boxes[0] for finding in findings], [finding.score for finding in findings])
        tracks = self._tracker.update(seen)
        return FrameResult(
            number,
            time_s,
            float(prediction.presence[0]),
            None if prediction.attention is None else float(prediction.attention[0]),
            {} if study is None else {n: float(p) for n, p in zip(self._config.class_names, study, strict=True)},
            tuple(_at(finding, number, track) for finding, track in zip(findings, tracks.candidates, strict=True)),
            frozenset(track for track in tracks.ids if track is not None),
            tracks.started,
            tracks.ended,
        )

    @torch.inference_mode()
    def predict(self, frame: FloatArray) -> Prediction:
        """Take the next frame (C, H, W); what the network says about it (T = 1), in original pixels."""
        prepared = self._predictor.padded(self.prepare(frame))
        height, width = (end - start for start, end in np.reshape(self.prepare.grid.crop, (2, 2)))
        views = [prepared, prepared.flip(-1)][: len(self._states)]
        parts = [self._step(i, view) for i, view in enumerate(views)]
        maps = parts[0] if len(parts) == 1 else mean_maps([parts[0], mirrored(parts[1])])
        maps.mask = maps.mask[..., :height, :width]
        if self._config.task != "detection":
            maps.heatmap = None  # its findings come from the mask
        return self._predictor.restore(maps, self.prepare.grid)

    def _find(self, prediction: Prediction, frame: Sequence) -> list[Finding]:
        if self._config.task == "detection":
            return lesions_from_boxes(prediction, frame, self._config, self._source)
        lesions = outlined_lesions(prediction, frame, self._config, self._source, MAX_LESIONS_PER_FRAME)
        return [lesion.finding for lesion in lesions]

    def _step(self, view: int, frame: torch.Tensor) -> Maps:
        device = self._predictor.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            output, self._states[view] = stream_step(self._network, frame, self._states[view])
        return to_maps(output)

    def _as_sequence(self, frame: FloatArray, time_s: float) -> Sequence:
        """The frame as a clip of its own, which lies nowhere in the patient."""
        x_mm, y_mm = self.given.spacing_mm
        channels = self._config.input.channels
        return Sequence(
            frames=frame[None],
            kind=SequenceKind.CINE,
            positions=(time_s,),
            spacing_mm=(x_mm, y_mm),
            affine_lps=np.diag([x_mm, y_mm, 1.0, 1.0]),
            channels=channels,
            channel_present=(True,) * len(channels),
        )


def _at(finding: Finding, number: int, track: int | None) -> Finding:
    """A finding of a clip of one frame, on the frame that this is in the stream."""
    scores = {number: finding.frame_scores.get(0, finding.score)}
    return replace(finding, boxes={number: finding.boxes[0]}, frame_scores=scores, track_id=track)
