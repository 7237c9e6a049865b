/** What one way to roll an image out came to, and how it is computed from what was measured. */
import type { InterfaceBytes } from '../rig/proc.ts';
import type { MeteredKind, ProcessUse, RateSample } from './meter.ts';
import type { RuntimePull } from './runtime.ts';

const GIB = 1024 ** 3;

export interface Spread {
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

export interface NodeReading extends RuntimePull {
  readonly node: string;
  /** Everything is there and hashes to its name. */
  readonly identical: boolean;
  /** As the node's own agent counts; undefined without one. */
  readonly fromPeersBytes: number | undefined;
  readonly fromOriginBytes: number | undefined;
}

export interface ContenderReading {
  readonly name: string;
  readonly about: string;
  /** What the registry sent, by the counter of its interface, ÷ what one node has to get. */
  readonly originBytesRatio: number;
  /** Answered by the registry, by its own log. */
  readonly originRequests: number;
  /** Until the last node could start a container. */
  readonly makespanSeconds: number;
  readonly p50Seconds: number;
  readonly p95Seconds: number;
  /** Until the last layer was complete on a node. */
  readonly lastLayerSeconds: Spread;
  /** The least that physics allows, for whatever way. */
  readonly boundSeconds: number;
  readonly makespanRatio: number;
  /** Of everything but containerd, per GiB that reached the nodes. */
  readonly cpuSecondsPerGiB: number;
  readonly cpuSecondsPerGiBOf: Partial<Record<MeteredKind, number>>;
  /** Of the largest process that is not containerd. */
  readonly peakRssBytes: number;
  readonly peakRssBytesOf: Partial<Record<MeteredKind, number>>;
  readonly failedPulls: number;
  /** Why this is no result, although it may look like one. */
  readonly broken: string | undefined;
  /** Of the machine's processors, while the pulls went on. */
  readonly machineUtilisation: number;
  readonly nodes: readonly NodeReading[];
  readonly samples: readonly RateSample[];
  /** /proc/net/dev of every interface, before and after; the registry's first. */
  readonly counters: { readonly before: readonly InterfaceBytes[]; readonly after: readonly InterfaceBytes[] };
}

/** Of a few values; the largest for p95 of less than twenty. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), max: at(1) };
}

export function perGiB(uses: readonly ProcessUse[], deliveredBytes: number): Partial<Record<MeteredKind, number>> {
  const sums: Partial<Record<MeteredKind, number>> = {};
  for (const { kind, cpuSeconds } of uses) sums[kind] = (sums[kind] ?? 0) + cpuSeconds / (deliveredBytes / GIB);
  return sums;
}

export function peaks(uses: readonly ProcessUse[]): Partial<Record<MeteredKind, number>> {
  const most: Partial<Record<MeteredKind, number>> = {};
  for (const { kind, peakRssBytes } of uses) most[kind] = Math.max(most[kind] ?? 0, peakRssBytes);
  return most;
}

/** The run whose makespan is the middle one, those that nobody finished last; failed pulls of any run count. */
export function medianOf(readings: readonly ContenderReading[]): ContenderReading {
  const secondsOf = ({ makespanSeconds }: ContenderReading): number =>
    Number.isNaN(makespanSeconds) ? Number.MAX_VALUE : makespanSeconds;
  const sorted = [...readings].sort((a, b) => secondsOf(a) - secondsOf(b));
  const middle = sorted[Math.floor((sorted.length - 1) / 2)]!;
  const failedPulls = readings.reduce((sum, reading) => sum + reading.failedPulls, 0);
  return { ...middle, failedPulls, broken: readings.find(({ broken }) => broken !== undefined)?.broken };
}

/** What went wrong, a line each. */
export function complaintsOf(results: readonly ContenderReading[]): string[] {
  return results.flatMap(({ name, broken, nodes }) => [
    ...(broken === undefined ? [] : [`broken: ${name}: ${broken}`]),
    ...nodes.flatMap(({ node, failure }) => (failure === undefined ? [] : [`failed: ${name}, ${node}: ${failure}`])),
  ]);
}
