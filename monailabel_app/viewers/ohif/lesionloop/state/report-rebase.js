// SPDX-License-Identifier: Apache-2.0
/**
 * What a person changed in a report, on top of what somebody else has stored meanwhile.
 *
 * @typedef {import('./report-sentences.js').Sentence} Sentence
 */

/**
 * Where only one of the two has changed a sentence, that change stands. Where both gave it other words, theirs stand
 * and one's own are kept as `mine`. Sentences that are new here, or gone there, are added.
 *
 * @param {Sentence[]} own as the person has made them
 * @param {Sentence[]} theirs of the version that is stored now
 * @param {() => string} newKey
 * @returns {Sentence[]}
 */
export function rebased(own, theirs, newKey) {
  const changed = own.filter(isChanged);
  const byId = new Map(changed.filter(({ known }) => known.id).map(sentence => [sentence.known.id, sentence]));
  const result = theirs.map(sentence => merged(sentence, byId.get(sentence.known.id)));
  const ids = new Set(theirs.map(({ known }) => known.id));
  const isLost = ({ known, text, decision }) => decision !== 'struck' && text !== known.text && !ids.has(known.id);
  for (const { section, text, key } of changed.filter(isLost)) {
    if (result.some(one => one.section === section && one.text === text)) continue;
    const free = result.some(one => one.key === key) ? newKey() : key;
    insert(result, { key: free, section, text, decision: 'added', known: {}, drafted: null, mine: null });
  }
  return result;
}

const isChanged = ({ known, text, decision }) => text !== known.text || decision !== (known.decision ?? 'drafted');

function merged(theirs, own) {
  if (!own) return theirs;
  const { known, text, decision } = own;
  const isOther = theirs.text !== known.text || theirs.decision === 'struck';
  if (text !== known.text) {
    return isOther && theirs.text !== text ? { ...theirs, mine: text } : { ...theirs, text, decision };
  }
  return isOther || theirs.decision !== (known.decision ?? 'drafted') ? theirs : { ...theirs, decision };
}

function insert(result, sentence) {
  const last = result.findLastIndex(({ section }) => section === sentence.section);
  result.splice(last < 0 ? result.length : last + 1, 0, sentence);
}
