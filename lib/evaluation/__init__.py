# SPDX-License-Identifier: Apache-2.0
"""How good a model is, on studies whose truth is known: scores by patient, with intervals, and comparisons."""
