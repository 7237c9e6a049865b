/** The outcome of a run, for people. */
import type { Outcome } from './outcome.ts';
import type { TracePoint } from './trace.ts';

export type Reading = Omit<Outcome, 'trace'> & { wallSeconds: number; peakRssBytes: number };

/** What most readers look for comes first. */
export function readingOf(outcome: Omit<Outcome, 'trace'>, wallSeconds: number, peakRssBytes: number): Reading {
  const { nodes, blobBytes, pieces, originBytesRatio, crossZoneBytesRatio, ...others } = outcome;
  const { makespanRatio, medianRatio, wrongBytes, failed, events, ...rest } = others;
  const ratios = { originBytesRatio, crossZoneBytesRatio, makespanRatio, medianRatio };
  return { nodes, blobBytes, pieces, ...ratios, wrongBytes, failed, events, wallSeconds, peakRssBytes, ...rest };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const seconds = (value: number): string => `${value.toFixed(2)} s`;

export function reportLines(reading: Reading): string[] {
  const { nodes, blobBytes, pieces, zones, seed } = reading;
  const lines = [
    `${nodes} nodes, ${zones === 1 ? 'one zone' : `${zones} zones`}, a blob of ${mib(blobBytes)} in ${pieces} pieces, seed ${seed}`,
    '',
    row('origin sent', `${reading.originBytesRatio.toFixed(3)} blobs in ${reading.originRequests} requests`),
    row('last node', `${seconds(reading.makespanSeconds)}, ${reading.makespanRatio.toFixed(3)} of the bound`),
    row('median node', `${seconds(reading.medianSeconds)}, ${reading.medianRatio.toFixed(3)} of the bound`),
    row('bound', seconds(reading.boundSeconds)),
  ];
  if (zones > 1)
    lines.push(
      row(
        'crossed zones',
        `${reading.crossZoneBytesRatio.toFixed(3)} blobs, ${(reading.crossZoneBytesRatio / (zones - 1)).toFixed(3)} for each zone but the first`,
      ),
    );
  lines.push(
    row('nodes sent', `${reading.peerBytesRatio.toFixed(3)} blobs each, ${percent(reading.wastedShare)} of it in vain`),
    row(
      'requests',
      `${reading.requests}, ${percent(reading.busyShare)} answered busy, ${reading.notHeld} not held, ${reading.slow} slow`,
    ),
    row('lease asks', `${reading.leaseAsks}, at most ${reading.leaseAsksPerSecondPeak} per second`),
    row('neighbours', `${reading.neighboursMean.toFixed(1)} each, at most ${reading.neighboursMax}`),
  );
  if (reading.corruptPieces > 0) lines.push(row('damaged pieces', `${reading.corruptPieces}, none kept`));
  if (reading.audits > 0) {
    const who = `${reading.barred} barred, of them honest: ${reading.barredHonest}`;
    lines.push(
      row(
        'audits',
        `${reading.audits}, ${reading.auditReads} pieces read; ${who}; ${reading.piecesLost} pieces dropped`,
      ),
    );
  }
  lines.push(
    row(
      'simulated',
      `${reading.events} events in ${seconds(reading.wallSeconds)}, ${mib(reading.peakRssBytes)} of memory`,
    ),
    '',
    reading.wrongBytes === 0 ? 'No node took wrong bytes for right.' : `WRONG BYTES: ${reading.wrongBytes}`,
    reading.failed === 0
      ? 'Every node that should have the blob has it.'
      : `${reading.failed} NODES DO NOT HAVE THE BLOB:`,
  );
  for (const [why, count] of Object.entries(reading.failures)) lines.push(`  ${count}: ${why}`);
  if (reading.violations.length > 0) lines.push('BROKEN RULES:', ...reading.violations.map((what) => `  ${what}`));
  return lines;
}

export function traceLines(trace: readonly TracePoint[]): string[] {
  const lines = ['', 'until        origin   up-links  down-links   busy    in vain   asked for   complete'];
  for (const point of trace) {
    const cells = [
      seconds(point.atMs / 1_000).padStart(8),
      percent(point.originLink).padStart(10),
      percent(point.meanUpLink).padStart(10),
      percent(point.meanDownLink).padStart(11),
      percent(point.busy).padStart(8),
      percent(point.wasted).padStart(9),
      point.inFlight.toFixed(1).padStart(11),
      String(point.complete).padStart(10),
    ];
    lines.push(cells.join(' '));
  }
  return lines;
}

function row(name: string, value: string): string {
  return `${name.padEnd(16)}${value}`;
}

function mib(bytes: number): string {
  const value = bytes / 2 ** 20;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} MiB`;
}
