# SPDX-License-Identifier: Apache-2.0
"""LesionLoop's MONAI Label app: what is served."""
