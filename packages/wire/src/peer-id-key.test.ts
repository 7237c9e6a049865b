import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ed25519KeyOfPeerId, peerIdOfEd25519Key } from './peer-id-key.ts';

const key = fc.uint8Array({ minLength: 32, maxLength: 32 });

test('a key survives the way through its PeerId', () => {
  fc.assert(
    fc.property(key, (bytes) => {
      const peerId = peerIdOfEd25519Key(bytes);
      expect(peerId).toMatch(/^12D3KooW/);
      expect(ed25519KeyOfPeerId(peerId)).toEqual(bytes);
    }),
  );
});

test('any text is either refused or is the PeerId of the key it gives', () => {
  const damaged = fc.tuple(key, fc.nat(51), fc.string({ minLength: 1, maxLength: 1 })).map(([bytes, at, character]) => {
    const peerId = peerIdOfEd25519Key(bytes);
    return peerId.slice(0, at) + character + peerId.slice(at + 1);
  });
  fc.assert(
    fc.property(fc.oneof(fc.string(), damaged), (text) => {
      const bytes = ed25519KeyOfPeerId(text);
      if (bytes !== undefined) expect(peerIdOfEd25519Key(bytes)).toBe(text);
    }),
    { numRuns: 1000 },
  );
});

test('agrees with js-libp2p about a key and its PeerId', () => {
  const bytes = Buffer.from('1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e', 'hex');
  const peerId = '12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq';
  expect(peerIdOfEd25519Key(bytes)).toBe(peerId);
  expect(ed25519KeyOfPeerId(peerId)).toEqual(Uint8Array.from(bytes));
});

test('refuses a hashed (RSA) PeerId', () => {
  expect(ed25519KeyOfPeerId('QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N')).toBeUndefined();
});
