/** Which of a node's addresses are worth telling others. */

/** As many as the tracker's API takes. */
const MAX_ADDRESSES = 16;

/**
 * Multiaddrs without /p2p, without those nobody else can dial: loopback, unspecified and IPv6 link-local ones. When
 * nothing else is left, loopback ones are kept, for several agents on one machine.
 */
export function dialableAddresses(multiaddrs: readonly string[]): string[] {
  const bare = [...new Set(multiaddrs.map((address) => address.replace(/\/p2p\/[^/]+$/, '')))];
  const dialable = bare.filter(
    (address) => !/^\/ip4\/0\.0\.0\.0\/|^\/ip6\/::\/|^\/ip6\/fe[89ab][0-9a-f]:/i.test(address),
  );
  const reachable = dialable.filter((address) => !/^\/ip4\/127\.|^\/ip6\/::1\//.test(address));
  return (reachable.length > 0 ? reachable : dialable).slice(0, MAX_ADDRESSES);
}
