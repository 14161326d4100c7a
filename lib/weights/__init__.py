# SPDX-License-Identifier: Apache-2.0
"""Weights on disk: safetensors files with their facts, and the versions of a model of which one is in service."""
