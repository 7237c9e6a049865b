import { describe, expect, it } from 'vitest';
import { blobIdOf, digestOf, parseBlobId, registryOf } from './blob-id.ts';
import { parseDigest } from './digest.ts';

const sha256 = `sha256:${'a'.repeat(64)}`;
const digest = parseDigest(sha256) ?? expect.unreachable();

describe('the name of a blob of a registry', () => {
  it.each(['docker.io', 'localhost', '127.0.0.1:5000', '[::1]:5000', 'registry.example.com'])(
    'is read back: %s',
    (host) => {
      const blob = blobIdOf(host, digest);
      expect(parseBlobId(blob)).toBe(blob);
      expect(registryOf(blob)).toBe(host);
      expect(digestOf(blob)).toBe(digest);
    },
  );

  it.each([
    ['no registry', sha256],
    ['an empty registry', `/${sha256}`],
    ['a second spelling', `Docker.io/${sha256}`],
    ['an alias', `index.docker.io/${sha256}`],
    ['no digest', 'docker.io/'],
    ['a repository', `docker.io/library/${sha256}`],
    ['a short digest', 'docker.io/sha256:aa'],
    ['a way out of the folder', `../${sha256}`],
    ['a line break', `docker.io\n/${sha256}`],
  ])('is refused with %s', (_what, text) => {
    expect(parseBlobId(text)).toBeUndefined();
  });
});
