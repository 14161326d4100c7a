// SPDX-License-Identifier: Apache-2.0
/** The mode: OHIF's page with our panel, for every study that has images. */
import { enterPanel, leavePanel } from './extension.js';
import { HOTKEYS } from './ohif/hotkeys.js';
import { createToolbar } from './ohif/toolbar.js';
import { createToolGroups } from './ohif/tools.js';

const ID = 'lesionloop';
const NOT_IMAGES = ['AU', 'DOC', 'ECG', 'EPS', 'FID', 'HD', 'KO', 'OT', 'PLAN', 'PR', 'REG', 'RESP', 'RTDOSE', 'RTPLAN',
  'RTRECORD', 'RTSTRUCT', 'RWV', 'SEG', 'SM', 'SR'];
const EXTENSIONS = ['default', 'cornerstone', 'measurement-tracking', 'cornerstone-dicom-sr', 'cornerstone-dicom-seg',
  'dicom-pdf', 'dicom-video', 'monai-label'];
const SERVER_COOKIE = 'MONAILABEL_SERVER_URL';

const handler = (extension, name) => `@ohif/extension-${extension}.sopClassHandlerModule.${name}`;
const panel = (extension, name) => `@ohif/extension-${extension}.panelModule.${name}`;
const viewport = (extension, name, displaySetsToDisplay) => (
  { namespace: `@ohif/extension-${extension}.viewportModule.${name}`, displaySetsToDisplay });

const STACK = handler('default', 'stack');
const VIDEO = handler('dicom-video', 'dicom-video');
const PDF = handler('dicom-pdf', 'dicom-pdf');
const SEG = handler('cornerstone-dicom-seg', 'dicom-seg');
const SR = handler('cornerstone-dicom-sr', 'dicom-sr');
const SR_3D = handler('cornerstone-dicom-sr', 'dicom-sr-3d');
/** General handlers come last: the first that fits takes an instance. */
const HANDLERS = [VIDEO, SEG, STACK, PDF, SR_3D, SR];
const DEPENDENCIES = Object.fromEntries(EXTENSIONS.map(name => [`@ohif/extension-${name}`, '^3.0.0']));

const layout = {
  id: '@ohif/extension-default.layoutTemplateModule.viewerLayout',
  props: {
    leftPanels: [panel('default', 'seriesList')],
    rightPanels: [`${ID}.panelModule.lesions`, panel('cornerstone', 'panelSegmentationWithTools'),
      panel('cornerstone', 'panelMeasurement'), panel('monai-label', 'monailabel')],
    viewports: [
      viewport('cornerstone', 'cornerstone', [STACK, VIDEO]),
      viewport('cornerstone-dicom-seg', 'dicom-seg', [SEG]),
      viewport('cornerstone-dicom-sr', 'dicom-sr', [SR, SR_3D]),
      viewport('dicom-pdf', 'dicom-pdf', [PDF]),
    ],
  },
};

function modeFactory() {
  return {
    id: ID,
    routeName: ID,
    displayName: 'LesionLoop',
    onModeEnter: enter,
    onModeExit: leave,
    validationTags: { study: [], series: [] },
    isValidMode,
    routes: [{ path: ID, layoutTemplate: () => ({ ...layout, props: { ...layout.props } }) }],
    extensions: DEPENDENCIES,
    hangingProtocol: 'default',
    sopClassHandlers: HANDLERS,
    hotkeys: { name: `${ID}-hotkeys`, hotkeys: HOTKEYS },
  };
}

function enter(managers) {
  managers.servicesManager.services.measurementService.clearMeasurements();
  pointToThisServer();
  createToolGroups(managers);
  createToolbar(managers);
  enterPanel(managers);
}

function leave({ servicesManager }) {
  const { services } = servicesManager;
  leavePanel();
  services.uiDialogService.dismissAll();
  services.uiModalService.hide();
  services.toolGroupService.destroy();
  services.syncGroupService.destroy();
  services.segmentationService.destroy();
  services.cornerstoneViewportService.destroy();
}

/**
 * Whether OHIF offers the mode for a study.
 *
 * @param {{modalities: string}} study separated by backslashes, as in DICOM
 * @returns {{valid: boolean, description: string}}
 */
export function isValidMode({ modalities }) {
  const kinds = modalities.split(/[\\/]/).filter(Boolean);
  const valid = kinds.some(kind => !NOT_IMAGES.includes(kind));
  return { valid, description: 'LesionLoop needs a study with images; this one has only documents or results.' };
}

/** MONAI Label's panel looks for its server at port 8000 unless it was told another: the one this page is from. */
function pointToThisServer() {
  if (document.cookie.includes(`${SERVER_COOKIE}=`)) return;
  document.cookie = `${SERVER_COOKIE}=${encodeURIComponent(`${window.location.origin}/`)}; SameSite=Strict`;
}

export default { id: ID, modeFactory, extensionDependencies: DEPENDENCIES };
