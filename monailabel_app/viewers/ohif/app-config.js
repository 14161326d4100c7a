// SPDX-License-Identifier: Apache-2.0
// OHIF's settings. Served in place of the bundled file: it adds LesionLoop's extension and mode, which come first on
// the study list.
window.config = {
  routerBasename: '/ohif/',
  showStudyList: true,
  extensions: ['/ohif/lesionloop/extension.js'],
  modes: ['/ohif/lesionloop/mode.js'],
  showWarningMessageForCrossOrigin: true,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: 'never' },
  useSharedArrayBuffer: 'FALSE',
  // OHIF calls it for every image that does not load, also for those it gave up itself as another study was opened.
  httpErrorHandler: error => console.warn('An image was not loaded.', error?.request?.status || error),
  defaultDataSourceName: 'dicomweb',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'dicomweb',
      configuration: {
        friendlyName: 'LesionLoop',
        name: 'LesionLoop',
        wadoUriRoot: '/dicom-web',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        qidoSupportsIncludeField: true,
        supportsReject: false,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: false,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        dicomUploadEnabled: true,
        bulkDataURI: { enabled: true },
      },
    },
  ],
};
