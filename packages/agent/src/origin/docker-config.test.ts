import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DockerConfig } from './docker-config.ts';

const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });
const config = (value: object) => DockerConfig.parse(JSON.stringify(value))!;
const in_ = (registry: string, name = 'org/app') => ({ registry, name });

test('every spelling of a registry is that registry', () => {
  const { credential } = {
    credential: config({
      auths: {
        'https://index.docker.io/v1/': auth('hub:pw'),
        'https://GHCR.io': auth('github:pw'),
        'registry.example.com:5000': auth('port:pw'),
        'http://plain.example.com/v2/': auth('plain:pw'),
      },
    }),
  };
  const user = (registry: string) => credential.credential(in_(registry));
  expect(user('docker.io')).toEqual({ username: 'hub', password: 'pw' });
  expect(user('ghcr.io')).toMatchObject({ username: 'github' });
  expect(user('registry.example.com:5000')).toMatchObject({ username: 'port' });
  expect(user('plain.example.com')).toMatchObject({ username: 'plain' });
  expect(user('registry.example.com')).toBeUndefined();
});

test('the longest name that fits counts, as in Podman’s auth.json', () => {
  const file = config({
    auths: { 'quay.io': auth('all:pw'), 'quay.io/org': auth('org:pw'), 'quay.io/org/app': auth('app:pw') },
  });
  expect(file.credential(in_('quay.io', 'org/app'))).toMatchObject({ username: 'app' });
  expect(file.credential(in_('quay.io', 'org/app/sub'))).toMatchObject({ username: 'app' });
  expect(file.credential(in_('quay.io', 'org/other'))).toMatchObject({ username: 'org' });
  expect(file.credential(in_('quay.io', 'organisation/app'))).toMatchObject({ username: 'all' });
});

test('a password keeps its colons and loses Docker’s padding; an identity token goes before it', () => {
  const file = config({
    auths: {
      'a.io': auth('me:a:b\0\0'),
      'b.io': { ...auth('00000000-0000-0000-0000-000000000000:'), identitytoken: 'refresh' },
      'c.io': { username: 'me', password: 'pw' },
      'd.io': {},
      'e.io': { auth: 'no base64 of a login' },
    },
  });
  expect(file.credential(in_('a.io'))).toEqual({ username: 'me', password: 'a:b' });
  expect(file.credential(in_('b.io'))).toEqual({ identityToken: 'refresh' });
  expect(file.credential(in_('c.io'))).toEqual({ username: 'me', password: 'pw' });
  expect([file.credential(in_('d.io')), file.credential(in_('e.io')), file.credential(in_('f.io'))]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test('a registry’s own helper goes before the store, which is asked by the name that was logged in to', () => {
  const ecr = '123.dkr.ecr.eu-west-1.amazonaws.com';
  const file = config({ credHelpers: { [ecr]: 'ecr-login' }, credsStore: 'pass', auths: { 'https://ghcr.io': {} } });
  expect(file.helper(ecr)).toEqual({ helper: 'ecr-login', serverUrl: ecr });
  expect(file.helper('docker.io')).toEqual({ helper: 'pass', serverUrl: 'https://index.docker.io/v1/' });
  expect(file.helper('ghcr.io')).toEqual({ helper: 'pass', serverUrl: 'https://ghcr.io' });
  expect(file.helper('quay.io')).toEqual({ helper: 'pass', serverUrl: 'quay.io' });
  expect(config({ auths: null }).helper('quay.io')).toBeUndefined();
});

test('a helper’s name is a name, not a path', () => {
  for (const helper of ['../../bin/sh', 'a b', '', '-x', '$(x)']) {
    expect(DockerConfig.parse(JSON.stringify({ credHelpers: { 'a.io': helper } }))).toBeUndefined();
  }
});

test('whatever is in the file, reading it neither throws nor invents a login', () => {
  const texts = fc.oneof(
    fc.string(),
    fc.json(),
    fc.anything().map((value) => JSON.stringify({ auths: value }) ?? ''),
  );
  fc.assert(
    fc.property(texts, fc.webUrl(), (text, name) => {
      const found = DockerConfig.parse(text)?.credential(in_('ghcr.io', name));
      expect(found === undefined || 'username' in found || 'identityToken' in found).toBe(true);
    }),
    { numRuns: 5_000 },
  );
});
