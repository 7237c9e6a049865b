/** One order on this node: its images one after the other, at its rate, until done, failed or cancelled. */
import { type ImageReference, type Platform, parseImageReference, parsePlatform } from '@shoal/oci';
import { type PrefetchProgress, shortReason } from '@shoal/wire';
import { OriginError } from '../origin/origin-client.ts';
import { PullError } from '../pull/pull-error.ts';
import { RateLimit } from '../rate/rate-limit.ts';
import { type FetchedBytes, ImageFetch, type ImageFetchDependencies } from './image-fetch.ts';
import { PrefetchError } from './prefetch-error.ts';

export interface JobRequest {
  images: readonly string[];
  /** `linux/amd64`, or `all`. @default this node's own */
  platform?: string | undefined;
  bytesPerSecond?: number | undefined;
}

export interface JobOptions extends JobRequest {
  ownPlatform: Platform;
  pullId: string;
}

export type JobState = Omit<PrefetchProgress, 'id'>;

export class PrefetchJob {
  readonly #fetches: readonly (readonly [image: string, fetch: ImageFetch])[];
  readonly #abort = new AbortController();
  #walked = false;
  #state: JobState['state'] = 'fetching';
  #reason: string | undefined;
  /** Resolves when it is over, however it ended; never rejects. */
  readonly ended: Promise<void>;

  /** Begins at once. @throws PrefetchError `bad-order` */
  constructor(options: JobOptions, dependencies: ImageFetchDependencies) {
    const { pullId, bytesPerSecond } = options;
    const platform = platformOf(options);
    const lane = bytesPerSecond === undefined ? undefined : new RateLimit({ bytesPerSecond }).lane();
    this.#fetches = options.images.map((name) => {
      const image = imageOf(name);
      return [name, new ImageFetch({ image, platform, lane, pullId }, dependencies)];
    });
    this.ended = this.#run();
  }

  state(): JobState {
    const sum: FetchedBytes = { doneBytes: 0, totalBytes: 0, fromPeers: 0, fromOrigin: 0 };
    for (const [, fetch] of this.#fetches) {
      const { doneBytes, totalBytes, fromPeers, fromOrigin } = fetch.progress();
      sum.doneBytes += doneBytes;
      sum.totalBytes += totalBytes;
      sum.fromPeers += fromPeers;
      sum.fromOrigin += fromOrigin;
    }
    const { totalBytes, ...fetched } = sum;
    return {
      state: this.#state,
      ...fetched,
      ...(this.#walked && { totalBytes }),
      ...(this.#reason !== undefined && { reason: this.#reason }),
    };
  }

  /** Nothing is left under way when `ended` resolves. */
  cancel(why: string): void {
    this.#abort.abort(new PrefetchError('cancelled', why));
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    let current = '';
    try {
      for (const [name, fetch] of this.#fetches) {
        current = name;
        await fetch.walk(signal);
      }
      this.#walked = true;
      for (const [name, fetch] of this.#fetches) {
        current = name;
        await fetch.fetch(signal);
      }
      this.#state = 'done';
    } catch (error) {
      this.#reason = shortReason(signal.aborted ? messageOf(signal.reason) : `${current}: ${messageOf(error)}`);
      this.#state = 'failed';
    }
  }
}

function messageOf(error: unknown): string {
  const refusal = error instanceof PullError && error.cause instanceof OriginError ? error.cause : error;
  if (!(refusal instanceof OriginError)) return error instanceof Error ? error.message : String(error);
  if (refusal.code === 'unauthorized')
    return `the registry does not show it to this node's own credentials (${refusal.message})`;
  if (refusal.code === 'not-found') return `the registry has no such image (${refusal.message})`;
  return refusal.message;
}

/** @throws PrefetchError */
function imageOf(text: string): ImageReference {
  const image = parseImageReference(text);
  if (image === undefined) throw new PrefetchError('bad-order', `${JSON.stringify(text)} is not an image reference`);
  return image;
}

/** @throws PrefetchError */
function platformOf({ platform: text, ownPlatform }: JobOptions): Platform | 'all' {
  if (text === undefined) return ownPlatform;
  if (text === 'all') return text;
  const platform = parsePlatform(text);
  if (platform === undefined) throw new PrefetchError('bad-order', `${JSON.stringify(text)} is not a platform`);
  return platform;
}
