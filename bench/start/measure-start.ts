// How long an agent takes from its start to being ready, and what it takes of the machine while nobody asks it anything: with
// an empty cache and with a full one, in a cluster with a tracker and other members.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startCluster } from '@shoal/cli';
import { MeasuredAgent } from './measured-agent.ts';

const REGISTRY = 'registry.test';
/** The size of a typical manifest or config; what start-up costs goes by the number of blobs, not by their bytes. */
const BLOB_BYTES = 4096;
/** Until idling begins: what is kept has been announced, members are connected, and unneeded memory is given back. */
const SETTLE_MS = 30_000;
/** In each of them an agent announces once. The median of several is no matter of what comes once, such as giving memory back late. */
const IDLE_SLICE_SECONDS = 10;

export interface StartPlan {
  /** Kept by the agent when it starts; one agent, with a cluster of its own, for each number. */
  readonly blobs: readonly number[];
  readonly starts: number;
  /** Members beside the agent. */
  readonly others: number;
  readonly idleSeconds: number;
}

export interface StartReading {
  blobs: number;
  /** As the agent itself says after the last start: blobs that it keeps, and members of its cluster, itself included. */
  held: number;
  members: number;
  /** One for each start, in their order. */
  readyMs: number[];
  /** Of each, how long it waited for a processor that others had: on a machine of its own it would have been ready so much sooner. */
  waitedMs: number[];
  /** The processors' time of each. */
  readyCpuMs: number[];
  /** After the last start. */
  idle: { seconds: number; rssBytes: number; corePercent: number };
}

/** Agents start one after the other and then idle side by side: what each takes is counted for itself, and it is hardly anything. */
export async function measureStarts(plan: StartPlan): Promise<StartReading[]> {
  await using resources = new AsyncDisposableStack();
  const started: Started[] = [];
  for (const blobs of plan.blobs) started.push(await startInCluster(blobs, plan, resources));
  await sleep(SETTLE_MS);
  return await Promise.all(
    started.map(async ({ agent, ...times }) => {
      const idle = await watchIdling(agent, plan.idleSeconds);
      return { ...times, ...(await agent.standing()), idle };
    }),
  );
}

/** The last start's agent, which is still there. */
type Started = Pick<StartReading, 'blobs' | 'readyMs' | 'waitedMs' | 'readyCpuMs'> & { readonly agent: MeasuredAgent };

/** @param resources take what must go again: the agent, its cluster, their folder */
async function startInCluster(blobs: number, plan: StartPlan, resources: AsyncDisposableStack): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-start-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  const cluster = await startCluster({ nodes: plan.others, folder });
  resources.defer(() => cluster.stop());
  if (cluster.tracker === undefined) throw new Error('a cluster without a tracker');
  const { url, joinTokenFile } = cluster.tracker;
  const args = ['--tracker', url, '--join-token', `@${joinTokenFile}`, '--name', 'measured'];
  const dataFolder = join(folder, 'measured');
  await fill(dataFolder, blobs);
  // The first start of all makes keys and index; what is measured is a node that comes up again.
  if (blobs > 0) await (await MeasuredAgent.start(dataFolder, args))[Symbol.asyncDispose]();

  const readyMs: number[] = [];
  const waitedMs: number[] = [];
  const readyCpuMs: number[] = [];
  const note = (agent: MeasuredAgent): void => {
    readyMs.push(agent.readyMs);
    waitedMs.push(agent.waitedMs);
    readyCpuMs.push(agent.readyCpuMs);
  };
  for (let start = 1; start < plan.starts; start++) {
    await using agent = await MeasuredAgent.start(dataFolder, args);
    note(agent);
  }
  const agent = resources.use(await MeasuredAgent.start(dataFolder, args));
  note(agent);
  return { blobs, readyMs, waitedMs, readyCpuMs, agent };
}

async function watchIdling(agent: MeasuredAgent, idleSeconds: number): Promise<StartReading['idle']> {
  const shares: number[] = [];
  for (let slice = 0; slice < idleSeconds / IDLE_SLICE_SECONDS; slice++) {
    const before = await agent.cpuSeconds();
    await sleep(IDLE_SLICE_SECONDS * 1000);
    shares.push((await agent.cpuSeconds()) - before);
  }
  const corePercent = (median(shares) * 100) / IDLE_SLICE_SECONDS;
  return { seconds: shares.length * IDLE_SLICE_SECONDS, rssBytes: await agent.rssBytes(), corePercent };
}

/** Files as another agent would have left them; the index is made of them by the first start. */
async function fill(dataFolder: string, blobs: number): Promise<void> {
  const committed = join(dataFolder, 'blobs', 'sha256');
  await mkdir(committed, { recursive: true, mode: 0o700 });
  for (let number = 0; number < blobs; number++) {
    const content = Buffer.alloc(BLOB_BYTES, `blob ${number} `);
    const hex = createHash('sha256').update(content).digest('hex');
    await writeFile(join(committed, `${hex}@${REGISTRY}`), content, { mode: 0o600 });
  }
}

export function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}
