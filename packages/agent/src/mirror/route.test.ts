import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseRoute } from './route.ts';

const digest = `sha256:${'0a'.repeat(32)}`;
const route = (url: string, header?: string) => parseRoute(url, header, 'docker.io');

test.each([
  [
    '11: ns is decoded, with its port',
    '/v2/org/img/manifests/v1?ns=a.example%3A8443',
    undefined,
    'a.example:8443',
    'org/img',
  ],
  ['11: Hub by ns', '/v2/library/alpine/manifests/3?ns=docker.io', undefined, 'docker.io', 'library/alpine'],
  ['11: an alias of Hub', '/v2/alpine/manifests/3?ns=registry-1.docker.io', undefined, 'docker.io', 'library/alpine'],
  ['38: OCI-Namespace', '/v2/org/img/manifests/v1', 'ghcr.io', 'ghcr.io', 'org/img'],
  ['ns wins over OCI-Namespace', '/v2/org/img/manifests/v1?ns=quay.io', 'ghcr.io', 'quay.io', 'org/img'],
  ['12: a path prefix', '/v2/ghcr.io/org/img/manifests/v1', undefined, 'ghcr.io', 'org/img'],
  ['12: a path prefix with a port', '/v2/localhost:5000/img/manifests/v1', undefined, 'localhost:5000', 'img'],
  ['12: an encoded path prefix', '/v2/localhost%3A5000/img/manifests/v1', undefined, 'localhost:5000', 'img'],
  ['12: Hub by path prefix', '/v2/docker.io/alpine/manifests/v1', undefined, 'docker.io', 'library/alpine'],
  ['the default registry', '/v2/alpine/manifests/v1', undefined, 'docker.io', 'library/alpine'],
  ['the default registry, two components', '/v2/org/img/manifests/v1', undefined, 'docker.io', 'org/img'],
  [
    'a name that contains a verb',
    '/v2/org/manifests/blobs/manifests/v1',
    undefined,
    'docker.io',
    'org/manifests/blobs',
  ],
])('%s', (_, url, header, registry, name) => {
  expect(route(url, header)).toMatchObject({ kind: 'manifest', repository: { registry, name } });
});

test('tells what is asked for', () => {
  expect(route('/v2/')).toEqual({ kind: 'ping' });
  expect(route('/v2?x=1')).toEqual({ kind: 'ping' });
  expect(route('/v2/a/b/manifests/v1')).toMatchObject({ kind: 'manifest', reference: { tag: 'v1' } });
  expect(route(`/v2/a/b/manifests/${digest}`)).toMatchObject({ kind: 'manifest', reference: { digest } });
  expect(route(`/v2/a/b/blobs/${digest.replace(':', '%3A')}`)).toMatchObject({ kind: 'blob', digest });
  expect(route('/v2/a/b/tags/list?n=5&ns=ghcr.io')).toMatchObject({ kind: 'tags', query: 'n=5', namespace: 'ghcr.io' });
  expect(route(`/v2/a/b/referrers/${digest}`)).toMatchObject({ kind: 'referrers', digest });
  expect(route('/v2/_catalog')).toEqual({ kind: 'unknown' });
  expect(route('/')).toEqual({ kind: 'unknown' });
});

test.each([
  ['/v2/a/b/blobs/sha256:00', 'DIGEST_INVALID'],
  ['/v2/a/b/blobs/latest', 'DIGEST_INVALID'],
  [`/v2/a/b/manifests/${digest}0`, 'DIGEST_INVALID'],
  ['/v2/a/b/manifests/.tag', 'MANIFEST_INVALID'],
  ['/v2/A/b/manifests/v1', 'NAME_INVALID'],
  ['/v2/a/../b/manifests/v1', 'NAME_INVALID'],
  ['/v2/a/%2e%2e/b/manifests/v1', 'NAME_INVALID'],
  ['/v2//manifests/v1', 'NAME_INVALID'],
  ['/v2/a/%zz/manifests/v1', 'NAME_INVALID'],
  ['/v2/a/b/manifests/v1?ns=', 'NAME_INVALID'],
  ['/v2/a/b/manifests/v1?ns=http://x', 'NAME_INVALID'],
  ['/v2/a/b/manifests/v1?ns=a.io&ns=b.io', 'NAME_INVALID'],
  [`/v2/${'a'.repeat(5000)}/manifests/v1`, 'NAME_INVALID'],
])('40: %s is %s', (url, code) => {
  expect(route(url)).toMatchObject({ kind: 'malformed', code });
});

test('any URL is a route', () => {
  const part = fc.oneof(
    fc.string(),
    fc.constantFrom('manifests', 'blobs', 'tags', 'list', digest, 'ghcr.io', '%', '?ns='),
  );
  fc.assert(
    fc.property(fc.array(part), (parts) => {
      expect(route(`/v2/${parts.join('/')}`).kind).toMatch(/^[a-z]+$/);
    }),
  );
});
