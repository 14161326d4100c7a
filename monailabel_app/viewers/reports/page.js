// SPDX-License-Identifier: Apache-2.0
/** The page of reports: the images of the store, a plain view of one, and beside it the panel that OHIF has, too. */
import '/ohif/lesionloop/elements/busy-bar.js';
import '/ohif/lesionloop/elements/image-header.js';
import '/ohif/lesionloop/elements/report-room.js';
import './frame-view.js';
import './image-list.js';
import { addStyles } from '/ohif/lesionloop/elements/styles.js';
import { choose } from '/ohif/lesionloop/elements/choices.js';
import { h } from '/ohif/lesionloop/elements/dom.js';
import { Server } from '/ohif/lesionloop/state/server.js';
import { Workspace } from '/ohif/lesionloop/state/workspace.js';
import { FrameViewer } from './frame-viewer.js';
import { imagesOf } from './image-list.js';

const server = new Server();
const viewer = new FrameViewer(server);
const workspace = new Workspace({ server, viewer, ask: choose });
let images = [];
let version = null;

const part = name => h(`lesionloop-${name}`, { workspace });
const list = document.createElement('rp-list');
const view = Object.assign(document.createElement('rp-view'), { viewer });
const panel = h('section', { class: 'll-root', 'aria-label': 'Report' }, h('div', { class: 'll-top' }, part('image'),
  part('busy'), part('notice')), h('div', { class: 'll-tab-panel ll-tab-panel-report' }, part('report')));

async function refresh() {
  const listing = await workspace.quietly(() => server.request('/datastore/?output=all'));
  if (!listing) workspace.say('error', 'The server did not say which images it has. Reload the page to try again.');
  images = listing ? imagesOf(listing) : images;
  list.show(images);
}

async function open(image) {
  list.mark(image.id);
  window.history.replaceState(null, '', `?${new URLSearchParams({ image: image.id })}`);
  try {
    await viewer.open(image);
  } catch (error) {
    workspace.failed(error);
  }
}

/** A new version changes what the list says. */
function follow({ detail }) {
  const { session } = workspace.reports;
  const now = session && `${session.imageId} ${session.version}`;
  if (detail.what !== 'report' || now === version) return;
  const isOther = version?.split(' ')[0] !== session?.imageId;
  version = now;
  if (!isOther) refresh();
}

async function start() {
  addStyles();
  document.body.replaceChildren(h('main', { class: 'rp-page' }, list, view, panel));
  window.lesionloop = { viewer, workspace };
  window.addEventListener('beforeunload', event => { if (workspace.dirty) event.preventDefault(); });
  list.addEventListener('choose', ({ detail }) => open(detail.image));
  workspace.addEventListener('change', follow);
  await Promise.all([workspace.start(), refresh()]);
  const wanted = new URLSearchParams(window.location.search).get('image');
  const first = images.find(({ id }) => id === wanted);
  if (first) await open(first);
}

start();
