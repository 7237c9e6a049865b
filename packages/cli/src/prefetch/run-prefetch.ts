/** What `shoal prefetch` does: orders, shows how far each node is, and tells what came of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageReference } from '@shoal/oci';
import type { PrefetchNode, PrefetchOrder } from '@shoal/wire';
import { AdminRefusal } from '../admin-client.ts';
import type { CliIo } from '../cli-io.ts';
import { CommandFailure } from '../command-failure.ts';
import { listenForInterruption } from '../demo/interruption.ts';
import { type NodeProgress, ProgressDisplay } from '../demo/progress.ts';
import { megabytes } from '../demo/report.ts';
import { imageName } from '../image-argument.ts';
import type { PrefetchFlags } from './command.ts';
import { endOrder, findOrder, type OrderWish, placeOrder } from './orders.ts';

const PROGRAM = 'shoal prefetch';
const ASK_EVERY_MS = 500;
/** The agent or the tracker may be away for a moment. */
const AWAY_FOR_MS = 30_000;
const MAX_FAILURES_TOLD = 20;

/** @throws CommandFailure */
export async function runPrefetch(images: readonly ImageReference[], flags: PrefetchFlags, io: CliIo): Promise<void> {
  const { admin, nodes, zone, platform, rate, timeout, detach, json } = flags;
  if (nodes !== undefined && zone !== undefined && nodes !== 'all') {
    throw new CommandFailure(`${PROGRAM}: give --nodes or --zone, not both`, 2);
  }
  const wish: OrderWish = {
    images: images.map(imageName),
    platform,
    bytesPerSecond: rate,
    zone,
    ...(nodes === 'all' ? { everywhere: true } : { names: nodes }),
  };
  const interruption = listenForInterruption(io, () => undefined);
  const { signal } = interruption;
  const startedAtMs = performance.now();
  let late: AbortSignal | undefined;
  let ended: PrefetchOrder;
  try {
    const order = await placeOrder(admin, wish, signal);
    if (detach) {
      io.stdout.write(json ? `${JSON.stringify(order)}\n` : `${order.id}\n`);
      return;
    }
    late = timeout === undefined ? undefined : AbortSignal.timeout(timeout);
    ended = await watch(order, flags, AbortSignal.any([signal, ...(late === undefined ? [] : [late])]), io);
  } catch (error) {
    if (!signal.aborted || !(error instanceof CommandFailure)) throw error;
    const line = `${PROGRAM}: interrupted before the order was known to have ended; shoal prefetch ls tells`;
    throw new CommandFailure([...error.lines, line], 1, { cause: error });
  } finally {
    interruption.stopListening();
  }
  const why = signal.aborted ? 'interrupted' : late?.aborted === true ? 'not done in time' : undefined;
  tell(ended, { seconds: (performance.now() - startedAtMs) / 1_000, why }, json, io);
}

/** Until the order has ended; cancels it when the signal fires. */
async function watch(
  order: PrefetchOrder,
  flags: PrefetchFlags,
  signal: AbortSignal,
  io: CliIo,
): Promise<PrefetchOrder> {
  let latest = order;
  const { admin, json } = flags;
  if (!json) {
    const { length } = order.nodes;
    io.stdout.write(
      `order ${order.id}: ${order.images.join(' ')} for ${length} ${length === 1 ? 'node' : 'nodes'}\n\n`,
    );
  }
  const display = json ? undefined : new ProgressDisplay(io.stdout, () => latest.nodes.map(progressOf));
  display?.draw();
  let heardAtMs = performance.now();
  try {
    while (latest.state === 'open' && !signal.aborted) {
      await sleep(ASK_EVERY_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) break;
      try {
        latest = await findOrder(admin, order.id, signal);
        heardAtMs = performance.now();
      } catch (error) {
        if (signal.aborted) break;
        if (error instanceof AdminRefusal && error.status === 404) throw error;
        if (performance.now() - heardAtMs > AWAY_FOR_MS) throw leftAlone(error, order.id);
      }
    }
    if (latest.state === 'open') latest = await endOrder(admin, order.id);
  } finally {
    display?.finish();
  }
  return latest;
}

function leftAlone(error: unknown, id: string): CommandFailure {
  const line = error instanceof CommandFailure ? error.lines.join('; ') : String(error);
  return new CommandFailure(`${line}. The order goes on; shoal prefetch cancel ${id} ends it`, 1, { cause: error });
}

function progressOf({ name, state, doneBytes, totalBytes, fromPeers, fromOrigin }: PrefetchNode): NodeProgress {
  return {
    node: name,
    receivedBytes: doneBytes,
    totalBytes,
    state: state === 'fetching' ? 'pulling' : state,
    ...(state === 'waiting' ? {} : { sources: { peers: fromPeers, origin: fromOrigin } }),
  };
}

/** @throws CommandFailure when a node has not got it */
function tell(
  order: PrefetchOrder,
  { seconds, why }: { seconds: number; why: string | undefined },
  json: boolean,
  io: CliIo,
): void {
  const { nodes, state } = order;
  const failed = nodes.filter((node) => node.state !== 'done');
  const sum = (of: (node: PrefetchNode) => number): number => nodes.reduce((all, node) => all + of(node), 0);
  const fromPeers = sum((node) => node.fromPeers);
  const fromOrigin = sum((node) => node.fromOrigin);
  if (json) {
    io.stdout.write(`${JSON.stringify({ ...order, seconds, fromPeers, fromOrigin, failed: failed.length })}\n`);
  } else {
    const got = `${megabytes(fromPeers)} came from other nodes, ${megabytes(fromOrigin)} from registries`;
    io.stdout.write(
      `\n${nodes.length - failed.length} of ${nodes.length} ${nodes.length === 1 ? 'node has' : 'nodes have'} it: ${got}, ${seconds.toFixed(1)} s\n`,
    );
  }
  if (failed.length === 0) return;
  const lines = failed.slice(0, MAX_FAILURES_TOLD).map(({ name, reason = 'not done' }) => `${name}: ${reason}`);
  if (failed.length > lines.length) lines.push(`and ${failed.length - lines.length} more`);
  const outcome = why ?? (state === 'ended' ? undefined : state);
  const last = `${PROGRAM}: ${outcome === undefined ? '' : `${outcome}: `}missing on ${failed.length} of ${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'}`;
  throw new CommandFailure([...lines, last]);
}
