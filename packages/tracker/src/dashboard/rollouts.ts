/**
 * The rollouts that are under way, as a grid of nodes and how far each is. Pullers say how far they are; who holds or waits
 * for a blob is known from the announcements. In a large cluster a part of the nodes is shown, those that pull first, and
 * the sums come from the counts of the swarms: what looking costs is bounded, whatever members say.
 */
import { registryOf } from '@shoal/oci';
import type { Directory, SeenAgent } from '../directory/directory.ts';
import type { ActiveBlob, ActiveBlobs } from './active-blobs.ts';
import type { Rollout, RolloutNode } from './answers.ts';
import type { NodeReports } from './node-reports.ts';

export const MAX_ROLLOUTS = 12;
export const MAX_NODES_OF_ROLLOUT = 400;
/** Of all rollouts together. */
const MAX_NODES = 1_000;
export const MAX_BLOBS_OF_ROLLOUT = 32;
/** More blobs than that of one repository are not looked at. */
const MAX_BLOBS_LOOKED_AT = 128;

export interface RolloutsDependencies {
  directory: Pick<Directory, 'agent' | 'stateOf' | 'countsOf' | 'some'>;
  reports: Pick<NodeReports, 'of'>;
  blobs: Pick<ActiveBlobs, 'list'>;
}

export class Rollouts {
  readonly #dependencies: RolloutsDependencies;

  constructor(dependencies: RolloutsDependencies) {
    this.#dependencies = dependencies;
  }

  list(nowMs: number): { rollouts: Rollout[]; leftOut: number } {
    const groups = [...groupsOf(this.#dependencies.blobs.list(nowMs))];
    let nodesLeft = MAX_NODES;
    const rollouts = groups.slice(0, MAX_ROLLOUTS).map(([name, blobs]) => {
      const rollout = this.#rollout(
        name,
        blobs.slice(0, MAX_BLOBS_LOOKED_AT),
        Math.min(MAX_NODES_OF_ROLLOUT, nodesLeft),
      );
      nodesLeft -= rollout.nodes.length;
      return rollout;
    });
    return { rollouts, leftOut: groups.length - rollouts.length };
  }

  #rollout(name: string, blobs: readonly ActiveBlob[], mostNodes: number): Rollout {
    const { directory } = this.#dependencies;
    const counted = blobs.map(({ blob, sizeBytes }) => ({ blob, sizeBytes, ...directory.countsOf(blob) }));
    counted.sort((one, other) => other.sizeBytes - one.sizeBytes || collator.compare(one.blob, other.blob));
    const chosen = this.#choose(blobs, MAX_NODES_OF_ROLLOUT);
    const nodes = chosen.map((agent) => this.#node(agent, blobs)).sort(byProgress);
    const most = Math.max(0, ...counted.map(({ holding, wanting }) => holding + wanting));
    const isWhole = chosen.length < MAX_NODES_OF_ROLLOUT;
    return {
      name,
      startedAtMs: Math.min(...blobs.map(({ firstAtMs }) => firstAtMs)),
      ended: !blobs.some((blob) => this.#isPulled(blob)),
      blobs: counted.slice(0, MAX_BLOBS_OF_ROLLOUT),
      blobsLeftOut: Math.max(0, counted.length - MAX_BLOBS_OF_ROLLOUT),
      nodesTotal: isWhole ? nodes.length : Math.max(most, nodes.length),
      ...(isWhole ? sumsOf(nodes) : estimateOf(counted)),
      nodes: nodes.slice(0, mostNodes),
    };
  }

  /** Who pulls comes first, then others that hold or want some of it. */
  #choose(blobs: readonly ActiveBlob[], most: number): SeenAgent[] {
    const { directory } = this.#dependencies;
    const chosen = new Map<string, SeenAgent>();
    const add = (agent: SeenAgent | undefined): void => {
      if (agent !== undefined && chosen.size < most) chosen.set(agent.peerId, agent);
    };
    for (const { pulls } of blobs) {
      for (const [peerId, { atMs }] of pulls) {
        if (chosen.size >= most) return [...chosen.values()];
        if (this.#isLatest(peerId, atMs)) add(directory.agent(peerId));
      }
    }
    for (const { blob } of blobs) {
      if (chosen.size >= most) break;
      for (const agent of directory.some(blob, most, false)) add(agent);
    }
    return [...chosen.values()];
  }

  #node(agent: SeenAgent, blobs: readonly ActiveBlob[]): RolloutNode {
    const { directory } = this.#dependencies;
    const node = { heldBytes: 0, totalBytes: 0, fromOrigin: 0, fromPeers: 0 };
    let pulling = false;
    let done = true;
    for (const { blob, sizeBytes, pulls } of blobs) {
      const state = directory.stateOf(agent.peerId, blob);
      if (state === undefined) continue;
      const pull = pulls.get(agent.peerId);
      node.totalBytes += sizeBytes;
      node.heldBytes += state === 'have' ? sizeBytes : (pull?.heldBytes ?? 0);
      node.fromOrigin += pull?.fromOrigin ?? 0;
      node.fromPeers += pull?.fromPeers ?? 0;
      if (state === 'have') continue;
      done = false;
      if (pull !== undefined && this.#isLatest(agent.peerId, pull.atMs)) pulling = true;
    }
    const { name = agent.peerId, zone } = agent;
    return { name, zone, state: done ? 'done' : pulling ? 'pulling' : 'waiting', ...node };
  }

  #isPulled({ blob, pulls }: ActiveBlob): boolean {
    return pulls
      .entries()
      .some(
        ([peerId, { atMs }]) =>
          this.#isLatest(peerId, atMs) && this.#dependencies.directory.stateOf(peerId, blob) === 'want',
      );
  }

  /** Whether the agent's last report was the one that spoke of this. */
  #isLatest(peerId: string, atMs: number): boolean {
    return this.#dependencies.reports.of(peerId)?.atMs === atMs;
  }
}

/** Blobs of one repository belong together: most are layers of one image. */
function groupsOf(blobs: readonly ActiveBlob[]): Map<string, ActiveBlob[]> {
  const groups = new Map<string, ActiveBlob[]>();
  for (const blob of blobs) {
    const name = blob.repository === undefined ? blob.blob : `${registryOf(blob.blob)}/${blob.repository}`;
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [blob]);
    else group.push(blob);
  }
  return groups;
}

function sumsOf(nodes: readonly RolloutNode[]): Pick<Rollout, 'nodesDone' | 'heldBytes' | 'totalBytes'> {
  const sums = { nodesDone: 0, heldBytes: 0, totalBytes: 0 };
  for (const { state, heldBytes, totalBytes } of nodes) {
    if (state === 'done') sums.nodesDone++;
    sums.heldBytes += heldBytes;
    sums.totalBytes += totalBytes;
  }
  return sums;
}

/** Without what is under way, which would have to be asked of each node. */
function estimateOf(
  blobs: readonly { sizeBytes: number; holding: number; wanting: number }[],
): Pick<Rollout, 'nodesDone' | 'heldBytes' | 'totalBytes'> {
  const sums = { nodesDone: Math.min(...blobs.map(({ holding }) => holding)), heldBytes: 0, totalBytes: 0 };
  for (const { sizeBytes, holding, wanting } of blobs) {
    sums.heldBytes += sizeBytes * holding;
    sums.totalBytes += sizeBytes * (holding + wanting);
  }
  return sums;
}

function byProgress(one: RolloutNode, other: RolloutNode): number {
  const share = ({ heldBytes, totalBytes, state }: RolloutNode): number =>
    state === 'done' ? 1 : heldBytes / Math.max(1, totalBytes) - (state === 'waiting' ? 1 : 0);
  return share(one) - share(other) || collator.compare(one.name, other.name);
}

const collator = new Intl.Collator('en', { numeric: true });
