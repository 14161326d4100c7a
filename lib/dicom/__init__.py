# SPDX-License-Identifier: Apache-2.0
"""DICOM in and out: writing image series and clips, reading them back, results as DICOM objects."""
