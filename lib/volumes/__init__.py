# SPDX-License-Identifier: Apache-2.0
"""Image files that are not DICOM: NIfTI, NRRD and MetaImage, read without trusting their headers."""
