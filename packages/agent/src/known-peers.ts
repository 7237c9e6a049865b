/**
 * Members met before, kept on disk: with no tracker they are asked directly. Bounded; the oldest acquaintance goes first.
 */
import type { PeerRecord } from '@shoal/wire';
import { z } from 'zod';
import type { BlobStore } from './store/blob-store.ts';

const PREFIX = 'peer/';
const MAX_KNOWN_PEERS = 128;

const noteSchema = z.object({ peerId: z.string(), addresses: z.array(z.string()), zone: z.string() });

export class KnownPeers {
  readonly #notes: BlobStore['notes'];
  readonly #peers = new Map<string, PeerRecord>();

  constructor(notes: BlobStore['notes']) {
    this.#notes = notes;
  }

  /** Reads what earlier runs left; what cannot be read is forgotten. */
  async load(): Promise<void> {
    for await (const [key, value] of this.#notes.entries(PREFIX)) {
      const parsed = noteSchema.safeParse(parseJson(value));
      if (parsed.success && this.#peers.size < MAX_KNOWN_PEERS) this.#peers.set(key, parsed.data);
      else await this.#notes.delete(key);
    }
  }

  async remember(peer: PeerRecord): Promise<void> {
    if (peer.addresses.length === 0) return;
    const key = `${PREFIX}${peer.peerId}`;
    const known = this.#peers.get(key);
    this.#peers.delete(key);
    this.#peers.set(key, peer);
    if (known === undefined || known.addresses.join() !== peer.addresses.join()) {
      const { peerId, addresses, zone } = peer;
      await this.#notes.put(key, JSON.stringify({ peerId, addresses, zone }));
    }
    const oldest = this.#peers.keys().next().value;
    if (this.#peers.size > MAX_KNOWN_PEERS && oldest !== undefined) {
      this.#peers.delete(oldest);
      await this.#notes.delete(oldest);
    }
  }

  all(): PeerRecord[] {
    return [...this.#peers.values()];
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
