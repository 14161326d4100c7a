# SPDX-License-Identifier: Apache-2.0
"""Reports after their draft: versions from the first words to the signature, what changed, and what is exported."""

from .changes import ReportChange as ReportChange
from .changes import change_from_draft as change_from_draft
from .changes import compare_texts as compare_texts
from .fhir import diagnostic_report as diagnostic_report
from .stored import check_report as check_report
from .stored import check_upload as check_upload
from .stored import stored_report as stored_report
from .stored import training_reports as training_reports
from .versions import ReportConflict as ReportConflict
from .versions import amended as amended
from .versions import saved as saved
from .versions import signed as signed
from .versions import texts_of as texts_of
from .versions import version_of as version_of
from .versions import versions_of as versions_of
from .versions import with_ids as with_ids
