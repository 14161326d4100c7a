// SPDX-License-Identifier: Apache-2.0
const element = (type, props) => ({
  $$typeof: Symbol.for('react.element'), type, key: null, ref: props.ref ?? null, props, _owner: null, _store: {},
});
export default {
  id: 'lesionloop',
  getPanelModule({ servicesManager, extensionManager, commandsManager }) {
    window.__ll = { servicesManager, extensionManager, commandsManager };
    const mount = host => { if (host && !host.firstChild) host.append('LesionLoop panel'); };
    return [{ name: 'lesions', iconName: 'tab-linear', iconLabel: 'Lesions', label: 'LesionLoop',
      component: () => element('div', { ref: mount, style: { height: '100%' } }) }];
  },
};
