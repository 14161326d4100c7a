# SPDX-License-Identifier: Apache-2.0
"""LesionLoop: recurrent networks that find, outline and follow lesions in image sequences."""
