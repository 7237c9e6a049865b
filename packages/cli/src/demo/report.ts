/** What the demo tells in the end: numbers in, a table for people or JSON for programs out. */

const BYTES_PER_MB = 1_000_000;

export interface NodeNumbers {
  node: string;
  /** From the common start to the last verified byte; undefined when the pull failed. */
  seconds: number | undefined;
  bytesFromPeers: number;
  bytesFromOrigin: number;
  bytesFromStore: number;
}

export interface DemoNumbers {
  /** Manifest, config and layers: what one pull moves. */
  imageBytes: number;
  /** How many objects those are. */
  blobs: number;
  originBytes: number;
  originRequests: number;
  failedPulls: number;
  perNode: readonly NodeNumbers[];
}

/** The contract of `shoal demo --json`. `seconds` of a failed pull is null. */
export interface DemoJson {
  nodes: number;
  imageBytes: number;
  blobs: number;
  originBytes: number;
  originRequests: number;
  originBytesRatio: number;
  peerBytes: number;
  makespanSeconds: number;
  failedPulls: number;
  perNode: (Omit<NodeNumbers, 'seconds'> & { seconds: number | null })[];
}

export function demoJson(numbers: DemoNumbers): DemoJson {
  const { imageBytes, blobs, originBytes, originRequests, failedPulls, perNode } = numbers;
  return {
    nodes: perNode.length,
    imageBytes,
    blobs,
    originBytes,
    originRequests,
    originBytesRatio: ratio(numbers),
    peerBytes: sum(perNode.map((node) => node.bytesFromPeers)),
    makespanSeconds: makespan(numbers),
    failedPulls,
    perNode: perNode.map((node) => ({ ...node, seconds: node.seconds === undefined ? null : milli(node.seconds) })),
  };
}

/** Ends with a line break. @param options.isWatch nothing was pulled: what others pulled was counted */
export function demoReport(numbers: DemoNumbers, { isWatch = false }: { isWatch?: boolean } = {}): string {
  return `${[...table(numbers, isWatch), '', ...(isWatch ? totals(numbers) : verdict(numbers))].join('\n')}\n`;
}

export function megabytes(bytes: number): string {
  return `${(bytes / BYTES_PER_MB).toFixed(1)} MB`;
}

function table(numbers: DemoNumbers, isWatch: boolean): string[] {
  const { perNode } = numbers;
  const time = (seconds: number | undefined): string[] => (isWatch ? [] : [duration(seconds)]);
  const rows = [
    ['node', ...(isWatch ? [] : ['time']), 'from peers', 'from origin', 'from its store'],
    ...perNode.map((node) => [node.node, ...time(node.seconds), ...sources(node)]),
  ];
  if (perNode.length > 1) rows.push(['all', ...time(makespan(numbers) || undefined), ...sources(total(perNode))]);
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('   ')
      .trimEnd(),
  );
}

function totals({ originBytes, originRequests, perNode }: DemoNumbers): string[] {
  const { bytesFromPeers, bytesFromStore } = total(perNode);
  const spared = bytesFromPeers + bytesFromStore;
  const share = spared === 0 ? 0 : (100 * spared) / (spared + originBytes);
  return [
    `the registry sent ${megabytes(originBytes)} in ${originRequests} requests; ${megabytes(spared)} came from agents (${share.toFixed(1)} %)`,
  ];
}

function verdict(numbers: DemoNumbers): string[] {
  const { imageBytes, blobs, originBytes, originRequests, failedPulls, perNode } = numbers;
  const pulls = perNode.length;
  const lines: string[] = [];
  if (failedPulls > 0) lines.push(`${failedPulls} of ${pulls} pulls FAILED`);
  else lines.push(`every byte on every node was checked against its SHA-256: ${pulls} of ${pulls} pulls are identical`);
  if (imageBytes === 0) return lines;
  const without = pulls * imageBytes;
  lines.push(
    `the image has ${megabytes(imageBytes)} in ${blobs} objects; the origin sent ${megabytes(originBytes)} ` +
      `in ${originRequests} ${originRequests === 1 ? 'request' : 'requests'}`,
    `without Shoal the origin would have sent ${pulls} × ${megabytes(imageBytes)} = ${megabytes(without)}; ` +
      `it sent ${megabytes(originBytes)} (${ratio(numbers).toFixed(2)} ×)`,
  );
  if (originBytes < without) {
    const percent = (100 * (1 - originBytes / without)).toFixed(1);
    lines.push(`saved: ${megabytes(without - originBytes)}, ${percent} % of the origin's traffic`);
  }
  return lines;
}

function sources(node: Omit<NodeNumbers, 'node' | 'seconds'>): string[] {
  return [megabytes(node.bytesFromPeers), megabytes(node.bytesFromOrigin), megabytes(node.bytesFromStore)];
}

function total(nodes: readonly NodeNumbers[]): Omit<NodeNumbers, 'node' | 'seconds'> {
  return {
    bytesFromPeers: sum(nodes.map((node) => node.bytesFromPeers)),
    bytesFromOrigin: sum(nodes.map((node) => node.bytesFromOrigin)),
    bytesFromStore: sum(nodes.map((node) => node.bytesFromStore)),
  };
}

function duration(seconds: number | undefined): string {
  return seconds === undefined ? 'failed' : `${seconds.toFixed(1)} s`;
}

function makespan(numbers: DemoNumbers): number {
  return milli(Math.max(0, ...numbers.perNode.map((node) => node.seconds ?? 0)));
}

function ratio(numbers: DemoNumbers): number {
  return numbers.imageBytes === 0 ? 0 : Number((numbers.originBytes / numbers.imageBytes).toFixed(4));
}

function milli(seconds: number): number {
  return Number(seconds.toFixed(3));
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}
