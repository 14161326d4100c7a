// SPDX-License-Identifier: Apache-2.0
const layout = '@ohif/extension-default.layoutTemplateModule.viewerLayout';
const stack = '@ohif/extension-default.sopClassHandlerModule.stack';
const seg = '@ohif/extension-cornerstone-dicom-seg.sopClassHandlerModule.dicom-seg';
const sr = '@ohif/extension-cornerstone-dicom-sr.sopClassHandlerModule.dicom-sr';
const sr3d = '@ohif/extension-cornerstone-dicom-sr.sopClassHandlerModule.dicom-sr-3d';
const dependencies = {
  '@ohif/extension-default': '^3.0.0',
  '@ohif/extension-cornerstone': '^3.0.0',
  '@ohif/extension-measurement-tracking': '^3.0.0',
  '@ohif/extension-cornerstone-dicom-sr': '^3.0.0',
  '@ohif/extension-cornerstone-dicom-seg': '^3.0.0',
  '@ohif/extension-monai-label': '^3.0.0',
};
function toolsOf({ toolNames, Enums }) {
  const on = (toolName, mouseButton) => ({ toolName, bindings: [{ mouseButton }] });
  const B = Enums.MouseBindings;
  const brush = (toolName, activeStrategy) => ({ toolName, parentTool: 'Brush', configuration: { activeStrategy } });
  return {
    active: [on(toolNames.WindowLevel, B.Primary), on(toolNames.Pan, B.Auxiliary), on(toolNames.Zoom, B.Secondary),
      on(toolNames.StackScroll, B.Wheel)],
    passive: [
      brush('CircularBrush', 'FILL_INSIDE_CIRCLE'), brush('CircularEraser', 'ERASE_INSIDE_CIRCLE'),
      brush('SphereBrush', 'FILL_INSIDE_SPHERE'), brush('SphereEraser', 'ERASE_INSIDE_SPHERE'),
      { toolName: toolNames.RectangleROI }, { toolName: toolNames.Length }, { toolName: toolNames.Bidirectional },
      { toolName: toolNames.CircleScissors }, { toolName: toolNames.RectangleScissors },
      { toolName: toolNames.Magnify }, { toolName: toolNames.WindowLevelRegion }, { toolName: 'ProbeMONAILabel' },
    ],
    disabled: [{ toolName: toolNames.ReferenceLines }],
  };
}
function modeFactory() {
  return {
    id: 'lesionloop', routeName: 'lesionloop', displayName: 'LesionLoop',
    onModeEnter({ servicesManager, extensionManager }) {
      const { measurementService, toolbarService, toolGroupService } = servicesManager.services;
      measurementService.clearMeasurements();
      const { exports } = extensionManager.getModuleEntry('@ohif/extension-cornerstone.utilityModule.tools');
      toolGroupService.createToolGroupAndAddTools('default', toolsOf(exports));
    },
    onModeExit({ servicesManager }) {
      const s = servicesManager.services;
      s.uiDialogService.dismissAll(); s.uiModalService.hide(); s.toolGroupService.destroy(); s.syncGroupService.destroy();
      s.segmentationService.destroy(); s.cornerstoneViewportService.destroy();
    },
    validationTags: { study: [], series: [] },
    isValidMode: () => ({ valid: true }),
    routes: [{
      path: 'lesionloop',
      layoutTemplate: () => ({
        id: layout,
        props: {
          leftPanels: ['@ohif/extension-default.panelModule.seriesList'],
          rightPanels: ['lesionloop.panelModule.lesions', '@ohif/extension-cornerstone.panelModule.panelSegmentationWithTools', '@ohif/extension-monai-label.panelModule.monailabel'],
          viewports: [
            { namespace: '@ohif/extension-cornerstone.viewportModule.cornerstone', displaySetsToDisplay: [stack] },
            { namespace: '@ohif/extension-cornerstone-dicom-seg.viewportModule.dicom-seg', displaySetsToDisplay: [seg] },
            { namespace: '@ohif/extension-cornerstone-dicom-sr.viewportModule.dicom-sr', displaySetsToDisplay: [sr, sr3d] },
          ],
        },
      }),
    }],
    extensions: dependencies,
    hangingProtocol: 'default',
    sopClassHandlers: [stack, seg, sr, sr3d],
    hotkeys: [],
  };
}
export default { id: 'lesionloop', modeFactory, extensionDependencies: dependencies };
