// What goes over the links while the crowd pulls, second by second: a link that idles shows.
import { setTimeout as sleep } from 'node:timers/promises';
import { type InterfaceBytes, interfaceBytes } from '../rig/proc.ts';
import { HOST_DEVICE } from '../rig/rig-network.ts';

const INTERVAL_MS = 1_000;
/** A quarter of an hour; what comes later is not kept. */
const MAX_SAMPLES = 900;

/** Bytes per second, as the interfaces count them. */
export interface TraceSample {
  /** From the common start to the end of this interval. */
  readonly seconds: number;
  readonly originTx: number;
  readonly nodeRxMean: number;
  readonly nodeTxMean: number;
  readonly nodeRx: readonly number[];
  readonly nodeTx: readonly number[];
}

/** Samples until `signal` fires. Processes stand for the hosts that they run on. */
export async function traceLinks(
  originPid: number,
  nodePids: readonly number[],
  signal: AbortSignal,
): Promise<TraceSample[]> {
  const read = () => Promise.all([originPid, ...nodePids].map((pid) => interfaceBytes(pid, HOST_DEVICE)));
  const samples: TraceSample[] = [];
  const startedMs = performance.now();
  let before = { atMs: startedMs, counts: await read() };
  while (samples.length < MAX_SAMPLES) {
    const stopped = await sleep(INTERVAL_MS, false, { signal }).catch(() => true);
    if (stopped) return samples;
    const now = { atMs: performance.now(), counts: await read() };
    const seconds = (now.atMs - before.atMs) / 1_000;
    const rates = now.counts.map((count, host) => difference(count, before.counts[host]!, seconds));
    const [origin, ...nodes] = rates as [InterfaceBytes, ...InterfaceBytes[]];
    const nodeRx = nodes.map(({ received }) => received);
    const nodeTx = nodes.map(({ sent }) => sent);
    samples.push({
      seconds: (now.atMs - startedMs) / 1_000,
      originTx: origin.sent,
      nodeRxMean: mean(nodeRx),
      nodeTxMean: mean(nodeTx),
      nodeRx,
      nodeTx,
    });
    before = now;
  }
  return samples;
}

function difference(now: InterfaceBytes, before: InterfaceBytes, seconds: number): InterfaceBytes {
  return {
    received: Math.round((now.received - before.received) / seconds),
    sent: Math.round((now.sent - before.sent) / seconds),
  };
}

function mean(values: readonly number[]): number {
  return Math.round(values.reduce((sum, value) => sum + value, 0) / values.length);
}
