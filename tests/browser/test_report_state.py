# SPDX-License-Identifier: Apache-2.0
"""The report's state, without a viewer: what a person makes of it, what of that is unsaved, what a conflict keeps."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.e2e

START = """async steps => {
  const { ReportSession } = await import('/ohif/lesionloop/state/report-session.js');
  const sentences = await import('/ohif/lesionloop/state/report-sentences.js');
  const drafts = await import('/ohif/lesionloop/state/report-draft.js');
  const session = new ReportSession('1.2.3');
  const plain = value => JSON.parse(JSON.stringify(value, (_, v) => (v instanceof Map ? Object.fromEntries(v) : v)));
  const now = () => session.sentences.map(({ section, text, decision }) => [section, text, decision]);
  const key = text => session.sentences.find(one => one.text.startsWith(text)).key;
  const run = new Function('session', 'sentences', 'drafts', 'now', 'key', `return (async () => { ${steps} })()`);
  return plain((await run(session, sentences, drafts, now, key)) ?? null);
}"""


def sentence(number: int, text: str, support: str = "supported", **changes: Any) -> dict[str, Any]:
    known = {"id": f"f{number}", "text": text, "support": support, "confidence": 0.8, "finding_ids": [number]}
    evidence = {
        "facts": [{"finding": "lesion"}],
        "frame_attention": {"3": 0.7, "4": 0.3},
        "word_attention": [["pain", 1.0]],
    }
    return {**known, **evidence, "alternatives": [], "decision": "drafted", **changes}


def report(*findings: dict[str, Any], status: str = "draft", version: int = 1, **changes: Any) -> dict[str, Any]:
    sections = {"findings": list(findings), "impression": [sentence(9, "One lesion.")]}
    draft = {name: {one["id"]: one["text"] for one in part} for name, part in sections.items()}
    return {"sections": sections, "status": status, "version": version, "author": "model", "draft": draft, **changes}


def answer(stored: dict[str, Any]) -> dict[str, Any]:
    """As the routes answer."""
    lines = [{"version": number, "status": stored["status"]} for number in range(1, stored["version"] + 1)]
    return {"report": stored, "versions": lines}


LESION, SHIFT, SIDE = (
    sentence(1, "A lesion of 12 mm."),
    sentence(2, "The midline is shifted.", "unsupported"),
    sentence(3, "It lies on the right.", "contradicted"),
)
STORED = answer(report(LESION, SHIFT, SIDE))
LOAD = f"session.load({json.dumps(STORED)});"


def run(page: Page, steps: str) -> Any:
    return page.evaluate(START, steps)


def test_nothing_is_there_and_a_person_writes_it(module_page: Page) -> None:
    told = run(
        module_page,
        """
      session.load(null);
      const before = [session.status, session.version, session.dirty, session.length, session.sectionNames];
      session.add('impression', '  Two   lesions. ');
      session.add('findings', 'A lesion.');
      session.add('findings', '   ');
      return { before, now: now(), dirty: session.dirty, sections: session.sections };
    """,
    )
    assert told["before"] == ["none", 0, False, 0, ["indication", "comparison", "findings", "impression"]]
    assert told["now"] == [["findings", "A lesion.", "added"], ["impression", "Two lesions.", "added"]]
    assert told["dirty"]
    assert list(told["sections"]) == ["findings", "impression"]
    assert told["sections"]["findings"] == [{"text": "A lesion.", "decision": "added", "support": "not_assessed"}]


def test_what_counts_as_unsaved(module_page: Page) -> None:
    seen = run(
        module_page,
        LOAD
        + """
      const seen = []; const note = () => seen.push(session.dirty); note();
      session.accept(key('A lesion')); note();
      session.restore(key('A lesion')); note();
      session.strike(key('The midline')); note();
      session.restore(key('The midline')); note();
      session.edit(key('A lesion'), 'A lesion of 14 mm.'); note();
      session.edit(key('A lesion'), 'A lesion of 12 mm.'); note();
      const added = session.add('findings', 'Another.'); note();
      session.strike(added); note();
      return seen;
    """,
    )
    assert seen == [False, True, False, True, False, True, False, True, False]


def test_decisions_and_evidence_follow_the_words(module_page: Page) -> None:
    told = run(
        module_page,
        LOAD
        + """
      const open = session.undecided().map(({ text }) => text);
      const support = text => sentences.evidenceOf(session.sentence(key(text))).support;
      session.edit(key('A lesion'), 'A lesion of 14 mm.');
      session.accept(key('The midline'));
      session.edit(key('It lies'), '');
      return { open, now: now(), edited: support('A lesion'), left: session.undecided().length,
        stand: session.unsupported().map(({ text }) => text), length: session.length, sent: session.sections.findings };
    """,
    )
    assert told["open"] == [SHIFT["text"], SIDE["text"]]
    assert [decision for _, _, decision in told["now"]] == ["edited", "accepted", "struck", "drafted"]
    assert told["edited"] == "not_assessed", "evidence is for the words that it was found for"
    assert (told["left"], told["stand"], told["length"]) == (0, [SHIFT["text"]], 3)
    assert told["sent"][0]["facts"] == LESION["facts"], "the server drops what belongs to other words"
    assert [one["decision"] for one in told["sent"]] == ["edited", "accepted", "struck"]


def test_supported_sentences_are_accepted_together(module_page: Page) -> None:
    told = run(module_page, LOAD + "session.acceptSupported(); return now().map(([, , decision]) => decision);")
    assert told == ["accepted", "drafted", "drafted", "accepted"]


def test_a_proposal_is_unsaved_work_only_once_touched_and_keeps_its_keys_when_stored(module_page: Page) -> None:
    fresh = [{key: value for key, value in one.items() if key != "id"} for one in (LESION, SHIFT)]
    proposed = {"sections": {"findings": fresh}, "model": "report_brain_mr"}
    stored = {**report(LESION, SHIFT), "sections": {"findings": [LESION, SHIFT]}}
    told = run(
        module_page,
        f"""
      session.propose({json.dumps(proposed)}, new Map([[1, 'lesion-7']]));
      const before = [session.isProposal, session.dirty, session.version, session.mayDraft];
      session.edit(key('A lesion'), 'A lesion of 14 mm.');
      session.add('findings', 'More.');
      const keys = session.sentences.map(one => one.key), dirty = session.dirty;
      session.loadDraft({json.dumps(answer(stored))});
      return {{ before, dirty, same: JSON.stringify(keys) === JSON.stringify(session.sentences.map(one => one.key)),
        now: now(), still: session.dirty, version: session.version, isProposal: session.isProposal,
        sent: session.sections.findings.map(one => one.id ?? null), lesions: session.lesionKeys }};
    """,
    )
    assert told["before"] == [True, False, 0, True]
    assert told["dirty"] is told["same"] is told["still"] is True
    assert [decision for _, _, decision in told["now"]] == ["edited", "drafted", "added"]
    assert (told["version"], told["isProposal"]) == (1, False)
    assert told["sent"] == ["f1", "f2", None]
    assert told["lesions"] == {"1": "lesion-7"}


def test_signed_words_change_only_in_an_amendment(module_page: Page) -> None:
    signed = answer(report(LESION, status="signed", version=3, signer="Dr A"))
    told = run(
        module_page,
        f"""
      session.load({json.dumps(signed)});
      session.edit(key('A lesion'), 'x'); session.strike(key('A lesion')); session.add('findings', 'x');
      const still = [session.dirty, session.editable, session.mayDraft];
      session.beginAmend(); session.reason = 'Typing error';
      session.edit(key('A lesion'), 'A lesion of 13 mm.');
      const amended = [session.dirty, session.editable];
      session.discard();
      return {{ still, amended, after: [session.dirty, session.editable, session.reason, session.amending] }};
    """,
    )
    assert told == {"still": [False, False, False], "amended": [True, True], "after": [False, False, "", False]}


def test_a_conflict_keeps_the_words_of_both(module_page: Page) -> None:
    theirs = report(
        {**LESION, "text": "A lesion of 15 mm.", "decision": "edited"},
        SHIFT,
        {**SIDE, "decision": "struck"},
        status="corrected",
        version=2,
        author="Dr B",
    )
    told = run(
        module_page,
        LOAD
        + f"""
      session.edit(key('A lesion'), 'A lesion of 14 mm.');
      session.edit(key('The midline'), 'The midline is not shifted.');
      session.add('impression', 'Follow up.');
      session.meet({json.dumps(answer(theirs))});
      const blocked = session.editable;
      session.strike(key('A lesion'));
      session.takeOver();
      const mine = session.sentences.map(one => one.mine), taken = now();
      session.settle(key('A lesion'), true);
      return {{ blocked, taken, mine, version: session.version, dirty: session.dirty, settled: now()[0],
        left: session.sentences[0].mine }};
    """,
    )
    assert told["blocked"] is False
    assert told["taken"] == [
        ["findings", "A lesion of 15 mm.", "edited"],
        ["findings", "The midline is not shifted.", "edited"],
        ["findings", "It lies on the right.", "struck"],
        ["impression", "One lesion.", "drafted"],
        ["impression", "Follow up.", "added"],
    ]
    assert told["mine"] == ["A lesion of 14 mm.", None, None, None, None]
    assert (told["version"], told["dirty"]) == (2, True)
    assert (told["settled"], told["left"]) == (["findings", "A lesion of 14 mm.", "edited"], None)


def test_a_report_signed_meanwhile_becomes_an_amendment_with_the_typed_words(module_page: Page) -> None:
    theirs = report({**LESION, "decision": "accepted"}, status="signed", version=2, signer="Dr B")
    told = run(
        module_page,
        LOAD
        + f"""
      session.edit(key('A lesion'), 'A lesion of 14 mm.');
      session.meet({json.dumps(answer(theirs))});
      session.takeOver();
      return [session.status, session.amending, session.editable, now()[0]];
    """,
    )
    assert told == ["signed", True, True, ["findings", "A lesion of 14 mm.", "edited"]]


def test_what_a_model_is_asked_and_what_it_answers(module_page: Page) -> None:
    told = run(
        module_page,
        """
      const clinical = { indication: ' BP 120/80. ', history: '', prior_report: '', followup: true };
      const model = { name: 'report_brain_mr', version: 'v0002' };
      const finding = (id, x) => ({ id, label: 'lesion', score: 1, boxes: { 3: [x, 0, x + 9, 9] }, measurements: {},
        source: {} });
      const lesion = (key, x, status = 'proposed') => ({ key, status, boxes: new Map([[3, [x, 0, x + 9, 9]]]) });
      const image = { timePoint: null, hasVisits: true };
      return { params: drafts.draftParams(clinical, image), none: drafts.draftOf({ findings: [] }, model),
        timed: drafts.draftParams({ ...clinical, followup: false }, { ...image, timePoint: 2 }),
        alone: drafts.draftParams(clinical, { ...image, hasVisits: false }),
        plain: drafts.draftOf({ report: { sections: {}, version: 1, history: [] } }, model),
        own: drafts.draftOf({ report: { sections: {}, model: 'm', model_version: 'v9', prior_image: '1.9' } }, model),
        linked: drafts.linkFindings([finding(4, 0), finding(5, 40), finding(6, 80)],
          [lesion('b', 41), lesion('a', 1), lesion('gone', 80, 'deleted')]) };
    """,
    )
    assert told["params"] == {"followup": True, "indication": "BP 120/80."}
    assert told["timed"] == {"time_point": 2, "indication": "BP 120/80."}
    assert told["alone"] == {"indication": "BP 120/80."}
    assert told["none"] is None
    assert told["plain"] == {"model": "report_brain_mr", "model_version": "v0002", "sections": {}}
    assert told["own"] == {"model": "m", "model_version": "v9", "prior_image": "1.9", "sections": {}}
    assert told["linked"] == {"4": "a", "5": "b"}
