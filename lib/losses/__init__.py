# SPDX-License-Identifier: Apache-2.0
"""What networks are trained by: lesion nets in :mod:`lib.losses.lesion`, report nets in :mod:`lib.losses.report`."""
