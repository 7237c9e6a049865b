// What can go wrong, and for which requests.
import type { Digest } from '@shoal/oci';

/** `signed` are the addresses that `redirect` leads to. */
export type RequestKind = 'ping' | 'manifest' | 'blob' | 'tags' | 'token' | 'signed' | 'other';

/** Byte counts are bytes of the answer's body, not offsets in the blob, unless they say otherwise. */
export type Fault =
  /** Sends that many bytes, then nothing, with the connection open. */
  | { readonly type: 'stall'; readonly afterBytes: number }
  /** Takes the request and never answers. */
  | { readonly type: 'no-answer' }
  | { readonly type: 'delay'; readonly delayMs: number }
  /** RST. The reader may get fewer bytes: a reset throws away what is under way. */
  | { readonly type: 'reset'; readonly afterBytes: number }
  /** FIN before the announced end. */
  | { readonly type: 'cut-short'; readonly afterBytes: number }
  | { readonly type: 'slow'; readonly bytesPerSecond: number }
  /** One bit of the byte at this offset of the blob (or manifest) is turned over. */
  | { readonly type: 'wrong-byte'; readonly offset: number }
  | { readonly type: 'ignore-range' }
  /** Chunked encoding, and no length to HEAD. */
  | { readonly type: 'no-content-length' }
  | { readonly type: 'no-digest-header' }
  /** `retryAfter`: seconds, or a date as HTTP writes it. */
  | { readonly type: 'status'; readonly status: number; readonly retryAfter?: string | number }
  /** 307 to a signed address, on another port unless `sameHost`; `expired` ones answer 403. */
  | { readonly type: 'redirect'; readonly sameHost?: boolean; readonly expired?: boolean; readonly status?: number };

export interface Matcher {
  readonly kind?: RequestKind;
  readonly method?: 'GET' | 'HEAD';
  readonly digest?: Digest;
  /** The path without its query: this text anywhere in it, or a pattern. */
  readonly path?: string | RegExp;
  /** Only requests with (true) or without (false) a Range header. */
  readonly ranged?: boolean;
  /** Only the n-th request that fits the rest, counted from 1 since the fault was injected. */
  readonly nth?: number;
  /** At most so many requests; the fault is over after them. */
  readonly times?: number;
}

export interface MatchedRequest {
  readonly kind: RequestKind;
  readonly method: string;
  readonly path: string;
  readonly digest: Digest | undefined;
  readonly ranged: boolean;
}

/** A fault at work. */
export class InjectedFault {
  readonly matcher: Matcher;
  readonly fault: Fault;
  readonly #remove: (fault: InjectedFault) => void;
  #seen = 0;
  #hits = 0;

  constructor(matcher: Matcher, fault: Fault, remove: (fault: InjectedFault) => void) {
    this.matcher = matcher;
    this.fault = fault;
    this.#remove = remove;
  }

  /** How many requests it struck. */
  get hits(): number {
    return this.#hits;
  }

  /** Ends it for requests to come; those it already struck stay struck. Safe to call again. */
  remove(): void {
    this.#remove(this);
  }

  /** Whether it strikes this request; counts it. */
  strikes(request: MatchedRequest): boolean {
    const { nth, times = Infinity } = this.matcher;
    if (!fits(this.matcher, request)) return false;
    this.#seen++;
    if ((nth !== undefined && this.#seen !== nth) || this.#hits >= times) return false;
    this.#hits++;
    return true;
  }
}

function fits(matcher: Matcher, request: MatchedRequest): boolean {
  const { kind, method, digest, path, ranged } = matcher;
  if (kind !== undefined && kind !== request.kind) return false;
  if (method !== undefined && method !== request.method) return false;
  if (digest !== undefined && digest !== request.digest) return false;
  if (ranged !== undefined && ranged !== request.ranged) return false;
  if (path === undefined) return true;
  return typeof path === 'string' ? request.path.includes(path) : path.test(request.path);
}

export type FaultOf<T extends Fault['type']> = Extract<Fault, { type: T }>;

/** The faults that strike one request, one of each type at most. */
export class Strikes {
  readonly #faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    this.#faults = faults;
  }

  get<T extends Fault['type']>(type: T): FaultOf<T> | undefined {
    return this.#faults.find((fault): fault is FaultOf<T> => fault.type === type);
  }
}
