/** What was read from the registry against what was delivered, over the last minutes. */
/** @import { DashboardState, TrafficSample } from '../src/dashboard/answers.ts' */
import { byId, drawing, element, fillTable, tableHead, tableRow } from './dom.js';
import { size } from './format.js';

const HEIGHT = 190;
const TOP = 12;
const BOTTOM = 26;
const LEFT = 74;
const RIGHT = 6;
const MINUTE_MS = 60_000;
/** What is shown of the time before anything moved. */
const LEAST_MS = 2 * MINUTE_MS;
/** @type {readonly { key: 'toClients' | 'fromPeers' | 'fromOrigin', name: string, line: string }[]} */
const SERIES = [
  { key: 'toClients', name: 'delivered to container runtimes', line: 'delivered' },
  { key: 'fromPeers', name: 'from other nodes', line: 'peers' },
  { key: 'fromOrigin', name: 'from the registry', line: 'registry' },
];

/** @param {DashboardState['traffic']} traffic */
export function showTraffic({ everyMs, samples }) {
  const figure = byId('traffic');
  if (figure.childElementCount === 0) figure.append(legend(), element('div', {}));
  const shown = lately(samples);
  figure.lastElementChild?.replaceChildren(chart(shown, everyMs, Math.max(280, figure.clientWidth)));
  showMinutes(samples);
}

function legend() {
  const entries = SERIES.map(({ name, line }) => {
    const sample = drawing('svg', { width: 28, height: 8, 'aria-hidden': 'true' });
    sample.append(drawing('path', { d: 'M0 4H28', class: line }));
    return element('li', {}, sample, name);
  });
  return element('ul', { class: 'legend', role: 'list' }, ...entries);
}

/** Without the quiet before the first byte, but for the last of it. @param {TrafficSample[]} samples */
function lately(samples) {
  const last = samples.at(-1)?.atMs ?? 0;
  const first = samples.find((sample) => SERIES.some(({ key }) => sample[key] > 0))?.atMs ?? last;
  const from = Math.min(first - MINUTE_MS / 2, last - LEAST_MS);
  return samples.filter(({ atMs }) => atMs >= from);
}

/** @param {TrafficSample[]} samples @param {number} everyMs @param {number} width */
function chart(samples, everyMs, width) {
  const most = Math.max(1, ...samples.flatMap((sample) => SERIES.map(({ key }) => sample[key])));
  const top = roundUp((most * 1000) / everyMs);
  // The last one is not over yet: it would look like a fall.
  const whole = samples.slice(0, -1);
  const first = whole[0]?.atMs ?? 0;
  const span = Math.max(LEAST_MS, (whole.at(-1)?.atMs ?? 0) - first);
  const end = first + span;
  /** @param {number} atMs */
  const x = (atMs) => LEFT + ((atMs - first) / span) * (width - LEFT - RIGHT);
  /** @param {number} rate */
  const y = (rate) => HEIGHT - BOTTOM - (rate / top) * (HEIGHT - TOP - BOTTOM);
  const svg = drawing('svg', {
    width,
    height: HEIGHT,
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: 'img',
    'aria-label': inWords(samples, everyMs),
  });
  for (const share of [0, 0.5, 1]) {
    const at = y(top * share);
    svg.append(
      drawing('line', { x1: LEFT, x2: width - RIGHT, y1: at, y2: at, class: 'grid' }),
      drawing('text', { x: LEFT - 8, y: at + 4, 'text-anchor': 'end' }, `${size(top * share)}/s`),
    );
  }
  svg.append(
    drawing('text', { x: LEFT, y: HEIGHT - 6 }, `${Math.round(span / MINUTE_MS)} min ago`),
    drawing('text', { x: width - RIGHT, y: HEIGHT - 6, 'text-anchor': 'end' }, 'now'),
  );
  for (const { key, line } of SERIES) {
    const points = whole.map(
      (sample) =>
        `${x(sample.atMs + end - (whole.at(-1)?.atMs ?? end)).toFixed(1)} ${y((sample[key] * 1000) / everyMs).toFixed(1)}`,
    );
    if (points.length === 0) continue;
    const path = `M${points.join('L')}`;
    if (line === 'delivered') {
      const from = points[0]?.split(' ')[0];
      svg.append(drawing('path', { d: `${path}V${y(0)}H${from}Z`, class: 'under' }));
    }
    svg.append(drawing('path', { d: path, class: line }));
  }
  return svg;
}

/** @param {TrafficSample[]} samples @param {number} everyMs */
function inWords(samples, everyMs) {
  const minutes = Math.max(1, Math.round((samples.length * everyMs) / MINUTE_MS));
  const sums = SERIES.map(({ key, name }) => `${size(samples.reduce((sum, sample) => sum + sample[key], 0))} ${name}`);
  return `Bytes per second over the last ${minutes} minutes. In all: ${sums.join(', ')}.`;
}

/** The next of 1, 2, 5 times a power of two that sizes are counted in. @param {number} rate */
function roundUp(rate) {
  let unit = 1;
  while (unit * 1024 <= rate) unit *= 1024;
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1024].find((factor) => factor * unit >= rate) ?? 1024;
  return Math.max(1024, step * unit);
}

/** @param {TrafficSample[]} samples */
function showMinutes(samples) {
  /** @type {HTMLTableElement} */
  const table = byId('minutes');
  if (table.tBodies.length === 0) {
    const columns = SERIES.map(({ name }) => /** @type {[string, boolean]} */ ([name, true]));
    tableHead(table, 'Bytes by the minute, the last one first', [['from', false], ...columns]);
  }
  /** @type {Map<number, Record<'toClients' | 'fromPeers' | 'fromOrigin', number>>} */
  const minutes = new Map();
  for (const sample of samples) {
    const at = Math.floor(sample.atMs / MINUTE_MS) * MINUTE_MS;
    const sums = minutes.get(at) ?? { toClients: 0, fromPeers: 0, fromOrigin: 0 };
    for (const { key } of SERIES) sums[key] += sample[key];
    minutes.set(at, sums);
  }
  const rows = [...minutes]
    .reverse()
    .map(([at, sums]) =>
      tableRow([clockTime(at), ...SERIES.map(({ key }) => size(sums[key]))], ['', 'number', 'number', 'number']),
    );
  fillTable(table, rows);
}

/** @param {number} atMs */
function clockTime(atMs) {
  return new Date(atMs).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
}
