# SPDX-License-Identifier: Apache-2.0
"""``lesionloop bench``: how fast and how good things are, measured on this machine."""
