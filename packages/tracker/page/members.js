/** The members, a page of them at a time, sorted by the tracker. */
/** @import { MemberRow } from '../src/dashboard/answers.ts' */
import { askMembers } from './api.js';
import { byId, element, fillTable, say, tableRow } from './dom.js';
import { counted, duration, size } from './format.js';

const SEARCH_AFTER_MS = 300;
const NONE = '–';
/** @type {readonly { order: string, title: string, isNumber: boolean, of: (row: MemberRow) => string | Node }[]} */
const COLUMNS = [
  { order: 'name', title: 'Node', isNumber: false, of: nameOf },
  { order: 'zone', title: 'Zone', isNumber: false, of: ({ zone }) => zone },
  { order: 'version', title: 'Version', isNumber: false, of: ({ version = NONE }) => version },
  { order: 'links', title: 'Links', isNumber: true, of: ({ links = NONE }) => String(links) },
  { order: 'heard', title: 'Heard', isNumber: true, of: ({ heardMsAgo }) => `${duration(heardMsAgo)} ago` },
  {
    order: 'cache',
    title: 'Cache',
    isNumber: true,
    of: ({ cacheBytes, quotaBytes }) =>
      cacheBytes === undefined ? NONE : `${size(cacheBytes)} of ${size(quotaBytes)}`,
  },
  { order: 'peers', title: 'Sent to nodes', isNumber: true, of: ({ toPeers }) => size(toPeers) },
  { order: 'clients', title: 'Delivered', isNumber: true, of: ({ toClients }) => size(toClients) },
];

const asked = { order: 'name', descending: false, page: 1, find: '' };
/** Answers may overtake each other; the last question counts. */
let turn = 0;

/** Once. @param {(failure: unknown) => void} onFailure */
export function setUpMembers(onFailure) {
  const refresh = () => void showMembers().catch(onFailure);
  /** @type {HTMLTableElement} */
  const table = byId('members');
  const heads = COLUMNS.map(({ order, title, isNumber }) => {
    const button = element('button', { type: 'button' }, title, element('span', { 'aria-hidden': 'true' }));
    button.addEventListener('click', () => {
      asked.descending = asked.order === order && !asked.descending;
      asked.order = order;
      asked.page = 1;
      markOrder(table);
      refresh();
    });
    return element('th', { scope: 'col', 'data-order': order, ...(isNumber ? { class: 'number' } : {}) }, button);
  });
  table.append(
    element('caption', { class: 'hidden' }, 'Members; the buttons of the head sort it'),
    element('thead', {}, element('tr', {}, ...heads)),
    element('tbody', {}),
  );
  markOrder(table);
  setUpSearch(refresh);
  for (const [id, step] of /** @type {const} */ ([
    ['members-back', -1],
    ['members-on', 1],
  ])) {
    byId(id).addEventListener('click', () => {
      asked.page = Math.max(1, asked.page + step);
      refresh();
    });
  }
}

/** @param {() => void} refresh */
function setUpSearch(refresh) {
  /** @type {HTMLInputElement} */
  const input = byId('members-find');
  /** @type {number | undefined} */
  let waiting;
  const search = () => {
    clearTimeout(waiting);
    asked.find = input.value.trim();
    asked.page = 1;
    refresh();
  };
  input.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = window.setTimeout(search, SEARCH_AFTER_MS);
  });
  byId('members-search').addEventListener('submit', (event) => {
    event.preventDefault();
    search();
  });
}

export async function showMembers() {
  const own = ++turn;
  const { order, descending, find } = asked;
  const query = { order, descending: String(descending), page: String(asked.page), find };
  const { total, page, pages, members } = await askMembers(query);
  if (own !== turn) return;
  asked.page = page;
  const classes = COLUMNS.map(({ isNumber }) => (isNumber ? 'number' : ''));
  const rows = members.map((row) =>
    tableRow(
      COLUMNS.map(({ of }) => of(row)),
      classes,
    ),
  );
  /** @type {HTMLTableElement} */
  const table = byId('members');
  fillTable(table, rows);
  say(byId('members-note'), find === '' ? '' : `${counted(total, 'member fits', 'members fit')} “${find}”.`);
  byId('members-pages').hidden = pages === 1;
  say(byId('members-page'), `Page ${page} of ${pages}, ${counted(total, 'member')}`);
  /** @type {HTMLButtonElement} */ (byId('members-back')).disabled = page === 1;
  /** @type {HTMLButtonElement} */ (byId('members-on')).disabled = page === pages;
}

/** @param {HTMLTableElement} table */
function markOrder(table) {
  for (const head of table.querySelectorAll('th')) {
    const isOrder = head.dataset.order === asked.order;
    if (isOrder) head.setAttribute('aria-sort', asked.descending ? 'descending' : 'ascending');
    else head.removeAttribute('aria-sort');
    const arrow = head.querySelector('span');
    if (arrow !== null) say(arrow, isOrder ? (asked.descending ? ' ▼' : ' ▲') : ' ↕');
  }
}

/** @param {MemberRow} row */
function nameOf({ name, peerId, suspended, pulls = 0 }) {
  const told = [suspended ? '⚠ suspended' : '', pulls > 0 ? `pulls ${counted(pulls, 'blob')}` : ''].filter(
    (text) => text !== '',
  );
  const state = told.length === 0 ? '' : element('span', { class: suspended ? 'bad' : 'soft' }, ` ${told.join(', ')}`);
  return element('span', { title: peerId }, name, state);
}
