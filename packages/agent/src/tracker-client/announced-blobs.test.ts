import type { BlobId } from '@shoal/oci';
import { MAX_ANNOUNCED_BLOBS } from '@shoal/wire';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AnnouncedBlobs, type Announcement } from './announced-blobs.ts';

const blobOf = (index: number): BlobId => `a.test/sha256:${index.toString(16).padStart(64, '0')}` as BlobId;
const blobs = (count: number): BlobId[] => Array.from({ length: count }, (_, index) => blobOf(index));

/** What the tracker makes of announcements. */
function receive(known: Map<BlobId, 'want' | 'have'>, announcement: Announcement): void {
  for (const blob of announcement.withdraw) known.delete(blob);
  for (const { blob, state } of announcement.blobs) known.set(blob, state);
}

const step = fc.record({
  kind: fc.constantFrom(
    'want',
    'unwant',
    'have',
    'withdraw',
    'send news',
    'send wants',
    'send all',
    'arrive',
    'restart',
  ),
  blob: fc.nat(3).map(blobOf),
  pick: fc.nat(5),
});

test('whatever happens while announcements are on their way, and in whatever order they arrive, the tracker ends right', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const announced = new AnnouncedBlobs();
      const known = new Map<BlobId, 'want' | 'have'>();
      const truth = { wants: new Set<BlobId>(), haves: new Set<BlobId>() };
      let flying: Announcement[] = [];
      const arrive = (announcement: Announcement): void => {
        receive(known, announcement);
        announced.heard(announcement);
      };
      for (const { kind, blob, pick } of steps) {
        if (kind === 'want') announced.want([blob]);
        if (kind === 'want') truth.wants.add(blob);
        if (kind === 'unwant') announced.unwant([blob]);
        if (kind === 'unwant') truth.wants.delete(blob);
        if (kind === 'have') announced.have([blob]);
        if (kind === 'have') truth.haves.add(blob);
        if (kind === 'withdraw') announced.withdraw([blob]);
        if (kind === 'withdraw') truth.haves.delete(blob);
        if (kind === 'send news') flying.push(announced.news());
        if (kind === 'send wants') flying.push(...announced.wanted(truth.wants));
        if (kind === 'send all') flying.push(...announced.repetition());
        if (kind === 'arrive') {
          const [one] = flying.splice(pick % Math.max(1, flying.length), 1);
          if (one !== undefined) arrive(one);
        }
        if (kind === 'restart') {
          known.clear();
          flying = [];
          announced.forgetHeard();
        }
      }
      for (const announcement of flying) arrive(announcement);
      for (let turn = 0; announced.hasNews; turn++) {
        expect(turn).toBeLessThan(10);
        arrive(announced.news());
      }
      for (const announcement of announced.repetition()) arrive(announcement);
      const expected = new Map<BlobId, string>([...truth.wants].map((blob) => [blob, 'want']));
      for (const blob of truth.haves) expected.set(blob, 'have');
      expect(new Map([...known].sort())).toEqual(new Map([...expected].sort()));
    }),
    { numRuns: 1000 },
  );
});

test('of many blobs, each repetition carries another part until all had their turn', () => {
  const announced = new AnnouncedBlobs();
  const all = blobs(2 * MAX_ANNOUNCED_BLOBS + 5);
  announced.have(all);
  const repeated = new Set<BlobId>();
  for (let turn = 0; turn < 3; turn++) {
    for (const announcement of announced.repetition()) {
      for (const { blob } of announcement.blobs) repeated.add(blob);
      announced.heard(announcement);
    }
  }
  expect(repeated.size).toBe(all.length);
});

test('many wants are cut into announcements of the allowed size', () => {
  const announced = new AnnouncedBlobs();
  const all = blobs(MAX_ANNOUNCED_BLOBS + 1);
  announced.want(all);
  expect([...announced.wanted(all)].map((announcement) => announcement.blobs.length)).toEqual([MAX_ANNOUNCED_BLOBS, 1]);
});

test('an agent with nothing to say still says that it is there', () => {
  expect([...new AnnouncedBlobs().repetition()]).toEqual([{ blobs: [], withdraw: [] }]);
});
