// SPDX-License-Identifier: Apache-2.0
/** The extension: OHIF's panel and commands for LesionLoop, and what lives as long as the mode is open. */
import './elements/panel.js';
import { OWN_KEYS, keepKeys } from './ohif/hotkeys.js';
import { guardLeaving } from './ohif/leaving.js';
import { Server } from './state/server.js';
import { Viewer } from './ohif/viewer.js';
import { Workspace } from './state/workspace.js';

/** What a command does with what is open and the command's options. */
const ACTIONS = {
  lesionloopAccept: ({ workspace }) => onSelected(workspace, key => workspace.accept(key)),
  lesionloopReject: ({ workspace }) => onSelected(workspace, key => workspace.reject(key)),
  lesionloopRemoveBox: ({ viewer }, { uid } = {}) => viewer.removeBox(uid),
  lesionloopNextFinding: ({ workspace }) => workspace.selectNext(1),
  lesionloopPreviousFinding: ({ workspace }) => workspace.selectNext(-1),
  lesionloopNextImage: () => press('next-image'),
  lesionloopDraw: ({ workspace }) => workspace.startDrawing(),
  lesionloopCancel: ({ viewer }) => viewer.cancelDrawing(),
  lesionloopSubmit: () => press('submit'),
};

/** What is open: the viewer, the workspace, the panel's element and its place on the page. */
let open = null;
let host = null;

/**
 * Start the panel's work; the mode calls it when it is entered.
 *
 * @param {Object} managers OHIF's
 */
export function enterPanel(managers) {
  leavePanel();
  const viewer = new Viewer(managers);
  const workspace = new Workspace({ server: new Server(), viewer });
  const leaving = guardLeaving(() => workspace.dirty);
  viewer.mayLeave = leaving.mayLeave;
  open = { viewer, workspace, leaving, panel: null };
  window.lesionloop = { viewer, workspace };
  offerMenu(managers.servicesManager.services.customizationService, viewer);
  viewer.start();
  workspace.start();
  mount();
}

/** End it; the mode calls it when it is left. */
export function leavePanel() {
  if (!open) return;
  open.leaving.stop();
  open.workspace.stop();
  open.viewer.stop();
  open.panel?.remove();
  open = null;
  delete window.lesionloop;
}

/** Put the panel's element into its place. OHIF takes the place away when another tab is shown; the element stays. */
function mount() {
  if (!open || !host) return;
  if (!open.panel) {
    open.panel = document.createElement('lesionloop-panel');
    open.panel.workspace = open.workspace;
  }
  if (open.panel.parentElement !== host) host.append(open.panel);
}

function place(element) {
  host = element;
  if (element) keepKeys(element);
  mount();
}

function onSelected(workspace, work) {
  const key = workspace.session?.selected;
  if (key) work(key);
}

/** Submitting and going on ask questions that belong to the panel: the key presses its button. */
function press(testId) {
  open.panel?.querySelector(`[data-testid="${testId}"]`)?.click();
}

/** The menu of a right click on a lesion's box; the entries for measurements are OHIF's own. */
function offerMenu(customizationService, viewer) {
  const entry = (label, commandName, context) => ({ label, commands: [{ commandName, context }] });
  const own = {
    id: 'forLesionBox',
    selector: ({ nearbyToolData }) => Boolean(viewer.lesionOf(nearbyToolData?.annotationUID)),
    items: [entry('Remove this box', 'lesionloopRemoveBox', 'DEFAULT')],
  };
  const others = {
    id: 'forExistingMeasurement',
    selector: ({ nearbyToolData }) => Boolean(nearbyToolData),
    items: [entry('Delete measurement', 'deleteMeasurement', 'CORNERSTONE'),
      entry('Add label', 'setMeasurementLabel', 'CORNERSTONE')],
  };
  const menu = { id: 'measurementsContextMenu', customizationType: 'ohif.contextMenu', menus: [own, others] };
  customizationService.addModeCustomizations([menu]);
}

/** OHIF hands out no React: an element as React 18 makes it. */
const reactElement = (type, props) => (
  { $$typeof: Symbol.for('react.element'), type, key: null, ref: props.ref, props, _owner: null, _store: {} });

export default {
  id: 'lesionloop',
  getPanelModule: () => [{
    name: 'lesions',
    iconName: 'tab-roi-threshold',
    iconLabel: 'LesionLoop',
    label: 'LesionLoop',
    component: () => reactElement('div', { ref: place, style: { height: '100%' } }),
  }],
  getCommandsModule: () => ({
    defaultContext: 'DEFAULT',
    definitions: Object.fromEntries(OWN_KEYS.map(({ commandName }) => [commandName, {
      commandFn: options => (open ? ACTIONS[commandName](open, options) : undefined),
    }])),
  }),
};
