# SPDX-License-Identifier: Apache-2.0
"""Networks in plain torch: frame encoder, recurrence, attention, decoder, heads, and the lesion net they make."""
