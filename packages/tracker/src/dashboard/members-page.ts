/** The members, sorted and searched here and told a page at a time, so that ten thousand of them burden neither side. */
import type { Directory, SeenAgent } from '../directory/directory.ts';
import type { MemberRow, MembersPage } from './answers.ts';
import type { NodeReports } from './node-reports.ts';

export const MEMBERS_OF_PAGE = 100;
const MAX_DIGITS = 12;
export const MEMBER_ORDERS = ['name', 'zone', 'version', 'links', 'heard', 'cache', 'peers', 'clients'] as const;
export type MemberOrder = (typeof MEMBER_ORDERS)[number];

export interface MembersQuery {
  order: MemberOrder;
  descending: boolean;
  /** From 1; beyond the last one it is the last one. */
  page: number;
  /** Part of a name, PeerId, zone or version. */
  find: string;
}

export interface MembersDependencies {
  directory: Pick<Directory, 'agents'>;
  reports: Pick<NodeReports, 'of'>;
  isSuspended: (peerId: string) => boolean;
}

const KEYS: Readonly<Record<MemberOrder, (row: MemberRow) => string | number | undefined>> = {
  name: ({ name }) => name,
  zone: ({ zone }) => zone,
  version: ({ version }) => version,
  links: ({ links }) => links,
  heard: ({ heardMsAgo }) => heardMsAgo,
  cache: ({ cacheBytes }) => cacheBytes,
  peers: ({ toPeers }) => toPeers,
  clients: ({ toClients }) => toClients,
};

export function membersPage(query: MembersQuery, dependencies: MembersDependencies, nowMs: number): MembersPage {
  const wanted = query.find.toLowerCase();
  const rows: MemberRow[] = [];
  for (const agent of dependencies.directory.agents()) {
    const row = rowOf(agent, dependencies, nowMs);
    if (wanted === '' || fits(row, wanted)) rows.push(row);
  }
  const key = KEYS[query.order];
  const sign = query.descending ? -1 : 1;
  // What is compared is made once for each: of ten thousand each is compared a dozen times.
  const keyed = rows.map((row) => ({ row, key: sortKey(key(row)), name: sortKey(row.name) }));
  keyed.sort((one, other) => compare(one.key, other.key, sign) || compare(one.name, other.name, 1));
  const pages = Math.max(1, Math.ceil(rows.length / MEMBERS_OF_PAGE));
  const page = Math.min(query.page, pages);
  const from = (page - 1) * MEMBERS_OF_PAGE;
  return { total: rows.length, page, pages, members: keyed.slice(from, from + MEMBERS_OF_PAGE).map(({ row }) => row) };
}

function rowOf(
  { peerId, name = peerId, zone, seenAtMs }: SeenAgent,
  dependencies: MembersDependencies,
  nowMs: number,
): MemberRow {
  const row: MemberRow = {
    peerId,
    name,
    zone,
    heardMsAgo: Math.max(0, nowMs - seenAtMs),
    suspended: dependencies.isSuspended(peerId),
  };
  const node = dependencies.reports.of(peerId);
  if (node === undefined) return row;
  const { version, links, pulls, cache, bytes } = node;
  return { ...row, version, links, pulls, cacheBytes: cache.bytes, quotaBytes: cache.quotaBytes, ...bytes };
}

function fits({ peerId, name, zone, version = '' }: MemberRow, wanted: string): boolean {
  return [name, peerId, zone, version].some((text) => text.toLowerCase().includes(wanted));
}

/** Numbers inside a text count as numbers: node-9 comes before node-10. */
function sortKey(value: string | number | undefined): string | number | undefined {
  if (typeof value !== 'string') return value;
  return value.toLowerCase().replaceAll(/\d+/g, (digits) => digits.padStart(MAX_DIGITS, '0'));
}

/** What is not known comes last, whichever way it is sorted. */
function compare(one: string | number | undefined, other: string | number | undefined, sign: number): number {
  if (one === undefined || other === undefined) return Number(one === undefined) - Number(other === undefined);
  return one === other ? 0 : one < other ? -sign : sign;
}
