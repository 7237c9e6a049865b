import { type BlobId, blobIdOf, type Digest } from '@shoal/oci';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { meantBy, parseCacheName } from './cache-name.ts';

const hex = 'ab'.repeat(32);
const ID = blobIdOf('ghcr.io', `sha256:${hex}` as Digest);
const TWIN = blobIdOf('localhost:5000', `sha256:${hex}` as Digest);

test.each([
  ['alpine', 'docker.io/library/alpine:latest'],
  ['ghcr.io/org/app:v1', 'ghcr.io/org/app:v1'],
  [`ghcr.io/org/app:v1@sha256:${hex}`, `ghcr.io/org/app@sha256:${hex}`],
])('%s is an image with one name', (text, name) => {
  expect(parseCacheName(text)).toMatchObject({ kind: 'image', text: name });
});

test.each([
  [`sha256:${hex}`, [ID, TWIN]],
  ['sha256:abab', [ID, TWIN]],
  ['ghcr.io/sha256:abab', [ID]],
  ['localhost:5000/sha256:abab', [TWIN]],
  ['sha256:abac', []],
  ['sha512:abab', []],
])('%s is a digest or its beginning, of every registry or of one', (text, meant) => {
  const name = parseCacheName(text);
  expect(name?.kind === 'digest' && meantBy(name, [ID, TWIN])).toEqual(meant);
});

test.each(['', 'A b', '-', 'sha256:', '@', `x@sha256:${hex.slice(1)}`])('%j is no name', (text) => {
  expect(parseCacheName(text)).toBeUndefined();
});

test('every blob means itself, by its id and by any beginning of its digest', () => {
  const digest = fc.stringMatching(/^[0-9a-f]{64}$/);
  fc.assert(
    fc.property(digest, fc.integer({ min: 1, max: 64 }), fc.boolean(), (digest, length, isNamed) => {
      const id = `ghcr.io/sha256:${digest}` as BlobId;
      const name = parseCacheName(`${isNamed ? 'ghcr.io/' : ''}sha256:${digest.slice(0, length)}`);
      expect(name?.kind === 'digest' && meantBy(name, [id])).toEqual([id]);
    }),
  );
});
