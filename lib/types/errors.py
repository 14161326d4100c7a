# SPDX-License-Identifier: Apache-2.0
"""The error that is the caller's to mend."""


class InputError(ValueError):
    """The caller's input cannot be used. The message says what is wrong, with which file or id, and what to do."""
