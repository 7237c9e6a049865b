// What the registry was asked for and what it really sent. Body bytes count when they leave for the network, so an
// answer that was cut, reset or given up counts for what went out.
import type { Digest } from '@shoal/oci';
import type { RequestKind } from './fault.ts';

const keptRequests = 200_000;

export interface Tally {
  requests: number;
  bytes: number;
}

export interface OriginStats extends Readonly<Tally> {
  readonly byKind: Readonly<Record<RequestKind, Readonly<Tally>>>;
  readonly byMethod: Readonly<Record<string, Readonly<Tally>>>;
  /** By path without query. */
  readonly byPath: Readonly<Record<string, Readonly<Tally>>>;
  /** By content, blobs and manifests, wherever it was read (also from signed addresses). */
  readonly byDigest: Readonly<Record<Digest, Readonly<Tally>>>;
  /** Bytes of blobs, from the registry and from signed addresses. */
  readonly blobBytes: number;
}

export interface LoggedRequest {
  readonly kind: RequestKind;
  readonly method: string;
  /** Without query. */
  readonly path: string;
  readonly digest: Digest | undefined;
  readonly range: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** 0 until there is an answer. */
  status: number;
  /** Body bytes sent so far. */
  bytes: number;
}

export class RequestTally {
  #log: LoggedRequest[] = [];

  /** The newest requests, oldest first. */
  get log(): readonly LoggedRequest[] {
    return this.#log;
  }

  add(request: LoggedRequest): void {
    if (this.#log.length >= keptRequests) throw new Error(`a test made more than ${keptRequests} requests`);
    this.#log.push(request);
  }

  reset(): void {
    this.#log = [];
  }

  stats(): OriginStats {
    const total = zero();
    const byKind: Record<RequestKind, Tally> = {
      ping: zero(),
      manifest: zero(),
      blob: zero(),
      tags: zero(),
      token: zero(),
      signed: zero(),
      other: zero(),
    };
    const byMethod: Record<string, Tally> = {};
    const byPath: Record<string, Tally> = {};
    const byDigest: Record<string, Tally> = {};
    for (const { kind, method, path, digest, bytes } of this.#log) {
      const tallies = [total, byKind[kind], at(byMethod, method), at(byPath, path)];
      if (digest !== undefined) tallies.push(at(byDigest, digest));
      for (const tally of tallies) {
        tally.requests++;
        tally.bytes += bytes;
      }
    }
    return { ...total, byKind, byMethod, byPath, byDigest, blobBytes: byKind.blob.bytes + byKind.signed.bytes };
  }
}

function zero(): Tally {
  return { requests: 0, bytes: 0 };
}

function at(tallies: Record<string, Tally>, key: string): Tally {
  const tally = tallies[key] ?? zero();
  tallies[key] = tally;
  return tally;
}
