// SPDX-License-Identifier: Apache-2.0
/** Tools: what the mouse can do in each kind of viewport. The groups' names are those that OHIF's layouts ask for. */
import { BOX_TOOL } from './boxes.js';

const BRUSHES = {
  CircularBrush: 'FILL_INSIDE_CIRCLE',
  CircularEraser: 'ERASE_INSIDE_CIRCLE',
  SphereBrush: 'FILL_INSIDE_SPHERE',
  SphereEraser: 'ERASE_INSIDE_SPHERE',
  ThresholdCircularBrush: 'THRESHOLD_INSIDE_CIRCLE',
  ThresholdSphereBrush: 'THRESHOLD_INSIDE_SPHERE',
  ThresholdCircularBrushDynamic: 'THRESHOLD_INSIDE_CIRCLE',
};
const DYNAMIC = { strategySpecificConfiguration: { THRESHOLD: { isDynamic: true, dynamicRadius: 3 } } };
const MEASURING = ['Length', 'Bidirectional', 'EllipticalROI', 'CircleROI', 'Angle', 'CobbAngle', 'Probe', 'DragProbe'];
const SHAPES = ['CircleScissors', 'RectangleScissors', 'SphereScissors'];
const SR_TOOLS = ['SRLength', 'SRArrowAnnotate', 'SRBidirectional', 'SREllipticalROI', 'SRCircleROI',
  'SRPlanarFreehandROI', 'SRRectangleROI'];
const PLANE_COLOURS = { axial: 'rgb(200, 0, 0)', sagittal: 'rgb(200, 200, 0)', coronal: 'rgb(0, 200, 0)' };

/**
 * Make the tool groups of the mode.
 *
 * @param {{servicesManager: Object, extensionManager: Object}} managers OHIF's
 */
export function createToolGroups({ servicesManager, extensionManager }) {
  const { toolGroupService, cornerstoneViewportService } = servicesManager.services;
  const { toolNames, Enums } = moduleOf(extensionManager, '@ohif/extension-cornerstone.utilityModule.tools');
  const sr = moduleOf(extensionManager, '@ohif/extension-cornerstone-dicom-sr.utilityModule.tools').toolNames;
  const named = names => names.filter(name => toolNames[name]).map(name => ({ toolName: toolNames[name] }));
  const mouse = mouseTools(toolNames, Enums.MouseBindings);
  const passive = [...brushes(), boxTool(), ...named([...MEASURING, ...SHAPES, 'Magnify', 'WindowLevelRegion',
    'UltrasoundDirectional', 'CalibrationLine', 'ArrowAnnotate']), { toolName: 'ProbeMONAILabel' }];
  const hidden = named(['ReferenceLines', 'AdvancedMagnify', 'ImageOverlayViewer']);
  const crosshairs = { toolName: toolNames.Crosshairs, configuration: crosshairsOf(cornerstoneViewportService) };

  toolGroupService.createToolGroupAndAddTools('default', { active: mouse, passive, disabled: hidden });
  toolGroupService.createToolGroupAndAddTools('mpr', { active: mouse, passive, disabled: [...hidden, crosshairs] });
  toolGroupService.createToolGroupAndAddTools('SRToolGroup', {
    active: mouse,
    passive: SR_TOOLS.filter(name => sr[name]).map(name => ({ toolName: sr[name] })),
    enabled: [{ toolName: sr.DICOMSRDisplay }],
  });
  const turning = { toolName: toolNames.TrackballRotateTool, bindings: mouse[0].bindings };
  toolGroupService.createToolGroupAndAddTools('volume3d', { active: [turning, mouse[1], mouse[2]] });
}

const moduleOf = (extensionManager, id) => extensionManager.getModuleEntry(id).exports;

function mouseTools(toolNames, { Primary, Auxiliary, Secondary, Wheel }) {
  const on = (toolName, mouseButton) => ({ toolName, bindings: [{ mouseButton }] });
  return [on(toolNames.WindowLevel, Primary), on(toolNames.Pan, Auxiliary), on(toolNames.Zoom, Secondary),
    on(toolNames.StackScroll, Wheel)];
}

function brushes() {
  return Object.entries(BRUSHES).map(([toolName, activeStrategy]) => ({
    toolName,
    parentTool: 'Brush',
    configuration: { activeStrategy, ...(toolName.endsWith('Dynamic') ? DYNAMIC : {}) },
  }));
}

/** The rectangle marks a lesion: beside it stands the lesion's name, not the statistics of the pixels inside. */
function boxTool() {
  return { toolName: BOX_TOOL, configuration: { getTextLines: ({ label }) => (label ? [label] : []) } };
}

function crosshairsOf(viewports) {
  const orientationOf = id => viewports.getViewportInfo(id)?.viewportOptions?.orientation;
  return {
    viewportIndicators: true,
    viewportIndicatorsConfig: { circleRadius: 5, xOffset: 0.95, yOffset: 0.05 },
    disableOnPassive: true,
    autoPan: { enabled: false, panSize: 10 },
    getReferenceLineColor: id => PLANE_COLOURS[orientationOf(id)] ?? 'rgb(0, 200, 0)',
  };
}
