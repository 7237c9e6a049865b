import type { BlobId } from '@shoal/oci';
import type { AnnounceAnswer } from '@shoal/wire';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { announceAnswerText } from './announce-answer.ts';

const text = fc.string({ unit: 'binary' });
const record = fc.record({ peerId: text, addresses: fc.array(text, { maxLength: 3 }), zone: text });
const blob = fc.nat().map((index) => `a.test/sha256:${index.toString(16).padStart(64, '0')}` as BlobId);
const answer: fc.Arbitrary<AnnounceAnswer> = fc.record(
  {
    peers: fc.array(record, { maxLength: 4 }),
    swarms: fc.array(fc.record({ blob, peers: fc.array(fc.nat(3), { maxLength: 4 }) }), { maxLength: 4 }),
    barred: fc.array(text, { maxLength: 3 }),
    members: fc.nat(),
    acquaintances: fc.array(record, { maxLength: 3 }),
    orders: fc.boolean(),
    reportEveryMs: fc.nat(),
  },
  { requiredKeys: ['peers', 'swarms', 'barred', 'members'] },
) as fc.Arbitrary<AnnounceAnswer>;

test('the text is the JSON of the answer, however odd the addresses and zones, and also the second time', () => {
  fc.assert(
    fc.property(answer, (given) => {
      for (let turn = 0; turn < 2; turn++) expect(JSON.parse(announceAnswerText(given))).toEqual(given);
    }),
  );
});
