# SPDX-License-Identifier: Apache-2.0
"""From what was found in an image to a draft report in which every sentence can be traced and has been checked."""
