// SPDX-License-Identifier: Apache-2.0
/** Buttons: the header's tools, and the toolbox beside OHIF's list of segmentations. */

const GROUPS = { toolGroupIds: ['default', 'mpr', 'SRToolGroup', 'volume3d'] };
const USE_TOOL = { commandName: 'setToolActiveToolbar', commandOptions: GROUPS };
const TOOL = 'evaluate.cornerstoneTool';
const ACTION = 'evaluate.action';
const FLAT = { name: 'evaluate.viewport.supported', unsupportedViewportTypes: ['volume3d'] };
const REFERENCE = [{ commandName: 'setSourceViewportForReferenceLinesTool', context: 'CORNERSTONE' }];

const item = (id, icon, label, more = {}) => (
  { id, icon, label, tooltip: label, commands: USE_TOOL, evaluate: TOOL, ...more });
const button = (id, icon, label, more = {}) => ({
  id,
  uiType: 'ohif.radioGroup',
  props: { icon, label, tooltip: label, commands: USE_TOOL, evaluate: TOOL, ...more },
});
const menu = (id, title, items) => ({
  id,
  uiType: 'ohif.splitButton',
  props: {
    groupId: id,
    evaluate: 'evaluate.group.promoteToPrimaryIfCornerstoneToolNotActiveInTheList',
    primary: items[0],
    secondary: { icon: 'chevron-down', label: '', tooltip: title },
    items,
  },
});

const measuring = [
  item('Length', 'tool-length', 'Length'),
  item('Bidirectional', 'tool-bidirectional', 'Long and short axis'),
  item('EllipticalROI', 'tool-ellipse', 'Ellipse (area, mean)'),
  item('CircleROI', 'tool-circle', 'Circle (area, mean)'),
  item('Angle', 'tool-angle', 'Angle'),
  item('Probe', 'tool-probe', 'Value of a pixel'),
];

/** @param {Object} events names of the events that move the reference lines */
const more = ({ ACTIVE_VIEWPORT_ID_CHANGED, VIEWPORTS_READY }) => [
  item('Reset', 'tool-reset', 'Reset view', { commands: 'resetViewport', evaluate: ACTION }),
  item('rotate-right', 'tool-rotate-right', 'Rotate right', { commands: 'rotateViewportCW', evaluate: ACTION }),
  item('flipHorizontal', 'tool-flip-horizontal', 'Flip horizontally',
    { commands: 'flipViewportHorizontal', evaluate: ['evaluate.viewportProperties.toggle', FLAT] }),
  item('invert', 'tool-invert', 'Invert',
    { commands: 'invertViewport', evaluate: 'evaluate.viewportProperties.toggle' }),
  item('ReferenceLines', 'tool-referenceLines', 'Reference lines', {
    commands: 'toggleEnabledDisabledToolbar',
    evaluate: 'evaluate.cornerstoneTool.toggle',
    listeners: { [ACTIVE_VIEWPORT_ID_CHANGED]: REFERENCE, [VIEWPORTS_READY]: REFERENCE },
  }),
  item('StackScroll', 'tool-stack-scroll', 'Scroll through frames'),
  item('Magnify', 'tool-magnify', 'Magnifying glass'),
  item('WindowLevelRegion', 'icon-tool-window-region', 'Window/level of a region'),
  item('TagBrowser', 'dicom-tag-browser', 'DICOM tags', { commands: 'openDICOMTagViewer', evaluate: undefined }),
];

/** Buttons of the header, from left to right. */
const HEADER = ['WindowLevel', 'Pan', 'Zoom', 'RectangleROI', 'MeasurementTools', 'Cine', 'Capture', 'Layout',
  'Crosshairs', 'MoreTools'];

const header = events => [
  button('WindowLevel', 'tool-window-level', 'Window/level'),
  button('Pan', 'tool-move', 'Pan'),
  button('Zoom', 'tool-zoom', 'Zoom'),
  button('RectangleROI', 'tool-rectangle', 'Lesion box'),
  menu('MeasurementTools', 'More measurements', measuring),
  button('Cine', 'tool-cine', 'Cine', { commands: 'toggleCine', evaluate: ['evaluate.cine', FLAT] }),
  button('Capture', 'tool-capture', 'Save as picture', { commands: 'showDownloadViewportModal', evaluate: ACTION }),
  { id: 'Layout', uiType: 'ohif.layoutSelector',
    props: { rows: 3, columns: 4, evaluate: ACTION, commands: 'setViewportGridLayout' } },
  button('Crosshairs', 'tool-crosshair', 'Crosshairs', {
    commands: { commandName: 'setToolActiveToolbar', commandOptions: { toolGroupIds: ['mpr'] } },
    evaluate: { name: TOOL, disabledText: 'Choose an MPR layout to use crosshairs' },
  }),
  menu('MoreTools', 'More tools', more(events)),
];

const radius = (id, toolNames) => ({
  name: 'Radius (mm)', id, type: 'range', min: 0.5, max: 99.5, step: 0.5, value: 5,
  commands: { commandName: 'setBrushSize', commandOptions: { toolNames } },
});
const shape = (id, choices, more = {}) => ({
  name: 'Shape', id, type: 'radio', value: choices[0][0], commands: 'setToolActiveToolbar', ...more,
  values: choices.map(([value, label]) => ({ value, label })),
});
const needs = (toolNames, more = {}) => ({ name: 'evaluate.cornerstone.segmentation', toolNames, ...more });
const optionOf = (options, id) => options.find(option => option.id === id).value;
const isRange = ({ options }) => optionOf(options, 'dynamic-mode') === 'ThresholdRange';

function brush(id, icon, label, [circle, sphere], more = {}) {
  const options = [radius(`${id}-radius`, [circle, sphere]),
    shape(`${id}-shape`, [[circle, 'Circle'], [sphere, 'Sphere']])];
  return { id, icon, label, evaluate: needs([circle, sphere], more), options };
}

function thresholdBrush() {
  const [circle, sphere] = ['ThresholdCircularBrush', 'ThresholdSphereBrush'];
  const dynamic = `${circle}Dynamic`;
  const choose = ({ value, commandsManager, options }) => commandsManager.run('setToolActiveToolbar', {
    toolName: value === 'ThresholdDynamic' ? dynamic : optionOf(options, 'threshold-shape'),
  });
  const modes = [['ThresholdRange', 'Range'], ['ThresholdDynamic', 'Dynamic']];
  return { id: 'Threshold', icon: 'icon-tool-threshold', label: 'Threshold brush', evaluate: needs([circle, sphere]),
    options: [
      radius('threshold-radius', [circle, sphere, dynamic]),
      shape('dynamic-mode', modes, { name: 'Threshold', commands: choose }),
      shape('threshold-shape', [[circle, 'Circle'], [sphere, 'Sphere']], { condition: isRange }),
      { name: 'Range', id: 'threshold-range', type: 'double-range', min: -1000, max: 1000, step: 1, value: [100, 600],
        condition: isRange,
        commands: { commandName: 'setThresholdRange', commandOptions: { toolNames: [circle, sphere] } } },
    ] };
}

function segmentationTools() {
  const scissors = [['CircleScissor', 'Circle'], ['SphereScissor', 'Sphere'], ['RectangleScissor', 'Rectangle']];
  const disabledText = 'Find lesions or add a segmentation to use this tool';
  return [
    { id: 'BrushTools', uiType: 'ohif.buttonGroup', props: { groupId: 'BrushTools', items: [
      brush('Brush', 'icon-tool-brush', 'Brush', ['CircularBrush', 'SphereBrush'], { disabledText }),
      brush('Eraser', 'icon-tool-eraser', 'Eraser', ['CircularEraser', 'SphereEraser']),
      thresholdBrush(),
    ] } },
    { id: 'Shapes', uiType: 'ohif.radioGroup', props: { label: 'Shapes', icon: 'icon-tool-shape',
      evaluate: needs(scissors.map(([name]) => name)), options: [shape('shape-mode', scissors)] } },
  ];
}

/**
 * Fill OHIF's toolbars.
 *
 * @param {{servicesManager: Object}} managers OHIF's
 */
export function createToolbar({ servicesManager }) {
  const { toolbarService, viewportGridService } = servicesManager.services;
  toolbarService.addButtons([...header(viewportGridService.EVENTS), ...segmentationTools()]);
  toolbarService.createButtonSection('primary', HEADER);
  toolbarService.createButtonSection('segmentationToolbox', ['BrushTools', 'Shapes']);
}
