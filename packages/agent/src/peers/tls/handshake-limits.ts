/**
 * Who may begin a handshake. Each costs a millisecond of a processor, and whoever comes need not be a member: one address has
 * a part of the places, and so many handshakes per second. Whoever has IPv6 has 2^64 addresses (RFC 6177), which count as one.
 */
import { isIPv6, SocketAddress } from 'node:net';
import { LRUCache } from 'lru-cache';
import { TokenBucket } from '../../rate/token-bucket.ts';

const MAX_UNDER_WAY = 128;
const MAX_UNDER_WAY_PER_ADDRESS = 32;
/** Several times the agents that one agent is connected to, should all of them be behind one address. */
const BURST = 256;
const PER_SECOND = 20;
const MAX_ADDRESSES = 4_096;

export class HandshakeLimits {
  readonly #now: () => number;
  readonly #underWay = new Map<string, number>();
  readonly #rates = new LRUCache<string, TokenBucket>({ max: MAX_ADDRESSES });
  #total = 0;

  /** @param now monotonic milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** What is to be called, once, when the handshake is over; undefined when it may not begin. */
  begin(address: string): (() => void) | undefined {
    const key = networkOf(address);
    const here = this.#underWay.get(key) ?? 0;
    if (this.#total >= MAX_UNDER_WAY || here >= MAX_UNDER_WAY_PER_ADDRESS) return undefined;
    const rate = this.#rates.get(key) ?? new TokenBucket({ perSecond: PER_SECOND, burst: BURST }, this.#now());
    this.#rates.set(key, rate);
    if (!rate.take(1, this.#now())) return undefined;
    this.#total++;
    this.#underWay.set(key, here + 1);
    return () => {
      this.#total--;
      const left = (this.#underWay.get(key) ?? 0) - 1;
      if (left > 0) this.#underWay.set(key, left);
      else this.#underWay.delete(key);
    };
  }
}

/** The address, or the /64 that it is in. */
function networkOf(address: string): string {
  const plain = address.replace(/%.*$/, '');
  if (!isIPv6(plain)) return address;
  const { address: short } = new SocketAddress({ address: plain, family: 'ipv6' });
  if (short.includes('.')) return short;
  const [head = '', tail] = short.split('::') as [string, string | undefined];
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  while (tail !== undefined && groups.length + after.length < 8) groups.push('0');
  return `${[...groups, ...after].slice(0, 4).join(':')}::/64`;
}
