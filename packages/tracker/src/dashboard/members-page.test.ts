import { beforeEach, expect, test } from 'vitest';
import { MEMBERS_OF_PAGE, type MembersQuery, membersPage } from './members-page.ts';
import { REPORT_TTL_MS } from './node-reports.ts';
import { DashboardRooms, reportOf } from './rooms.fixture.ts';

let rooms: DashboardRooms;
const ask = (query: Partial<MembersQuery> = {}, nowMs = 0) =>
  membersPage(
    { order: 'name', descending: false, page: 1, find: '', ...query },
    { directory: rooms.directory, reports: rooms.reports, isSuspended: (peerId) => peerId === 'p2' },
    nowMs,
  );
const names = (query: Partial<MembersQuery> = {}) => ask(query).members.map(({ name }) => name);

beforeEach(() => {
  rooms = new DashboardRooms();
});

test('names are sorted as people count, and what is not known comes last either way', () => {
  for (const [peerId, name] of [
    ['p1', 'node-10'],
    ['p2', 'node-9'],
    ['p3', 'node-1'],
  ])
    rooms.say(peerId!, 'want', [], 0, name);
  expect(names()).toEqual(['node-1', 'node-9', 'node-10']);
  expect(names({ descending: true })).toEqual(['node-10', 'node-9', 'node-1']);
  rooms.reports.take('p2', reportOf([], { links: 7 }), 0);
  rooms.reports.take('p3', reportOf([], { links: 9 }), 0);
  expect(names({ order: 'links' })).toEqual(['node-9', 'node-1', 'node-10']);
  expect(names({ order: 'links', descending: true })).toEqual(['node-1', 'node-9', 'node-10']);
});

test('a member that reports nothing is there with what its announcements tell, and without a name by its PeerId', () => {
  rooms.say('p1', 'want', []);
  rooms.say('p2', 'want', [], 0, 'node-2');
  rooms.reports.take('p2', reportOf(), 0);
  expect(ask({}, 4_000).members).toEqual([
    expect.objectContaining({ name: 'node-2', version: '1.2.3', links: 3, suspended: true, heardMsAgo: 4_000 }),
    { peerId: 'p1', name: 'p1', zone: 'zone-a', heardMsAgo: 4_000, suspended: false },
  ]);
});

test('ten thousand members come a page at a time', () => {
  for (let node = 0; node < 10_000; node++) rooms.say(`p${node}`, 'want', [], 0, `node-${node}`);
  const last = ask({ page: 9_999 });
  expect(last).toMatchObject({ total: 10_000, page: 100, pages: 100 });
  expect(last.members).toHaveLength(MEMBERS_OF_PAGE);
  expect(last.members.at(-1)?.name).toBe('node-9999');
  expect(ask({ find: 'NODE-999' })).toMatchObject({ total: 11, page: 1, pages: 1 });
});

test('what a node said is forgotten when it says nothing more, also in the sums', () => {
  rooms.say('p1', 'want', []);
  rooms.reports.take('p1', reportOf(), 0);
  rooms.reports.take('p1', reportOf([], { cache: { bytes: 30, quotaBytes: 100, blobs: 1 } }), 1_000);
  expect([rooms.reports.size, rooms.reports.cache]).toEqual([1, { bytes: 30, quotaBytes: 100 }]);
  rooms.reports.expire(1_000 + REPORT_TTL_MS);
  expect([rooms.reports.size, rooms.reports.cache]).toEqual([0, { bytes: 0, quotaBytes: 0 }]);
});
