# SPDX-License-Identifier: Apache-2.0
"""Classes of studies: how they are drawn for training, how sure a model is, and what it does when it is not."""
