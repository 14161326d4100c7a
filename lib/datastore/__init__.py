# SPDX-License-Identifier: Apache-2.0
"""Where images, masks, boxes and reports live: a folder of files, a folder of DICOM, or a PACS."""
