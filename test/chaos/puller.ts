/** One node's client: pulls one image after the other, looks whether all of it is there and right, and removes it again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@shoal/swarm';
import type { BenchImage } from '../../bench/rollout/image.ts';
import type { ChaosNode } from './chaos-node.ts';
import type { Place } from './fault.ts';
import { digestsOf } from './image-set.ts';
import { PULL_DEADLINE_MS, type PullRecord } from './judge.ts';

const LONGEST_PAUSE_MS = 1_000;
/** Of the pulls, those of the image that is this node's alone. */
const OWN_SHARE = 0.25;

export interface PullerDependencies {
  readonly nodes: readonly ChaosNode[];
  /** Milliseconds since the run began. */
  readonly now: () => number;
  readonly note: (pull: PullRecord) => void;
}

export interface PullerOptions {
  readonly shared: readonly BenchImage[];
  readonly own: BenchImage;
  readonly random: Random;
  readonly untilMs: number;
}

/** Until the time is over, the last pull to its end. @throws when the runtime does not remove what it has pulled */
export async function pullInLoop(
  node: ChaosNode,
  { shared, own, random, untilMs }: PullerOptions,
  dependencies: PullerDependencies,
): Promise<void> {
  while (dependencies.now() < untilMs) {
    const image = random() < OWN_SHARE ? own : shared[Math.floor(random() * shared.length)]!;
    await pullAndRemove(node, image, dependencies);
    await sleep(random() * LONGEST_PAUSE_MS);
  }
}

export async function pullAndRemove(
  node: ChaosNode,
  image: BenchImage,
  { nodes, now, note }: PullerDependencies,
): Promise<void> {
  const before = await heldByPlace(nodes);
  const beganMs = now();
  const { failure } = await node.pull(image, PULL_DEADLINE_MS);
  const endedMs = now();
  const after = await heldByPlace(nodes);
  const isComplete = failure === undefined && (await node.runtime.holds(image));
  const places = [...before.keys()];
  const holders = digestsOf(image).map((digest) =>
    places.filter((place) => before.get(place)?.has(digest) && after.get(place)?.has(digest)),
  );
  note({ node: node.place, image: image.repository, beganMs, endedMs, failure, isComplete, holders });
  await node.remove(image);
  // Otherwise the next pull of it would be none.
  if (await node.runtime.holds(image)) throw new Error(`the containerd of ${node.place} keeps ${image.repository}`);
}

async function heldByPlace(nodes: readonly ChaosNode[]): Promise<Map<Place, Set<string>>> {
  return new Map(await Promise.all(nodes.map(async (node) => [node.place, await node.held()] as const)));
}
