# SPDX-License-Identifier: Apache-2.0
"""From an image to what a network says of it, in the image's own geometry: whole, or frame by frame as it comes."""
