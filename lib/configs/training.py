# SPDX-License-Identifier: Apache-2.0
"""The part of a model's YAML file that says how it is trained."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from .network import STRICT, Count, Fraction, Positive


@dataclass(frozen=True, config=STRICT)
class AugmentConfig:
    """Random changes, drawn once per sequence and shared by all of its frames.

    Attributes:
        flip: Probability of mirroring left and right.
        reverse: Probability of reversing the frame order.
        affine: Probability of a rotation, scaling, shear and shift.
        rotate_deg: Largest rotation.
        scale: Largest relative change of size.
        shift_px: Largest shift.
        contrast: Probability of a gamma change in 0.7-1.5.
        intensity: Probability of a change of gain (+-15 %) and offset (+-0.15 standard deviations).
        noise_std: Largest standard deviation of added noise, in standard deviations of the image.
        blur: Probability of a Gaussian blur.
        tones: Probability of other tones: a smooth shading and a bent grey scale, per channel.
        modality_dropout: Probability that a channel of a sequence is taken away; one that is there always stays.
    """

    flip: Fraction = 0.5
    reverse: Fraction = 0.25
    affine: Fraction = 0.8
    rotate_deg: float = 15.0
    scale: float = 0.2
    shift_px: float = 12.0
    contrast: Fraction = 0.5
    intensity: Fraction = 0.5
    noise_std: float = 0.1
    blur: Fraction = 0.1
    tones: Fraction = 0.0
    modality_dropout: Fraction = 0.0


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """How the model is trained.

    Attributes:
        max_epochs: Passes; an epoch is ``steps_per_epoch`` optimiser steps.
        steps_per_epoch: Optimiser steps between two progress reports and validations.
        batch_size: Sequences per step.
        window: Frames per sequence in training.
        size_px: In-plane size of a training crop.
        learning_rate: Peak of the one-cycle schedule when training from scratch.
        finetune_learning_rate: Peak when starting from the deployed weights.
        weight_decay: AdamW.
        lesion_fraction: Share of the training windows that are made to hold a lesion.
        ema_decay: Decay of the exponential moving average of the weights that is validated and published.
        val_fraction: Share of the labelled patients held out for validation.
        seed: Of every random choice.
        presence_weight: Weight of the frame presence loss.
        study_weight: Weight of the study class loss.
        box_weight: Weight of the box loss.
        mask_loss: What joins the Dice loss of the mask: ``bce``, or ``focal`` where lesions are of a few pixels.
        class_balance: With several labels: 0 draws the windows with a lesion as they come, above 0 by the lesion's
            class; 1 shows all classes alike, however rare they are.
        class_loss: With several labels: a further loss of the mask, between the classes and on lesion pixels only.
            ``focal`` looks at what is hard; ``logit_adjusted`` makes up for how often each class is drawn.
        class_weight: Weight of that loss.
        crop: Where a training crop lies: in the ``center`` of the frames, or ``anywhere``, and where the window is made
            to hold a lesion, over one.
        phantom: Which phantoms ``lesionloop train --phantoms`` makes.
        augment: Random changes.
    """

    max_epochs: Count = 20
    steps_per_epoch: Count = 50
    batch_size: Count = 2
    window: Count = 16
    size_px: Count = 192
    learning_rate: Positive = 3e-3
    finetune_learning_rate: Positive = 5e-4
    weight_decay: float = 1e-2
    lesion_fraction: Fraction = 0.6
    ema_decay: Fraction = 0.998
    val_fraction: Fraction = 0.2
    seed: int = 0
    presence_weight: float = 0.5
    study_weight: float = 0.05
    box_weight: float = 0.1
    mask_loss: Literal["bce", "focal"] = "bce"
    class_balance: Fraction = 0.0
    class_loss: Literal["none", "focal", "logit_adjusted"] = "none"
    class_weight: Annotated[float, Field(ge=0)] = 1.0
    crop: Literal["center", "anywhere"] = "center"
    phantom: Literal["head", "chest", "cine"] = "head"
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
