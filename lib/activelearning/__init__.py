# SPDX-License-Identifier: Apache-2.0
"""Which study to label next."""
