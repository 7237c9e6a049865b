/** The pictures of a rollout: how long the last node waits, how the nodes get done, where bytes come from, the registry's link. */
import type { ContenderReading } from '../rollout/reading.ts';
import type { RolloutReading } from '../rollout/rollout.ts';
import { colour, line, path, picture, rect, text, textWidth, ticks, WIDTH } from './svg.ts';

const MEGA = 1e6;
const BITS = 8;
const ROW = 34;
const BAR = 20;
const TOP = 56;
const PLOT_HEIGHT = 240;
const LEFT = 56;
const RIGHT = 16;

export interface Chart {
  /** Of its file, without ending. */
  readonly name: string;
  readonly svg: string;
}

export function rolloutCharts(reading: RolloutReading): Chart[] {
  return [
    { name: 'last-node', svg: lastNode(reading) },
    { name: 'nodes-done', svg: nodesDone(reading) },
    { name: 'bytes-by-source', svg: bytesBySource(reading) },
    { name: 'origin-rate', svg: originRate(reading) },
  ];
}

interface Bar {
  readonly name: string;
  readonly parts: readonly { readonly value: number; readonly fill: string; readonly about: string }[];
  readonly label: string;
}

/** Lying bars on one scale. @param mark a value that is drawn across all of them */
function bars(
  rows: readonly Bar[],
  legend: string,
  mark?: { value: number; label: string },
): { body: string[]; height: number } {
  const left = Math.max(...rows.map(({ name }) => textWidth(name))) + 12;
  const labels = Math.max(...rows.map(({ label }) => textWidth(label))) + 16;
  const totals = rows.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0));
  const max = Math.max(...totals, mark?.value ?? 0, Number.MIN_VALUE);
  const scale = (WIDTH - left - labels) / max;
  const body = [text(0, 40, legend, 'class="soft"')];
  rows.forEach(({ name, parts, label }, row) => {
    const y = TOP + row * ROW;
    body.push(text(left - 10, y + 15, name, 'text-anchor="end"'));
    let x = left;
    for (const { value, fill, about } of parts) {
      body.push(rect(x, y, value * scale, BAR, fill, about));
      x += value * scale;
    }
    body.push(text(x + 8, y + 15, label));
  });
  const bottom = TOP + rows.length * ROW;
  if (mark !== undefined) {
    const x = left + mark.value * scale;
    body.push(
      line(x, TOP - 8, x, bottom - 8, 'bound'),
      text(x, bottom + 8, mark.label, 'class="soft" text-anchor="middle"'),
    );
  }
  return { body, height: bottom + 18 };
}

function lastNode({ results, scenario }: RolloutReading): string {
  const direct = results.find(({ name }) => name === 'direct')?.makespanSeconds;
  const bound = results[0]?.boundSeconds ?? 0;
  const rows = results.map(({ name, makespanSeconds, makespanRatio }, index) => {
    const value = Number.isFinite(makespanSeconds) ? makespanSeconds : 0;
    const faster = direct === undefined || name === 'direct' ? '' : comparedWith(direct, makespanSeconds);
    const about = `${name}: ${seconds(makespanSeconds)}`;
    const label = `${seconds(makespanSeconds)} = ${makespanRatio.toFixed(2)} × the bound${faster}`;
    return { name, parts: [{ value, fill: colour(index), about }], label };
  });
  const legend =
    'from the order to pull until the last node could start a container; the line is the least that physics allows';
  const { body, height } = bars(rows, legend, { value: bound, label: `bound ${seconds(bound)}` });
  return picture(
    height,
    `How long the last of ${scenario.nodes} nodes waits`,
    rows.map(({ name, label }) => `${name} ${label}`).join('; '),
    body,
  );
}

function bytesBySource({ results, newBytes, scenario }: RolloutReading): string {
  const rows = results.map(({ name, counters, originBytesRatio, nodes }) => {
    const fromOrigin = counters.after[0]!.sent - counters.before[0]!.sent;
    const fromPeers = nodes.reduce((sum, { fromPeersBytes = 0 }) => sum + fromPeersBytes, 0);
    return {
      name,
      parts: [
        { value: fromOrigin, fill: colour(0), about: `${name}: ${mb(fromOrigin)} from the registry` },
        { value: fromPeers, fill: colour(2), about: `${name}: ${mb(fromPeers)} from other nodes` },
      ],
      label: `registry ${originBytesRatio.toFixed(2)} × the image`,
    };
  });
  const legend = `orange: sent by the registry, by its interface; green: from other nodes, as the agents count. ${mb(newBytes)} for each of ${scenario.nodes} nodes`;
  const { body, height } = bars(rows, legend);
  return picture(
    height,
    'Where the bytes come from',
    rows.map(({ name, label }) => `${name}: ${label}`).join('; '),
    body,
  );
}

/** How many nodes are done, over time. */
function nodesDone({ results, scenario }: RolloutReading): string {
  const bound = results[0]?.boundSeconds ?? 0;
  const series = results.map(({ name, nodes }, index) => {
    const times = nodes.flatMap(({ unpackedSeconds }) => unpackedSeconds ?? []).sort((a, b) => a - b);
    const points = times.flatMap((time, done): [number, number][] => [
      [time, done],
      [time, done + 1],
    ]);
    return { name, points: [[0, 0] as [number, number], ...points], fill: colour(index) };
  });
  const about = results.map(
    ({ name, p50Seconds, makespanSeconds }) =>
      `${name}: half of them after ${seconds(p50Seconds)}, all after ${seconds(makespanSeconds)}`,
  );
  return plot('Nodes that are done, over time', about.join('; '), series, {
    xMax: maxOf(results, ({ makespanSeconds }) => makespanSeconds),
    yMax: scenario.nodes,
    xLabel: 'seconds',
    yLabel: 'nodes',
    mark: { x: bound, label: `bound ${seconds(bound)}` },
  });
}

/** What the registry's link carries, over time. */
function originRate({ results, scenario }: RolloutReading): string {
  const link = (scenario.originLink ?? scenario.link) / MEGA;
  const series = results.map(({ name, samples }, index) => {
    const points: [number, number][] = [];
    for (let at = 1; at < samples.length; at++) {
      const [before, now] = [samples[at - 1]!, samples[at]!];
      const rate = ((now.originBytes - before.originBytes) * BITS) / MEGA / (now.seconds - before.seconds);
      points.push([now.seconds, Math.max(0, rate)]);
    }
    return { name, points, fill: colour(index) };
  });
  const about = results.map(
    ({ name, originBytesRatio }) => `${name}: ${originBytesRatio.toFixed(2)} × the image in all`,
  );
  return plot("What the registry's link carries", about.join('; '), series, {
    xMax: maxOf(results, ({ samples }) => samples.at(-1)?.seconds ?? 0),
    yMax: link * 1.05,
    xLabel: 'seconds',
    yLabel: 'Mbit/s',
  });
}

interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly fill: string;
}

function plot(
  title: string,
  about: string,
  series: readonly Series[],
  {
    xMax,
    yMax,
    xLabel,
    yLabel,
    mark,
  }: {
    xMax: number;
    yMax: number;
    xLabel: string;
    yLabel: string;
    mark?: { x: number; label: string };
  },
): string {
  const legend = legendOf(series);
  const top = legend.bottom + 26;
  const bottom = top + PLOT_HEIGHT;
  const [xs, ys] = [ticks(xMax), ticks(yMax)];
  const x = (value: number): number => LEFT + (value / xs.at(-1)!) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number => bottom - (Math.min(value, ys.at(-1)!) / ys.at(-1)!) * PLOT_HEIGHT;
  const body = [
    ...legend.body,
    ...ys.flatMap((value) => [
      line(LEFT, y(value), WIDTH - RIGHT, y(value), 'grid'),
      text(LEFT - 8, y(value) + 4, String(value), 'class="soft" text-anchor="end"'),
    ]),
    ...xs.map((value) => text(x(value), bottom + 18, String(value), 'class="soft" text-anchor="middle"')),
    text(WIDTH - RIGHT, bottom + 36, xLabel, 'class="soft" text-anchor="end"'),
    text(LEFT - 8, top - 14, yLabel, 'class="soft" text-anchor="end"'),
    ...series.map(({ name, points, fill }) =>
      path(
        points.map(([a, b]) => [x(a), y(b)] as const),
        fill,
        name,
      ),
    ),
  ];
  if (mark !== undefined)
    body.push(
      line(x(mark.x), top - 16, x(mark.x), bottom, 'bound'),
      text(x(mark.x) + 6, top - 8, mark.label, 'class="soft"'),
    );
  return picture(bottom + 44, title, about, body);
}

function legendOf(series: readonly Series[]): { body: string[]; bottom: number } {
  const body: string[] = [];
  let [x, y] = [0, 42];
  for (const { name, fill } of series) {
    const width = textWidth(name) + 38;
    if (x + width > WIDTH) [x, y] = [0, y + 22];
    body.push(rect(x, y - 10, 14, 10, fill, name), text(x + 20, y, name));
    x += width;
  }
  return { body, bottom: y + 12 };
}

function maxOf(results: readonly ContenderReading[], of: (reading: ContenderReading) => number): number {
  return Math.max(1, ...results.map(of).filter(Number.isFinite));
}

function comparedWith(direct: number, own: number): string {
  return own <= direct ? `, ${(direct / own).toFixed(1)} × faster` : `, ${(own / direct).toFixed(1)} × slower`;
}

function seconds(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(1)} s` : 'never';
}

function mb(bytes: number): string {
  return `${Math.round(bytes / MEGA)} MB`;
}
