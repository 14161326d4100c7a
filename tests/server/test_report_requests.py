# SPDX-License-Identifier: Apache-2.0
"""Requests about reports that cannot be answered are refused with what to do."""

import pytest
from fastapi import HTTPException

from monailabel_app.serving import reports


@pytest.mark.parametrize("said", ["9" * 5000, "one", "-1", "1.5"])
def test_a_version_that_is_no_number_is_a_bad_request(said):
    with pytest.raises(HTTPException) as refused:
        reports._expected({}, said)
    assert refused.value.status_code == 400
