# SPDX-License-Identifier: Apache-2.0
"""From image files to what the network sees, and back to the geometry of the original image."""
