/** Blobs that nobody read for long enough go, also while the agent has nothing else to do. */
import type { Logger } from 'pino';
import type { BlobStore } from './blob-store.ts';

/** Looked at ten times within a blob's time, and not more often than every second, nor less than every ten minutes. */
const LOOKS_PER_TTL = 10;
const MIN_LOOK_MS = 1_000;
const MAX_LOOK_MS: number = 10 * 60_000;

export interface ExpiryOptions {
  /** How long a blob is kept after its last use. */
  ttlMs: number;
}

export interface ExpiryDependencies {
  store: Pick<BlobStore, 'shed'>;
  logger: Logger;
  /** Milliseconds since 1970. */
  clock: () => number;
}

export class Expiry {
  readonly #ttlMs: number;
  readonly #dependencies: ExpiryDependencies;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor({ ttlMs }: ExpiryOptions, dependencies: ExpiryDependencies) {
    this.#ttlMs = ttlMs;
    this.#dependencies = dependencies;
  }

  /** Looks once, and goes on looking. */
  async start(): Promise<void> {
    await this.#look();
    const everyMs = Math.min(MAX_LOOK_MS, Math.max(MIN_LOOK_MS, this.#ttlMs / LOOKS_PER_TTL));
    this.#timer = setInterval(() => void this.#look(), everyMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  #look(): Promise<void> {
    this.#looking ??= this.#expire().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #expire(): Promise<void> {
    const { store, logger, clock } = this.#dependencies;
    try {
      const { blobs, partials, bytes } = await store.shed({ unusedSinceMs: clock() - this.#ttlMs }, 'expired');
      if (blobs.length + partials > 0)
        logger.info({ blobs: blobs.length, partials, bytes }, 'removed what nobody read');
    } catch (err) {
      logger.warn({ err }, 'looking for what nobody reads');
    }
  }
}
