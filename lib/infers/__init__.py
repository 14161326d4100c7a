# SPDX-License-Identifier: Apache-2.0
"""Inference tasks of the MONAI Label app: one class per task type, never per model."""
