/**
 * What containerd keeps on this node, as a second, read-only source of blobs: announced and served like the agent's own, but for
 * what it does not do. It never writes there, never asks containerd to keep anything, and hands out nothing whose whole hash this
 * agent has not found right itself.
 *
 *     ContentWatch ── what is there, and whose ──► ContentShelf ── whole ──► announced
 *     (socket, folder)                               ▲     │
 *                                      SharedStore ──┘     └──► Duplicates: own copies go
 */
import type { BlobId, Digest } from '@shoal/oci';
import type { Logger } from 'pino';
import type { BlobRecord, BlobStore } from '../store/blob-store.ts';
import { ContentShelf, type ContentUsage } from './content-shelf.ts';
import { type ContentStanding, ContentWatch, type ContentWatchOptions } from './content-watch.ts';
import { Duplicates } from './duplicates.ts';
import { SharedStore } from './shared-store.ts';

/** How it is, for status, metrics and `shoal doctor`. */
export type RuntimeContentReport = ContentStanding & ContentUsage;

export interface RuntimeContentDependencies {
  own: BlobStore;
  /** The name under which this agent shares what a registry has. */
  idOf: (registry: string, digest: Digest) => BlobId;
  /** It can be given out, and could not before. */
  onHeld: (blob: BlobRecord) => void;
  /** It cannot be given out any more, from nowhere. */
  onLost: (blob: BlobRecord) => void;
  logger: Logger;
  /** Milliseconds since 1970. */
  clock: () => number;
}

export class RuntimeContent {
  /** The agent's own store and containerd's together. */
  readonly store: BlobStore;
  readonly #shelf: ContentShelf;
  readonly #watch: ContentWatch;
  readonly #duplicates: Duplicates;

  constructor(options: ContentWatchOptions, dependencies: RuntimeContentDependencies) {
    const { own, idOf, onHeld, onLost, logger, clock } = dependencies;
    this.#shelf = new ContentShelf(
      {},
      {
        logger,
        onWhole: (blob) => {
          onHeld(blob);
          // Looking goes through all that is kept here, and most of what containerd has is not.
          own.find(blob.id).then(
            (kept) => kept && this.#duplicates.look(),
            () => undefined,
          );
        },
        onGone: (blob) => {
          own.find(blob.id).then(
            (kept) => kept ?? onLost(blob),
            () => undefined,
          );
        },
      },
    );
    this.store = new SharedStore(own, this.#shelf);
    this.#duplicates = new Duplicates({ own, content: this.#shelf, logger });
    this.#watch = new ContentWatch(options, { shelf: this.#shelf, idOf, logger, clock });
  }

  start(): void {
    this.#watch.start();
    this.#duplicates.start();
  }

  /** Whether it is in containerd's store and can be given out from there. */
  has(id: BlobId): boolean {
    return this.#shelf.isWhole(id);
  }

  report(): RuntimeContentReport {
    return { ...this.#watch.standing(), ...this.#shelf.usage() };
  }

  async stop(): Promise<void> {
    await this.#watch.stop();
    await this.#duplicates.stop();
    await this.#shelf.close();
  }
}
