/** What a run tells at its end: how many pulls and faults there were, and everything around what was not as it must be. */
import type { Life } from './chaos-daemon.ts';
import { type FaultRecord, touches } from './fault.ts';
import type { Lack, PullRecord, Verdict } from './judge.ts';
import { linesBetween } from './log-check.ts';

const MiB = 1024 ** 2;
const BEFORE_MS = 12_000;
const MOST_LINES = 40;
/** What is told of each sort of pull. */
const MOST_PULLS = 12;
const SLOWEST_PULLS = 3;
const MOST_FAILURE_CHARACTERS = 160;

export interface JudgedPull {
  readonly pull: PullRecord;
  readonly verdict: Verdict;
}

export interface Tally {
  readonly seed: number;
  readonly pulls: readonly JudgedPull[];
  readonly faults: readonly FaultRecord[];
  /** By all nodes, in pulls that ended well, those at the end included. */
  readonly pulledBytes: number;
  /** What the registry's link carried meanwhile, with all headers. */
  readonly originBytes: number;
  readonly peakRssBytes: number;
}

export function tallyLines({ seed, pulls, faults, pulledBytes, originBytes, peakRssBytes }: Tally): string[] {
  const count = (type: Verdict['type']): number => pulls.filter(({ verdict }) => verdict.type === type).length;
  const tookMs = ({ pull }: JudgedPull): number => pull.endedMs - pull.beganMs;
  const seconds = pulls.map((judged) => tookMs(judged) / 1_000).sort((a, b) => a - b);
  const at = (share: number): string => (seconds[Math.floor(share * (seconds.length - 1))] ?? Number.NaN).toFixed(1);
  const unheld = pulls.filter(({ verdict }) => verdict.type === 'excused' && verdict.and.type === 'held-by-nobody');
  const kinds = [...Map.groupBy(faults, ({ kind }) => kind)].map(([kind, all]) => `${kind} ${all.length}`);
  const odd = pulls.filter(({ verdict }) => verdict.type !== 'well');
  const slowest = [...pulls].sort((a, b) => tookMs(b) - tookMs(a)).slice(0, SLOWEST_PULLS);
  return [
    `chaos with seed ${seed}: ${pulls.length} pulls, ${count('well')} well, ${count('excused')} excused (${unheld.length}: nobody held it), ${count('failed')} failed`,
    `  a pull took ${at(0.5)} s in the middle, ${at(0.95)} s at the 95th percentile, ${at(1)} s at most`,
    `  ${faults.length} faults: ${kinds.sort().join(', ')}`,
    `  the registry sent ${mebibytes(originBytes)} for ${mebibytes(pulledBytes)} that were pulled; an agent took at most ${mebibytes(peakRssBytes)} of memory`,
    `  the slowest pulls:`,
    ...slowest.map(
      ({ pull }) => `    ${pulledText(pull)}; ${faultsAround(pull, faults).map(faultText).join(', ') || 'no fault'}`,
    ),
    ...odd.slice(0, MOST_PULLS).map(({ pull, verdict }) => `  ${pullLine(pull, verdict)}`),
    ...(odd.length > MOST_PULLS ? [`  and ${odd.length - MOST_PULLS} more that did not end well`] : []),
  ];
}

function pulledText({ node, image, beganMs, endedMs }: PullRecord): string {
  return `${node} ${image} ${time(beganMs)} to ${time(endedMs)}`;
}

function pullLine(pull: PullRecord, verdict: Verdict): string {
  const pulled = pulledText(pull);
  if (verdict.type === 'excused') {
    const { because, and } = verdict;
    return `excused: ${pulled}: ${because.map(faultText).join(', ')}; ${lackText(and)}: ${pull.failure?.slice(-MOST_FAILURE_CHARACTERS)}`;
  }
  return verdict.type === 'failed' ? `FAILED: ${pulled}: ${verdict.reason}` : pulled;
}

function lackText(lack: Lack): string {
  if (lack.type === 'held-by-nobody') return `nobody held ${lack.blobs} of its blobs`;
  return lack.faults.map(faultText).join(', ');
}

/** @param lives of the node's agent; @param epochMs when the run began */
export function failureAccount(
  { pull, verdict }: JudgedPull,
  faults: readonly FaultRecord[],
  lives: readonly Life[],
  epochMs: number,
): string {
  const fromMs = pull.beganMs - BEFORE_MS;
  const logs = lives.flatMap(({ log }) => linesBetween(log, epochMs + fromMs, epochMs + pull.endedMs, MOST_LINES));
  return [
    pullLine(pull, verdict),
    `  held all the time, by blob: ${pull.holders.map((places) => places.join('+') || 'nobody').join(', ')}`,
    '  faults from a little before it to its end:',
    ...faultsAround(pull, faults).map((fault) => `    ${faultText(fault)}`),
    `  its agent's log of that time:`,
    ...logs.map((line) => `    ${line}`),
  ].join('\n');
}

/** From a little before the pull to its end. */
function faultsAround(pull: PullRecord, faults: readonly FaultRecord[]): FaultRecord[] {
  return faults.filter((fault) => touches(fault, pull.beganMs - BEFORE_MS, pull.endedMs));
}

function faultText({ kind, place, beganMs, endedMs }: FaultRecord): string {
  return `${kind} at ${place} ${time(beganMs)} to ${endedMs === undefined ? '…' : time(endedMs)}`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / MiB).toFixed(0)} MiB`;
}

function time(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
