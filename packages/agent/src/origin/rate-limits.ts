/**
 * What registries say about how much more they will serve: `RateLimit-*` headers as Docker Hub sends them with manifests
 * (https://docs.docker.com/docker-hub/usage/pulls/), and 429 with Retry-After. While a registry wants to be left alone by
 * somebody, that asker's small requests end at once: each try would count, and what is known must do.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { LRUCache } from 'lru-cache';
import { parseRetryAfter } from './failure.ts';
import { OriginError } from './origin-client.ts';

/** When a 429 does not say how long. */
const DEFAULT_WAIT_MS = 5_000;
/** However long it says: limits may be lifted, by a login for example. */
const MAX_WAIT_MS = 60_000;
const MAX_ASKERS = 1_024;

export interface RateLimitReading {
  /** Pulls per window, and those left of them. */
  limit: number | undefined;
  remaining: number;
}

/** `100;w=21600`: a number, with the window in seconds. */
export function readRateLimit(headers: IncomingHttpHeaders): RateLimitReading | undefined {
  const remaining = countOf(headers['ratelimit-remaining']);
  return remaining === undefined ? undefined : { remaining, limit: countOf(headers['ratelimit-limit']) };
}

function countOf(header: string | string[] | undefined): number | undefined {
  const [, digits] = /^\s*(\d{1,12})\s*(;|,|$)/.exec(typeof header === 'string' ? header : '') ?? [];
  return digits === undefined ? undefined : Number(digits);
}

export class RateLimits {
  readonly #clock: () => number;
  /** Until when, by registry and asker. */
  readonly #waits = new LRUCache<string, number>({ max: MAX_ASKERS });

  /** @param clock milliseconds since the epoch */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** @throws OriginError `rate-limited` while the registry wants this asker to wait */
  mustMayAsk(registry: string, asker: string): void {
    const waitMs = (this.#waits.get(`${registry} ${asker}`) ?? 0) - this.#clock();
    if (waitMs <= 0) return;
    const message = `${registry} wants to be asked again in ${Math.ceil(waitMs / 1000)} s`;
    throw new OriginError('rate-limited', message, { status: 429, retryAfterMs: waitMs });
  }

  answered(registry: string, asker: string, status: number, headers: IncomingHttpHeaders): void {
    if (status !== 429) return;
    const nowMs = this.#clock();
    const waitMs = parseRetryAfter(headers['retry-after'], nowMs) ?? DEFAULT_WAIT_MS;
    this.#waits.set(`${registry} ${asker}`, nowMs + Math.min(waitMs, MAX_WAIT_MS));
  }
}
