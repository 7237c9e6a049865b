/**
 * Which addresses the agent may dial for a registry that nobody configured. Image names come from whoever can reach
 * the mirror, and names resolve to whatever their owner says, so anything that is not plainly on the public internet
 * is refused: loopback, link-local (cloud metadata), private, CGNAT, multicast, unspecified, documentation ranges.
 */
import { BlockList, isIP } from 'node:net';

const SPECIAL_IPV4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
];

/** Everything outside 2000::/3 is special too; these are the exceptions inside it. */
const SPECIAL_IPV6: readonly (readonly [string, number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
];

const specialIpv4 = new BlockList();
for (const [network, prefix] of SPECIAL_IPV4) specialIpv4.addSubnet(network, prefix, 'ipv4');
const specialIpv6 = new BlockList();
for (const [network, prefix] of SPECIAL_IPV6) specialIpv6.addSubnet(network, prefix, 'ipv6');
const globalIpv6 = new BlockList();
globalIpv6.addSubnet('2000::', 3, 'ipv6');

/** Whether an IP address (no brackets; a zone is ignored) belongs to the public internet. False for anything else. */
export function isPublicAddress(address: string): boolean {
  const [bare = ''] = address.split('%', 1);
  const family = isIP(bare);
  if (family === 4) return !specialIpv4.check(bare, 'ipv4');
  if (family !== 6) return false;
  const translated = nat64Target(bare);
  if (translated !== undefined) return isPublicAddress(translated);
  return globalIpv6.check(bare, 'ipv6') && !specialIpv6.check(bare, 'ipv6');
}

/** The IPv4 address inside 64:ff9b::/96 (RFC 6052): how IPv6-only clusters see IPv4 registries. */
function nat64Target(address: string): string | undefined {
  const canonical = URL.parse(`http://[${address}]/`)?.hostname ?? '';
  const groups = /^\[64:ff9b::(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,4})\]$/.exec(canonical);
  if (groups === null) return undefined;
  const high = Number.parseInt(groups[1] ?? '0', 16);
  const low = Number.parseInt(groups[2] ?? '0', 16);
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** Whether a URL's host name (IPv6 in brackets) may be public, before it is resolved. */
export function mayBePublicHost(hostname: string): boolean {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  if (isIP(bare) !== 0) return isPublicAddress(bare);
  const name = bare.endsWith('.') ? bare.slice(0, -1) : bare;
  return name.includes('.') && !name.endsWith('.localhost');
}
