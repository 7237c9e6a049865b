/**
 * Whether others can dial this agent, shown rather than believed: a connected member is asked to dial it back.
 *
 *   asker  ── stream of /shoal/dial-back/1: ASK ──► member
 *          ◄── a handshake at each address ──────── member     it must prove to be the asker
 *          ◄── ANSWER: which were reached ────────── member
 *
 * It cannot be used to reach for anybody else. The member dials only what the asker's own signed record named when they
 * connected, eight addresses at most, never loopback, link-local or this machine's own ones unless the asker is on the same
 * machine; it says no more than a TLS handshake there, learns whether the asker answered and tells nothing else, for all addresses
 * at once; and it does so twice in 20 s for one member, for four at a time. Unless the asker was reached at all of them the answer
 * always takes as long: a port that is closed, filtered or another's looks the same.
 *
 * A build that does not know the protocol says so when the stream is opened, and goes on trading.
 */
import { lookup } from 'node:dns/promises';
import { BlockList, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SecureContext } from 'node:tls';
import { type Connection, type Stream, UnsupportedProtocolError } from '@libp2p/interface';
import {
  DIAL_BACK_PROTOCOL,
  type DialBackFrame,
  type DialledBack,
  decodeDialBackBody,
  encodeDialBackFrame,
  FrameAssembler,
  MAX_DIAL_BACK_BODY_BYTES,
  MAX_DIALLED_BACK,
} from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import type { Uint8ArrayList } from 'uint8arraylist';
import { TokenBucket } from '../rate/token-bucket.ts';
import { unlessAborted } from '../unless-aborted.ts';
import type { DialBackFinding } from './peer-network.ts';
import { askVersions } from './tls/versions.ts';

/** For one address. */
const DIAL_WITHIN_MS = 1_500;
/** When the answer leaves that some address is not the asker's: after all that was dialled in vain has run out. */
const ANSWER_AFTER_MS: number = DIAL_WITHIN_MS + 100;
/** For the question, or for the answer, after it. */
const FRAME_WITHIN_MS = 2_500;
const PER_MEMBER = { perSecond: 0.1, burst: 2 };
const MAX_REMEMBERED_MEMBERS = 1_024;
/** What a member found counts for so long, and it is not asked again. */
const FOUND_COUNTS_MS = 15_000;
const MAX_UNDER_WAY = 4;
/** Members that are asked at once. */
const MAX_ASKED = 3;
const MULTIADDR = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d{1,5})$/;

const loopbackAndLink = new BlockList();
loopbackAndLink.addSubnet('127.0.0.0', 8, 'ipv4');
loopbackAndLink.addSubnet('0.0.0.0', 8, 'ipv4');
loopbackAndLink.addSubnet('169.254.0.0', 16, 'ipv4');
loopbackAndLink.addAddress('::', 'ipv6');
loopbackAndLink.addAddress('::1', 'ipv6');
loopbackAndLink.addSubnet('fe80::', 10, 'ipv6');

export type DialBackAnswer = Pick<DialBackFinding, 'outcome' | 'tried'>;

/** A member that may be asked, the one met last the last. */
export interface AskedLink {
  peerId: string;
  zone: string;
  askDialBack(dialBack: DialBack, signal: AbortSignal): Promise<DialBackAnswer>;
}

/** A member that asks to be dialled. */
export interface DialBackAsker {
  peerId: string;
  /** Its connection's other end, an IP address. */
  host: string;
  /** What its signed record named: multiaddrs without /p2p. */
  addresses: readonly string[];
}

export interface DialBackDependencies {
  /** What this agent shows at handshakes. */
  context: SecureContext;
  /** Monotonic milliseconds. */
  now: () => number;
}

export class DialBack {
  readonly #dependencies: DialBackDependencies;
  readonly #asked = new LRUCache<string, TokenBucket>({ max: MAX_REMEMBERED_MEMBERS });
  readonly #found = new LRUCache<string, DialBackAnswer>({ max: MAX_REMEMBERED_MEMBERS, ttl: FOUND_COUNTS_MS });
  readonly #stopped = new AbortController();
  #underWay = 0;

  constructor(dependencies: DialBackDependencies) {
    this.#dependencies = dependencies;
  }

  /** Asks those met last: the chance is best that they know the addresses that this agent has now. */
  async askSome(links: readonly AskedLink[], signal: AbortSignal): Promise<DialBackFinding[]> {
    return await Promise.all(
      links.slice(-MAX_ASKED).map(async (link) => {
        const { peerId, zone } = link;
        return { peerId, zone, ...(await link.askDialBack(this, signal)) };
      }),
    );
  }

  /** Asks the member at the other end. */
  async ask(connection: Connection, signal: AbortSignal): Promise<DialBackAnswer> {
    const peerId = connection.remotePeer.toString();
    const found = this.#found.get(peerId);
    if (found !== undefined) return found;
    const within = AbortSignal.any([signal, this.#stopped.signal, AbortSignal.timeout(FRAME_WITHIN_MS)]);
    let stream: Stream | undefined;
    try {
      stream = await connection.newStream(DIAL_BACK_PROTOCOL, { signal: within });
      const answer = frameOf(stream, within);
      stream.send(encodeDialBackFrame({ type: 'ask' }));
      const frame = await answer;
      if (frame.type === 'answer') {
        const answer = { outcome: 'answered', tried: frame.tried } as const;
        this.#found.set(peerId, answer);
        return answer;
      }
      return { outcome: frame.type === 'refuse' ? 'refused' : 'failed', tried: [] };
    } catch (error) {
      return { outcome: error instanceof UnsupportedProtocolError ? 'unsupported' : 'failed', tried: [] };
    } finally {
      stream?.abort(new Error('answered'));
    }
  }

  /** Answers a member. Never throws. Must be called before anything is awaited. */
  async serve(stream: Stream, asker: DialBackAsker): Promise<void> {
    const { signal } = this.#stopped;
    try {
      const frame = await frameOf(stream, AbortSignal.any([signal, AbortSignal.timeout(FRAME_WITHIN_MS)]));
      if (frame.type !== 'ask') throw new TypeError(`${frame.type} is no question`);
      stream.send(encodeDialBackFrame(await this.#answer(asker)));
      await stream.close({ signal: AbortSignal.timeout(FRAME_WITHIN_MS) });
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }

  stop(): void {
    this.#stopped.abort(new Error('stopping'));
  }

  async #answer(asker: DialBackAsker): Promise<DialBackFrame> {
    if (this.#underWay >= MAX_UNDER_WAY || !this.#mayAsk(asker.peerId)) return { type: 'refuse' };
    this.#underWay++;
    try {
      const addresses = asker.addresses.slice(0, MAX_DIALLED_BACK);
      const uniform = sleep(ANSWER_AFTER_MS, undefined, { signal: this.#stopped.signal });
      uniform.catch(() => {});
      const tried = await Promise.all(addresses.map((address) => this.#try(address, asker)));
      if (!tried.every((one) => one?.reached === true)) await uniform;
      return { type: 'answer', tried: tried.filter((one) => one !== undefined) };
    } finally {
      this.#underWay--;
    }
  }

  #mayAsk(peerId: string): boolean {
    const nowMs = this.#dependencies.now();
    const bucket = this.#asked.get(peerId) ?? new TokenBucket(PER_MEMBER, nowMs);
    this.#asked.set(peerId, bucket);
    return bucket.take(1, nowMs);
  }

  /** Undefined: not an address that may be dialled for others. */
  async #try(address: string, { peerId, host: askerHost }: DialBackAsker): Promise<DialledBack | undefined> {
    const [, name, port] = MULTIADDR.exec(address) ?? [];
    if (name === undefined) return undefined;
    const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(DIAL_WITHIN_MS)]);
    try {
      // The one address that is looked at is also the one that is dialled.
      const { address: host } = await unlessAborted(lookup(name), signal);
      if (isOwnMachine(host) && !isOwnMachine(askerHost)) return undefined;
      const versions = await askVersions({ host, port: Number(port), peerId }, this.#dependencies.context, signal);
      return { address, reached: versions !== undefined };
    } catch {
      return { address, reached: false };
    }
  }
}

/** Its interfaces come and go. */
function isOwnMachine(address: string): boolean {
  const family = isIPv6(address) ? 'ipv6' : 'ipv4';
  if (loopbackAndLink.check(address, family)) return true;
  const own = new BlockList();
  for (const each of Object.values(networkInterfaces()).flat()) {
    if (each !== undefined) own.addAddress(each.address, each.family === 'IPv6' ? 'ipv6' : 'ipv4');
  }
  return own.check(address, family);
}

/** The one frame that the other side sends. Must be called before anything is awaited. @throws Error */
function frameOf(stream: Stream, signal: AbortSignal): Promise<DialBackFrame> {
  const { promise, resolve, reject } = Promise.withResolvers<DialBackFrame>();
  const assembler = new FrameAssembler(MAX_DIAL_BACK_BODY_BYTES);
  stream.addEventListener('message', ({ data }: { data: Uint8Array | Uint8ArrayList }) => {
    try {
      for (const chunk of data instanceof Uint8Array ? [data] : data) {
        const { body } = assembler.take(chunk, 0);
        if (body !== undefined) resolve(decodeDialBackBody(body));
      }
    } catch (error) {
      reject(error);
    }
  });
  stream.addEventListener('close', () => reject(new Error('the stream ended')));
  signal.addEventListener('abort', () => reject(new Error('nothing came in time')), { once: true });
  promise.catch(() => {});
  return promise;
}
