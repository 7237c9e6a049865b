import type { BlobId } from '@shoal/oci';
import { expect, test } from 'vitest';
import { type Contradiction, DisputeTable } from './dispute-table.ts';

const BLOB = `a.test/sha256:${'0'.repeat(64)}` as BlobId;
const SAID: Contradiction = {
  blob: BLOB,
  sizeBytes: 1,
  index: 3,
  accused: 'liar',
  claimed: 'wrong',
  by: 'auditor',
  says: 'right',
};
const testimony = (by: string, says: string) => ({ blob: BLOB, index: 3, by, says });

test('the accused is suspended at once and barred when a witness agrees with the accuser', () => {
  const table = new DisputeTable();
  expect(table.report(SAID, 9, 0)).toEqual({ barred: [] });
  expect(table.suspended(1)).toEqual(['liar']);
  expect(table.witnessFor(BLOB, 'liar', 1)).toBeUndefined();
  expect(table.witnessFor(BLOB, 'auditor', 1)).toBeUndefined();
  expect(table.witnessFor(BLOB, 'witness', 1)).toEqual({ index: 3 });
  expect(table.witnessFor(BLOB, 'another', 2)).toBeUndefined();
  expect(table.testify(testimony('witness', 'right'), 9, 3)).toEqual({ barred: ['liar'] });
  expect(table.suspended(4)).toEqual([]);
});

test('whoever accuses an honest member is barred when the witness contradicts', () => {
  const table = new DisputeTable();
  table.report({ ...SAID, accused: 'honest', claimed: 'right', by: 'framer', says: 'wrong' }, 9, 0);
  table.witnessFor(BLOB, 'witness', 0);
  expect(table.testify(testimony('witness', 'right'), 9, 1)).toEqual({ barred: ['framer'] });
});

test('liars that agree with each other do not make the honest accuser a liar', () => {
  const table = new DisputeTable();
  table.report(SAID, 9, 0);
  expect(table.report({ ...SAID, accused: 'accomplice' }, 9, 1)).toEqual({ barred: [] });
  table.witnessFor(BLOB, 'witness', 1);
  expect(table.testify(testimony('witness', 'right'), 9, 2)?.barred.sort()).toEqual(['accomplice', 'liar']);
});

test('nobody testifies who was not asked, and a silent witness is replaced', () => {
  const table = new DisputeTable();
  table.report(SAID, 9, 0);
  table.witnessFor(BLOB, 'silent', 0);
  expect(table.testify(testimony('stranger', 'wrong'), 9, 1)).toBeUndefined();
  expect(table.witnessFor(BLOB, 'second', 5_000)).toEqual({ index: 3 });
  expect(table.testify(testimony('second', 'right'), 9, 5_001)).toEqual({ barred: ['liar'] });
});

test('with one other member its word is enough; a dispute that nobody settles ends', () => {
  expect(new DisputeTable().report(SAID, 1, 0)).toEqual({ barred: ['liar'] });
  const table = new DisputeTable({ suspendMs: 1_000 });
  table.report(SAID, 9, 0);
  expect(table.suspended(999)).toEqual(['liar']);
  expect(table.suspended(1_000)).toEqual([]);
  expect(table.size).toBe(0);
});

test('agreeing, or accusing oneself, is no dispute', () => {
  const table = new DisputeTable();
  table.report({ ...SAID, says: 'wrong' }, 9, 0);
  table.report({ ...SAID, by: 'liar' }, 9, 0);
  expect(table.size).toBe(0);
});
