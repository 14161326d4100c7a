# SPDX-License-Identifier: Apache-2.0
"""The parts of LesionLoop's ASGI server; :mod:`monailabel_app.server` wires them together."""
