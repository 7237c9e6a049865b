/**
 * Nothing is kept twice: once containerd has a blob that the agent's own store has too, the own copy goes as soon as nobody reads
 * it, and others get it from containerd's file. A pinned blob stays, as containerd may remove its own at any time.
 */
import type { Logger } from 'pino';
import type { BlobStore } from '../store/blob-store.ts';
import type { ContentShelf } from './content-shelf.ts';

/** What was being read is looked at again. */
const LOOK_EVERY_MS = 10_000;

export interface DuplicatesDependencies {
  own: Pick<BlobStore, 'kept' | 'drop'>;
  content: Pick<ContentShelf, 'isWhole'>;
  logger: Logger;
}

export class Duplicates {
  readonly #dependencies: DuplicatesDependencies;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(dependencies: DuplicatesDependencies) {
    this.#dependencies = dependencies;
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.look(), LOOK_EVERY_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#drop().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #drop(): Promise<void> {
    const { own, content, logger } = this.#dependencies;
    try {
      const double = own.kept().filter(({ id, isInUse, isPinned }) => !isInUse && !isPinned && content.isWhole(id));
      for (const { id } of double) await own.drop(id, 'in-runtime');
      const bytes = double.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      if (double.length > 0) logger.info({ blobs: double.length, bytes }, 'no longer kept here: containerd has them');
    } catch (err) {
      logger.warn({ err }, 'looking for what containerd has, too');
    }
  }
}
