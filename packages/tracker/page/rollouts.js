/** What is being pulled: for each image a grid of its nodes and how far each is. Elements are kept and changed, so that focus and open parts stay. */
/** @import { DashboardState, Rollout, RolloutBlob, RolloutNode } from '../src/dashboard/answers.ts' */
import { byId, digestCode, element, fillTable, say, tableHead, tableRow } from './dom.js';
import { counted, duration, percent, size } from './format.js';

/** With more nodes than this a cell shows how far it is, and its name to the pointer and to readers of the screen. */
const DENSE_FROM = 80;
const collator = new Intl.Collator('en', { numeric: true });

/** @typedef {{ item: HTMLElement, name: HTMLElement, share: HTMLElement, about: HTMLElement, bar: HTMLElement }} Cell */
/** @typedef {{ article: HTMLElement, facts: HTMLElement, progress: HTMLProgressElement, nodes: HTMLElement, cells: Map<string, Cell>, note: HTMLElement, blobs: HTMLTableElement }} Card */

/** @type {Map<string, Card>} */
const cards = new Map();

/** @param {DashboardState} state */
export function showRollouts({ rollouts, rolloutsLeftOut, nowMs }) {
  const place = byId('rollouts');
  const names = new Set(rollouts.map(({ name }) => name));
  for (const [name, { article }] of cards) {
    if (names.has(name)) continue;
    article.remove();
    cards.delete(name);
  }
  for (const rollout of rollouts) {
    let card = cards.get(rollout.name);
    if (card === undefined) {
      card = newCard(rollout.name);
      cards.set(rollout.name, card);
      place.append(card.article);
    }
    fill(card, rollout, nowMs);
  }
  const left = rolloutsLeftOut > 0 ? `${counted(rolloutsLeftOut, 'more is', 'more are')} not shown.` : '';
  say(byId('rollouts-note'), rollouts.length === 0 ? 'Nothing is being pulled now.' : left);
}

/** @param {string} name @returns {Card} */
function newCard(name) {
  /** @type {Card} */
  const card = {
    article: element('article', { class: 'rollout', 'aria-label': name }),
    facts: element('p', { class: 'soft' }),
    progress: element('progress', { max: '100', 'aria-label': `Progress of ${name}` }),
    nodes: element('ul', { class: 'nodes', role: 'list', 'aria-label': `Nodes that pull ${name}` }),
    cells: new Map(),
    note: element('p', { class: 'soft' }),
    blobs: element('table', {}),
  };
  tableHead(card.blobs, `Blobs of ${name}`, [
    ['blob', false],
    ['size', true],
    ['held by', true],
    ['wanted by', true],
  ]);
  const wide = element('section', { class: 'wide', 'aria-label': `Blobs of ${name}` }, card.blobs);
  card.article.append(
    element('h3', {}, name),
    card.facts,
    card.progress,
    card.nodes,
    card.note,
    element('details', {}, element('summary', {}, 'Its blobs'), wide),
  );
  return card;
}

/** @param {Card} card @param {Rollout} rollout @param {number} nowMs */
function fill(card, rollout, nowMs) {
  const { nodes, nodesDone, nodesTotal, heldBytes, totalBytes, blobs, blobsLeftOut, ended, startedAtMs } = rollout;
  const share = percent(heldBytes, totalBytes);
  const count = counted(blobs.length + blobsLeftOut, 'blob');
  const state = ended ? 'ended' : `for ${duration(nowMs - startedAtMs)}`;
  say(
    card.facts,
    `${share} %, ${state}: ${size(heldBytes)} of ${size(totalBytes)} in ${count}; ${nodesDone.toLocaleString('en')} of ${counted(nodesTotal, 'node')} done`,
  );
  card.progress.value = share;
  const leftOut = nodesTotal - nodes.length;
  say(
    card.note,
    leftOut > 0
      ? `Shown are ${nodes.length} nodes, those that pull first; ${leftOut.toLocaleString('en')} more hold or want some of it.`
      : '',
  );
  card.nodes.classList.toggle('dense', nodes.length > DENSE_FROM);
  fillNodes(card, nodes);
  fillBlobs(card.blobs, blobs, blobsLeftOut);
}

/** @param {Card} card @param {RolloutNode[]} nodes */
function fillNodes({ nodes: list, cells }, nodes) {
  const sorted = nodes.toSorted((one, other) => collator.compare(one.name, other.name));
  const seen = new Set();
  for (const [place, node] of sorted.entries()) {
    // Nobody keeps two nodes from having one name.
    const key = seen.has(node.name) ? `${node.name} ${place}` : node.name;
    seen.add(key);
    let cell = cells.get(key);
    if (cell === undefined) {
      cell = newCell();
      cells.set(key, cell);
    }
    if (list.children[place] !== cell.item) list.insertBefore(cell.item, list.children[place] ?? null);
    fillCell(cell, node);
  }
  for (const [key, { item }] of cells) {
    if (seen.has(key)) continue;
    item.remove();
    cells.delete(key);
  }
}

/** @returns {Cell} */
function newCell() {
  const cell = {
    item: element('li', {}),
    name: element('span', { class: 'name' }),
    share: element('span', { class: 'share' }),
    about: element('span', { class: 'hidden' }),
    bar: element('span', { class: 'bar', 'aria-hidden': 'true' }),
  };
  // For the pointer alone: what is named twice is read twice.
  cell.item.addEventListener('pointerenter', () => {
    cell.item.title = `${cell.name.textContent}: ${cell.about.textContent}`;
  });
  cell.item.addEventListener('pointerleave', () => cell.item.removeAttribute('title'));
  cell.item.append(cell.name, ' ', cell.share, ' ', cell.about, cell.bar);
  return cell;
}

/** @param {Cell} cell @param {RolloutNode} node */
function fillCell({ item, name, share, about, bar }, node) {
  const { state, heldBytes, totalBytes, zone, fromOrigin, fromPeers } = node;
  const part = percent(heldBytes, totalBytes);
  const came =
    fromOrigin + fromPeers > 0 ? `; ${size(fromOrigin)} from the registry, ${size(fromPeers)} from other nodes` : '';
  const words = `zone ${zone}, ${state}, ${size(heldBytes)} of ${size(totalBytes)}${came}`;
  item.dataset.state = state;
  say(name, node.name);
  say(share, state === 'done' ? '✓' : `${part} %`);
  say(about, words);
  bar.style.width = `${part}%`;
}

/** @param {HTMLTableElement} table @param {RolloutBlob[]} blobs @param {number} leftOut */
function fillBlobs(table, blobs, leftOut) {
  const rows = blobs.map(({ blob, sizeBytes, holding, wanting }) =>
    tableRow(
      [digestCode(blob.slice(blob.lastIndexOf('/') + 1), blob), size(sizeBytes), String(holding), String(wanting)],
      ['', 'number', 'number', 'number'],
    ),
  );
  if (leftOut > 0) rows.push(tableRow([`and ${counted(leftOut, 'smaller one')}`, '', '', ''], []));
  fillTable(table, rows);
}
