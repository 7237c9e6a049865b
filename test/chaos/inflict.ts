/** Does one fault to the running cluster, and undoes it. */
import type { ChaosField } from './chaos-field.ts';
import type { FaultKind, Place } from './fault.ts';

/** More than `drain-timeout`, and what the rooms take to close on a loaded machine. */
const DRAINED_WITHIN_MS = 60_000;

/** Resolves when what was hit is as before. */
export type Undo = () => Promise<void>;

/** @throws when it cannot be done, or what was hit does not do what it must (an agent that does not end when told to) */
export async function inflict(kind: FaultKind, place: Place, field: ChaosField, signal: AbortSignal): Promise<Undo> {
  const { origin, tracker, network } = field;
  switch (kind) {
    case 'tracker-killed':
      await tracker.kill();
      return async () => void (await tracker.start(signal));
    case 'tracker-stopped':
      tracker.signal('SIGSTOP');
      return async () => tracker.signal('SIGCONT');
    case 'origin-cut':
      await network.cut(origin.host);
      return () => network.mend(origin.host);
    case 'origin-killed':
      await origin.kill();
      return () => origin.start();
    case 'origin-stopped':
      origin.signal('SIGSTOP');
      return async () => origin.signal('SIGCONT');
    case 'origin-sick':
      await origin.fallSick(signal);
      return () => origin.recover();
    default:
      return await hurtNode(kind, place, field, signal);
  }
}

type NodeFault = Exclude<FaultKind, `tracker-${string}` | `origin-${string}`>;

async function hurtNode(kind: NodeFault, place: Place, field: ChaosField, signal: AbortSignal): Promise<Undo> {
  const node = field.nodes.find((each) => each.place === place);
  if (node === undefined) throw new Error(`there is no ${place}`);
  const { agent, host } = node;
  switch (kind) {
    case 'agent-killed':
      await agent.kill();
      return async () => void (await agent.start(signal));
    case 'agent-stopped':
      agent.signal('SIGSTOP');
      return async () => agent.signal('SIGCONT');
    case 'agent-drained': {
      const ended = await agent.drain(DRAINED_WITHIN_MS);
      if (ended !== 'exit code 0') throw new Error(`the agent of ${place} was told to stop, and ended with ${ended}`);
      return async () => void (await agent.start(signal));
    }
    case 'disk-full':
      await node.fillDisk();
      return () => node.freeDisk();
    case 'link-cut':
      await field.network.cut(host);
      return () => field.network.mend(host);
  }
}
