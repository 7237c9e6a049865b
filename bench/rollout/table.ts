// The comparison as a table for a terminal: ratios first, absolute times second.
import { type ContenderReading, complaintsOf } from './reading.ts';
import type { RolloutReading } from './rollout.ts';

const MIB = 1024 ** 2;
const MEGA = 1e6;

const COLUMNS: readonly [title: string, of: (reading: ContenderReading, direct: number | undefined) => string][] = [
  ['way', ({ name }) => name],
  ['origin', ({ originBytesRatio }) => `${originBytesRatio.toFixed(2)} ×`],
  ['requests', ({ originRequests }) => String(originRequests)],
  ['last ÷ bound', ({ makespanRatio }) => ratio(makespanRatio)],
  ['vs direct', ({ makespanSeconds }, direct) => (direct === undefined ? '' : ratio(direct / makespanSeconds))],
  ['last', ({ makespanSeconds }) => seconds(makespanSeconds)],
  ['p95', ({ p95Seconds }) => seconds(p95Seconds)],
  ['p50', ({ p50Seconds }) => seconds(p50Seconds)],
  ['layers', ({ lastLayerSeconds }) => seconds(lastLayerSeconds.max)],
  ['CPU s/GiB', ({ cpuSecondsPerGiB }) => cpuSecondsPerGiB.toFixed(1)],
  ['RSS MiB', ({ peakRssBytes }) => (peakRssBytes / MIB).toFixed(0)],
  ['CPU used', ({ machineUtilisation }) => `${(100 * machineUtilisation).toFixed(0)} %`],
  ['failed', ({ failedPulls }) => String(failedPulls)],
];

/** The cells as texts. */
export function rolloutRows({ results }: RolloutReading): { titles: string[]; rows: string[][] } {
  const direct = results.find(({ name }) => name === 'direct')?.makespanSeconds;
  return {
    titles: COLUMNS.map(([title]) => title),
    rows: results.map((reading) => COLUMNS.map(([, of]) => of(reading, direct))),
  };
}

export function rolloutTable(reading: RolloutReading): string[] {
  const { scenario, results, payloadBitsPerSecond, newBytes, machine, repeats } = reading;
  const { titles, rows } = rolloutRows(reading);
  const widths = titles.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ');
  const originLink = scenario.originLink ?? scenario.link;
  return [
    `${scenario.name}: ${scenario.nodes} nodes, ${(newBytes / MIB).toFixed(0)} MiB each in ${scenario.layers} layers, links of ${scenario.link / MEGA} Mbit/s, the registry's ${originLink / MEGA} Mbit/s`,
    `one plain TCP stream carries ${(payloadBitsPerSecond / MEGA).toFixed(1)} Mbit/s; bound ${seconds(results[0]?.boundSeconds ?? Number.NaN)}${repeats > 1 ? `; medians of ${repeats} runs` : ''}`,
    `${machine.processors}, ${machine.containerd}, commit ${machine.commit}`,
    '',
    line(titles),
    ...rows.map(line),
    '',
    'origin: bytes that the registry sent, by its interface, ÷ what one node needs. last: until the last node could start a',
    'container; layers: until its last layer was there. CPU and memory are of everything but containerd and the registry.',
    ...complaintsOf(results),
  ];
}

export function contenderLine(reading: ContenderReading): string {
  const { originBytesRatio, makespanSeconds, makespanRatio, failedPulls, broken } = reading;
  const bad = broken === undefined ? (failedPulls > 0 ? `, ${failedPulls} failed` : '') : `, BROKEN: ${broken}`;
  return `origin ${originBytesRatio.toFixed(2)} ×, last node ${seconds(makespanSeconds)}, ${ratio(makespanRatio)} the bound${bad}`;
}

function seconds(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(1)} s` : '–';
}

function ratio(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(2)} ×` : '–';
}
