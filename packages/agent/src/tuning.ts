/** Settings that a running agent takes over: what they are now is read by the rooms from here on, and nothing else changes. */
import type { TagPolicies, TagPolicy } from './access/tag-policy.ts';
import type { AgentConfig } from './config/agent-config.ts';
import type { TunablePeerNetwork } from './peers/peer-rates.ts';
import type { PieceMemory } from './pull/piece-memory.ts';
import type { ChangingLimit } from './rate/changing-limit.ts';
import type { ResizableStore } from './store/open-store.ts';

export interface TunableRooms {
  store: ResizableStore;
  network: TunablePeerNetwork;
  /** Of everything that comes in. */
  downloads: ChangingLimit;
  pieceMemory: PieceMemory;
}

export class Tuning {
  #config: AgentConfig;

  constructor(config: AgentConfig) {
    this.#config = config;
  }

  get drainTimeoutMs(): number {
    return this.#config.drainTimeoutMs;
  }

  get minFreeDiskBytes(): number {
    return this.#config.minFreeDiskBytes;
  }

  /** What a registry says for itself goes before what is said for all. */
  readonly tags: TagPolicies = (registry): TagPolicy => {
    const { access, registries } = this.#config;
    const own = registries[registry];
    return { freshMs: own?.tagFreshMs ?? access.tagFreshMs, maxStaleMs: own?.tagStaleMs ?? access.tagStaleMs };
  };

  /**
   * Takes over what can change of `next`.
   * @throws StoreError when the store cannot be made as small as it should be; everything has been taken over then
   */
  async apply(next: AgentConfig, { store, network, downloads, pieceMemory }: TunableRooms): Promise<void> {
    const { drainTimeoutMs, cacheSizeBytes, minFreeDiskBytes, limits, access } = next;
    const { tagFreshMs, tagStaleMs } = access;
    const { uploadSlots } = next.peers;
    const now = this.#config;
    this.#config = {
      ...now,
      drainTimeoutMs,
      cacheSizeBytes,
      minFreeDiskBytes,
      limits,
      access: { ...now.access, tagFreshMs, tagStaleMs },
      peers: { ...now.peers, uploadSlots },
    };
    downloads.set(limits.downloadBytesPerSecond);
    pieceMemory.resize(limits.pieceMemoryBytes);
    network.retune({
      uploadSlots,
      uploadBytesPerSecond: limits.uploadBytesPerSecond,
      uploadBytesPerSecondPerPeer: limits.uploadBytesPerSecondPerPeer,
      downloadBytesPerSecondPerPeer: limits.downloadBytesPerSecondPerPeer,
      downloadLane: downloads.laneIfLimited(),
    });
    await store.resize({ quotaBytes: cacheSizeBytes, minFreeDiskBytes });
  }
}
