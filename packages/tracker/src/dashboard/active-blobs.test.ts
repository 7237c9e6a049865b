import { expect, test } from 'vitest';
import { ActiveBlobs, SHOWN_AFTER_MS } from './active-blobs.ts';
import { blobOf, pullOf } from './rooms.fixture.ts';

test('what was pulled long ago is forgotten with the next report, also while nobody looks', () => {
  const blobs = new ActiveBlobs();
  blobs.reported('p1', [pullOf(blobOf(1), 1), pullOf(blobOf(2), 1)], 0);
  expect(blobs.pullCount).toBe(2);
  blobs.reported('p2', [pullOf(blobOf(3), 1)], SHOWN_AFTER_MS);
  expect(blobs.pullCount).toBe(1);
});

test('pulls of all blobs together are bounded, those that are known go on, and room comes back with what is forgotten', () => {
  const blobs = new ActiveBlobs({ maxPulls: 3, maxBlobs: 2 });
  const both = [pullOf(blobOf(1), 1), pullOf(blobOf(2), 1)];
  for (const peerId of ['p1', 'p2', 'p3']) blobs.reported(peerId, both, 0);
  expect(blobs.pullCount).toBe(3);
  blobs.reported('p1', [pullOf(blobOf(1), 700)], 1);
  expect(blobs.list(1).map(({ pulls }) => [...pulls.keys()])).toEqual([['p1', 'p2'], ['p1']]);
  expect(blobs.list(1)[0]?.pulls.get('p1')?.heldBytes).toBe(700);
  // Blobs go that were longest not spoken of: first the second one, with its one pull, then the first, with both.
  blobs.reported('p4', [pullOf(blobOf(3), 1)], 2);
  expect(blobs.pullCount).toBe(3);
  blobs.reported('p4', [pullOf(blobOf(4), 1)], 3);
  expect(blobs.pullCount).toBe(2);
});
