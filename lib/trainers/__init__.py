# SPDX-License-Identifier: Apache-2.0
"""Training: cases from the store, the fit loop, and one trainer class per task type."""
