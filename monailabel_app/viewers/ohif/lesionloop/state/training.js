// SPDX-License-Identifier: Apache-2.0
/**
 * How a training stands, read off the answer of /train/ (a background task with the last lines of its log).
 *
 * @typedef {Object} TrainingState
 * @property {string} id of the run
 * @property {string} model
 * @property {'waiting'|'running'|'done'|'failed'|'stopped'} status
 * @property {boolean} running waits or runs
 * @property {boolean} stopped
 * @property {string} error why it failed, in words; '' if it did not
 * @property {string} phase what it is doing or what became of it, in words
 * @property {number} epoch epochs done
 * @property {number|null} epochs in all, once known
 * @property {number|null} loss mean training loss of the last epoch
 * @property {number|null} metric validation score, 0..1; null without validation studies
 * @property {string} metricName what it is: Dice, box AP50, macro-F1
 * @property {number|null} progress 0..1
 * @property {number|null} secondsLeft
 * @property {{epoch: number, loss: number|null, metric: number|null}[]} history
 * @property {Object|null} record of the version that it made (VersionRecord)
 * @property {string[]} log its last lines, without those that the numbers came from
 */

const STATUS = { SUBMITTED: 'waiting', RUNNING: 'running', DONE: 'done', ERROR: 'failed', STOPPED: 'stopped' };
const LOG_PREFIX = /^\[[^\]]*\] \[\d+\] \[[^\]]*\] \[[A-Z]+\] \([^)]*\) - /;
const PROGRESS = /^progress (\{.*\})$/;
const RESULT = /^Result: (\{.*\})$/;
const ERROR_LINE = /^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)): ?(.*)$/;
const PHASES = [
  [/reading labelled studies/, () => 'Reading the labelled studies.'],
  [/(\d+) studies read/, ([, count]) => `Reading the labelled studies: ${count} read.`],
  [/(\d+) training and (\d+) validation studies/, ([, train, val]) => `${train} to learn from, ${val} to check with.`],
  [/starting from random weights/, () => 'Starting from random weights.'],
  [/starting from version (\S+)/, ([, version]) => `Starting from version ${version}.`],
  [/one labelled patient only/, () => 'Only one labelled patient: label a second one for a fair check.'],
];

/**
 * @param {Object|null} task answer of /train/; null when there has been none
 * @param {TrainingState|null} [previous] state of an earlier answer: the log keeps 20 lines, the history all epochs
 * @returns {TrainingState|null}
 */
export function parseTraining(task, previous = null) {
  if (!task) return null;
  const lines = (task.details ?? []).map(line => String(line).replace(LOG_PREFIX, ''));
  const earlier = previous?.id === task.id ? previous : null;
  const last = lines.map(progressOf).findLast(Boolean) ?? null;
  const status = STATUS[task.status] ?? 'running';
  const running = status === 'waiting' || status === 'running';
  const record = lines.map(line => parsed(line.match(RESULT))).findLast(Boolean) ?? null;
  const epochs = last?.max_epochs ?? earlier?.epochs ?? null;
  const epoch = last?.epoch ?? earlier?.epoch ?? 0;
  return {
    id: task.id, model: task.request?.model ?? '', status, running, stopped: status === 'stopped',
    error: status === 'failed' ? failure(lines) : '', phase: phaseOf(status, lines, record, earlier), epoch, epochs,
    loss: last?.loss ?? earlier?.loss ?? null, metric: last?.val_score ?? earlier?.metric ?? null,
    metricName: last?.score_name ?? earlier?.metricName ?? 'score',
    progress: status === 'done' ? 1 : epochs ? Math.min(1, epoch / epochs) : null,
    secondsLeft: running ? last?.eta_s ?? earlier?.secondsLeft ?? null : null,
    history: historyOf(lines, earlier?.history ?? []), log: lines.filter(line => !PROGRESS.test(line)),
    record,
  };
}

function progressOf(line) {
  return parsed(line.match(PROGRESS));
}

/** Python writes NaN and Infinity, which JSON does not have. */
function parsed(match) {
  if (!match) return null;
  try {
    return JSON.parse(match[1].replace(/([:[,]\s*)(?:NaN|-?Infinity)/g, '$1null'));
  } catch {
    return null;
  }
}

function historyOf(lines, earlier) {
  const epochs = new Map(earlier.map(entry => [entry.epoch, entry]));
  for (const report of lines.map(progressOf).filter(Boolean)) {
    epochs.set(report.epoch, { epoch: report.epoch, loss: report.loss, metric: report.val_score });
  }
  return [...epochs.values()].sort((a, b) => a.epoch - b.epoch);
}

function phaseOf(status, lines, record, earlier) {
  if (status === 'waiting') return 'Waiting for its turn.';
  if (status === 'stopped') return 'Stopped. Nothing was changed.';
  if (status === 'failed') return failure(lines);
  if (status === 'done') return record ? `Version ${record.version}, ${record.reason}.` : 'Done.';
  if (lines.some(progressOf)) return 'Training.';
  return phaseLine(lines) ?? (lines.length ? earlier?.phase : null) ?? 'Starting.';
}

function phaseLine(lines) {
  for (const line of [...lines].reverse()) {
    for (const [pattern, words] of PHASES) {
      const match = line.match(pattern);
      if (match) return words(match);
    }
  }
  return null;
}

/** The message of the exception that ended it; the server's own errors already say what to do. */
function failure(lines) {
  const match = lines.map(line => line.match(ERROR_LINE)).findLast(Boolean);
  if (!match) return 'The training ended without a message, perhaps for lack of memory. The server\'s log has more.';
  const [, kind, text] = match;
  if (/InputError$/.test(kind)) return sentence(text);
  if (/MemoryError|OutOfMemory/.test(kind)) return 'The training ran out of memory. Choose a smaller batch size.';
  return `The training failed: ${sentence(text || kind)} The server's log has more.`;
}

function sentence(text) {
  const trimmed = text.trim();
  const ended = /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return ended.charAt(0).toUpperCase() + ended.slice(1);
}
