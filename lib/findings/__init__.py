# SPDX-License-Identifier: Apache-2.0
"""From what a network says to lesions: outlined, measured in mm, named."""
