/** Parts of the page. What comes from members goes through here as text; nothing is ever read as HTML. */

import { shortDigest } from './format.js';

/** The element of index.html with this id. @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no element ${id}`);
  return /** @type {T} */ (found);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Readonly<Record<string, string>>} attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** @param {string} tag @param {Readonly<Record<string, string | number>>} attributes @param {...(Node | string)} children */
export function drawing(tag, attributes, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** Only when it changes, so that a reader of the screen is told nothing twice. @param {Node} node @param {string} text */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A table's head. @param {HTMLTableElement} table @param {string} caption @param {readonly [title: string, isNumber: boolean][]} columns */
export function tableHead(table, caption, columns) {
  const cells = columns.map(([title, isNumber]) =>
    element('th', { scope: 'col', ...(isNumber ? { class: 'number' } : {}) }, title),
  );
  table.replaceChildren(
    element('caption', { class: 'hidden' }, caption),
    element('thead', {}, element('tr', {}, ...cells)),
    element('tbody', {}),
  );
}

/** A row whose first cell names it. @param {readonly (string | Node)[]} cells @param {readonly string[]} classes of each, empty for none */
export function tableRow(cells, classes) {
  return element(
    'tr',
    {},
    ...cells.map((cell, index) => {
      const name = classes[index] ?? '';
      const attributes = name === '' ? {} : { class: name };
      return index === 0 ? element('th', { scope: 'row', ...attributes }, cell) : element('td', attributes, cell);
    }),
  );
}

/** @param {HTMLTableElement} table @param {readonly HTMLElement[]} rows */
export function fillTable(table, rows) {
  table.tBodies[0]?.replaceChildren(...rows);
}

/** A digest, short; its whole name is told, too. @param {string} digest @param {string} whole */
export function digestCode(digest, whole) {
  return element('code', { title: whole }, shortDigest(digest));
}

/** What is wider than its place can be scrolled by keyboard, too. */
export function letWideScroll() {
  for (const wide of document.querySelectorAll('.wide')) {
    if (wide.scrollWidth > wide.clientWidth) wide.setAttribute('tabindex', '0');
    else wide.removeAttribute('tabindex');
  }
}
