/** What came of a run, as plain data. */
import { boundSeconds } from './bound.ts';
import type { SimNode } from './node.ts';
import type { Setting } from './setting.ts';
import type { TracePoint } from './trace.ts';

export interface Outcome {
  nodes: number;
  blobBytes: number;
  pieces: number;
  /** What the origin sent, in blobs. */
  originBytesRatio: number;
  /** What crossed from zone to zone, in blobs; 0 with one zone. `zones - 1`: each zone got each byte once. */
  crossZoneBytesRatio: number;
  /** The time of the last node that was measured, and of the one in the middle, each from its own start, by its bound. */
  makespanRatio: number;
  medianRatio: number;
  /** Of wrong pieces at honest nodes that took their blob for complete. */
  wrongBytes: number;
  /** Honest nodes that stayed or came back and do not have the blob. */
  failed: number;
  /** Virtual events. */
  events: number;
  seed: number;
  zones: number;
  boundSeconds: number;
  makespanSeconds: number;
  medianSeconds: number;
  /** Nodes that were measured: honest, and there all the time from their start on. */
  measured: number;
  originRequests: number;
  /** Nodes that the tracker barred, and how many of those are honest. */
  barred: number;
  barredHonest: number;
  leaseAsksPerSecondPeak: number;
  leaseAsks: number;
  /** Sent by nodes, in blobs per node; and what part of it was of no use. */
  peerBytesRatio: number;
  wastedShare: number;
  /** Of the requests for pieces. */
  requests: number;
  busyShare: number;
  notHeld: number;
  slow: number;
  corruptPieces: number;
  audits: number;
  auditReads: number;
  piecesLost: number;
  havesDelivered: number;
  findPeers: number;
  neighboursMean: number;
  neighboursMax: number;
  /** Why nodes failed, and how many. */
  failures: Record<string, number>;
  /** What must never happen, and did. */
  violations: string[];
  trace: TracePoint[];
}

export function outcomeOf(setting: Setting, barred: readonly SimNode[], trace: TracePoint[]): Outcome {
  const { plan, nodes, tally, pieceCount, timeline } = setting;
  const bound = boundSeconds({ ...plan, pieces: pieceCount });
  const measured = nodes.filter(({ honest, role }) => honest && role.fate === 'stays' && !role.seed);
  const timed = measured
    .filter(({ state }) => state === 'complete')
    .map((node) => {
      const seconds = (node.endedMs - node.startMs) / 1_000;
      const own = boundSeconds({ ...plan, link: node.bytesPerMs * 8_000, pieces: pieceCount });
      return { seconds, ratio: seconds / own };
    })
    .sort((a, b) => a.ratio - b.ratio);
  const median = timed[timed.length >> 1];
  const last = timed.at(-1);
  const expected = nodes.filter(({ honest, role }) => honest && role.fate !== 'dies' && !role.seed);
  const lacking = expected.filter(({ state }) => state !== 'complete');
  const failures: Record<string, number> = {};
  for (const { failure } of lacking) {
    const why = failure === '' ? 'not finished' : failure;
    failures[why] = (failures[why] ?? 0) + 1;
  }
  const linked = nodes.filter(({ alive }) => alive).map(({ neighbours }) => neighbours.length);
  return {
    nodes: plan.nodes,
    blobBytes: plan.blobBytes,
    pieces: pieceCount,
    originBytesRatio: tally.originBytes / plan.blobBytes,
    crossZoneBytesRatio: tally.crossZoneBytes / plan.blobBytes,
    makespanRatio: last?.ratio ?? 0,
    medianRatio: median?.ratio ?? 0,
    wrongBytes: wrongBytes(setting),
    failed: lacking.length,
    events: timeline.count + tally.havesDelivered,
    seed: plan.seed,
    zones: plan.zones,
    boundSeconds: bound,
    makespanSeconds: last?.seconds ?? 0,
    medianSeconds: median?.seconds ?? 0,
    measured: measured.length,
    originRequests: tally.originRequests,
    barred: barred.length,
    barredHonest: barred.filter(({ honest }) => honest).length,
    leaseAsksPerSecondPeak: tally.leaseAsksPerSecondPeak,
    leaseAsks: tally.leaseAsks,
    peerBytesRatio: tally.peerBytes / plan.blobBytes / plan.nodes,
    wastedShare: tally.peerBytes === 0 ? 0 : tally.wastedBytes / tally.peerBytes,
    requests: tally.requests,
    busyShare: tally.requests === 0 ? 0 : tally.busy / tally.requests,
    notHeld: tally.notHeld,
    slow: tally.slow,
    corruptPieces: tally.corruptPieces,
    audits: tally.audits,
    auditReads: tally.auditReads,
    piecesLost: tally.piecesLost,
    havesDelivered: tally.havesDelivered,
    findPeers: tally.findPeers,
    neighboursMean: linked.reduce((sum, count) => sum + count, 0) / Math.max(1, linked.length),
    neighboursMax: linked.reduce((most, count) => Math.max(most, count), 0),
    failures,
    violations: setting.violations,
    trace,
  };
}

function wrongBytes(setting: Setting): number {
  let bytes = 0;
  for (const node of setting.nodes) {
    if (node.role.liar || node.state !== 'complete') continue;
    for (const index of node.wrongPieces()) bytes += setting.bytesOf(index);
  }
  return bytes;
}
