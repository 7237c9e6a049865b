/**
 * Tells the tracker what this agent wants and holds, and hears who else does. Wants are announced at once and answered
 * with peers; what is complete or gone is batched, and stays news until the tracker has heard it.
 */
import type { BlobId } from '@shoal/oci';
import { type AnnounceAnswer, announceAnswerSchema, MAX_ACQUAINTANCES, type PeerRecord } from '@shoal/wire';
import { AnnouncedBlobs, type Announcement } from './announced-blobs.ts';
import type { TrackerLink } from './tracker-link.ts';

const NEWS_BATCH_MS = 50;
const MAX_ADDRESSES = 16;

export interface AnnouncerDependencies {
  link: TrackerLink;
  /** Multiaddrs without /p2p where this agent can be dialled now. */
  addresses: () => string[];
  /** Peers of a wanted blob, with each announcement. */
  onPeers: (blob: BlobId, peers: PeerRecord[]) => void;
  /** How many more members this agent would like to know, whatever they hold; asked for with each repetition. */
  acquaintancesWanted: () => number;
  onAcquaintances: (peers: readonly PeerRecord[]) => void;
  /** What people call this node. */
  name?: string | undefined;
  takesOrders?: boolean | undefined;
  /** There are orders to prefetch for this agent. */
  onOrders: () => void;
  /** How often the tracker would like to hear how this node is; undefined: never. */
  onReportEvery: (everyMs: number | undefined) => void;
  /** All members that the tracker has barred lately or suspended. */
  onBarred: (peerIds: readonly string[]) => void;
}

export class Announcer {
  readonly #dependencies: AnnouncerDependencies;
  readonly #blobs = new AnnouncedBlobs();
  /** Members there are, this agent included, as the tracker said last. */
  clusterSize = 1;
  #newsTimer: NodeJS.Timeout | undefined;
  #tellingNews = false;
  #leaving = false;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(dependencies: AnnouncerDependencies) {
    this.#dependencies = dependencies;
  }

  async want(blobs: readonly BlobId[]): Promise<Map<BlobId, PeerRecord[]> | undefined> {
    this.#blobs.want(blobs);
    const { link } = this.#dependencies;
    if (!link.up || this.#leaving) return undefined;
    const found = new Map<BlobId, PeerRecord[]>(blobs.map((blob) => [blob, []]));
    for (const announcement of this.#blobs.wanted(blobs)) {
      const answer = await link.orUndefined(this.#announce(announcement));
      if (answer === undefined) return undefined;
      for (const [blob, peers] of peersBySwarm(answer)) found.set(blob, peers);
    }
    return found;
  }

  unwant(blobs: readonly BlobId[]): void {
    this.#blobs.unwant(blobs);
    this.tellNewsSoon();
  }

  have(blobs: readonly BlobId[]): void {
    this.#blobs.have(blobs);
    this.tellNewsSoon();
  }

  withdraw(blobs: readonly BlobId[]): void {
    this.#blobs.withdraw(blobs);
    this.tellNewsSoon();
  }

  /** The tracker knows nothing any more. */
  forgetHeard(): void {
    this.#blobs.forgetHeard();
    this.tellNewsSoon();
  }

  /** Everything wanted, and the haves whose turn it is. @throws CallError */
  async repeat(): Promise<void> {
    if (this.#leaving) return;
    let count = Math.min(MAX_ACQUAINTANCES, this.#dependencies.acquaintancesWanted());
    for (const announcement of this.#blobs.repetition()) {
      await this.#announce(announcement, count);
      count = 0;
    }
  }

  tellNewsSoon(): void {
    if (!this.#blobs.hasNews || this.#leaving || this.#dependencies.link.closing.aborted) return;
    this.#newsTimer ??= setTimeout(() => {
      this.#newsTimer = undefined;
      void this.#tellNews();
    }, NEWS_BATCH_MS).unref();
  }

  close(): void {
    clearTimeout(this.#newsTimer);
  }

  /** Announces nothing any more; resolves when what was on its way has been answered, so that a goodbye is the last word. */
  async leave(): Promise<void> {
    this.#leaving = true;
    this.close();
    await Promise.allSettled([...this.#underWay]);
  }

  /** What does not arrive stays news until the next round. */
  async #tellNews(): Promise<void> {
    if (this.#tellingNews) return;
    this.#tellingNews = true;
    const { link } = this.#dependencies;
    while (link.up && this.#blobs.hasNews && !this.#leaving) {
      if ((await link.orUndefined(this.#announce(this.#blobs.news()))) === undefined) break;
    }
    this.#tellingNews = false;
  }

  async #announce(announcement: Announcement, acquaintances = 0): Promise<AnnounceAnswer> {
    const { link, addresses, name, takesOrders, onPeers, onAcquaintances, onBarred, onOrders, onReportEvery } =
      this.#dependencies;
    const wanted = acquaintances > 0 ? { acquaintances } : {};
    const body = { addresses: addresses().slice(0, MAX_ADDRESSES), ...announcement, ...wanted, name, takesOrders };
    const call = link.call('/v1/announce', body, announceAnswerSchema);
    this.#underWay.add(call);
    const answer = await call.finally(() => this.#underWay.delete(call));
    this.#blobs.heard(announcement);
    this.clusterSize = answer.members;
    onBarred(answer.barred);
    if (answer.orders === true) onOrders();
    onReportEvery(answer.reportEveryMs);
    if (answer.acquaintances !== undefined) onAcquaintances(answer.acquaintances);
    for (const [blob, peers] of peersBySwarm(answer)) {
      if (peers.length > 0) onPeers(blob, peers);
    }
    return answer;
  }
}

function* peersBySwarm({ peers, swarms }: AnnounceAnswer): Generator<[BlobId, PeerRecord[]]> {
  for (const { blob, peers: indexes } of swarms) yield [blob, indexes.flatMap((index) => peers[index] ?? [])];
}
