import type { Digest } from '@shoal/oci';
import type { ReferenceRecord } from '@shoal/wire';
import { beforeEach, expect, test } from 'vitest';
import { heldContent, MAX_FOUND } from './held-content.ts';
import { blobOf, DashboardRooms, pullOf, reportOf } from './rooms.fixture.ts';

let rooms: DashboardRooms;
let references: ReferenceRecord[];
const find = (text: string) =>
  heldContent(text, { directory: rooms.directory, blobs: rooms.blobs, state: { references: () => references } });

function reference(repository: string, tag: string | undefined, index: number, scope = 'nobody'): ReferenceRecord {
  const digest = blobOf(index).slice('a.test/'.length) as Digest;
  const { registry, mediaType, sizeBytes } = { registry: 'a.test', mediaType: 'm/t', sizeBytes: 1 };
  return { registry, repository, reference: tag ?? digest, scope, digest, mediaType, sizeBytes, resolvedAtMs: index };
}

beforeEach(() => {
  rooms = new DashboardRooms();
  references = [];
});

test('an image is found by part of its name or digest, with those that hold its manifest, once for all logins', () => {
  references = [
    reference('org/app', 'v1', 1),
    reference('org/app', 'v1', 1, 'x'),
    reference('org/app', undefined, 1),
    reference('org/other', 'v1', 2),
  ];
  rooms.say('p1', 'have', blobOf(1), 0, 'node-1');
  rooms.say('p2', 'want', blobOf(1), 0, 'node-2');
  for (const text of ['ORG/app', 'app:v1', references[0]!.digest]) {
    expect(find(text).images, text).toEqual([
      {
        image: 'a.test/org/app:v1',
        digest: references[0]!.digest,
        resolvedAtMs: 1,
        holding: 1,
        wanting: 1,
        nodes: ['node-1'],
      },
    ]);
  }
  expect(find('').images.map(({ image }) => image)).toEqual(['a.test/org/other:v1', 'a.test/org/app:v1']);
});

test('a blob is found by its digest, and by the repository that an agent pulled it from', () => {
  rooms.say('p1', 'want', [blobOf(1), blobOf(2)], 0, 'node-1');
  rooms.reports.take('p1', reportOf([pullOf(blobOf(1), 10)]), 0);
  rooms.say('p1', 'have', blobOf(1), 0, 'node-1');
  expect(find('org/APP').blobs).toEqual([
    { blob: blobOf(1), sizeBytes: 1_000, repository: 'org/app', holding: 1, wanting: 0, nodes: ['node-1'] },
  ]);
  expect(find(`${'0'.repeat(63)}2`).blobs).toEqual([{ blob: blobOf(2), holding: 0, wanting: 1, nodes: [] }]);
  expect(find('nothing')).toEqual({ images: [], blobs: [], partial: false });
});

test('of a hundred thousand blobs those that most nodes hold are told, and that there are more', () => {
  for (let node = 0; node < 4; node++) {
    for (let from = 0; from < 30_000; from += 1_000) {
      const some = Array.from({ length: 1_000 }, (_, index) => blobOf(from + index));
      rooms.say(`p${node}`, 'have', some);
    }
  }
  for (let node = 4; node < 60; node++) rooms.say(`p${node}`, 'have', [blobOf(29_999)]);
  const found = find('');
  expect(found.partial).toBe(true);
  expect(found.blobs).toHaveLength(MAX_FOUND);
  expect(found.blobs[0]).toMatchObject({ blob: blobOf(29_999), holding: 60 });
  expect(found.blobs[0]?.nodes.length).toBeLessThanOrEqual(20);
});
