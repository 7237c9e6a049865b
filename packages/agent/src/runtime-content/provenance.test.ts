import type { Digest } from '@shoal/oci';
import { expect, test } from 'vitest';
import { Provenance, registriesOf } from './provenance.ts';

const NOW = 1_700_000_000_000;
const HOUR_MS = 3_600_000;
const digest = `sha256:${'ab'.repeat(32)}` as Digest;
const other = `sha256:${'cd'.repeat(32)}` as Digest;

const labelled = (registries: readonly string[], createdAtMs = NOW) => ({
  registries: new Set(registries),
  createdAtMs,
});
const seen = (provenance: Provenance, registries: readonly string[], createdAtMs = NOW) =>
  provenance.judge(new Map([[digest, labelled(registries, createdAtMs)]]), NOW).get(digest);

test('labels name registries, whatever else there is', () => {
  const labels = {
    'containerd.io/distribution.source.index.docker.io': 'library/alpine,library/busybox',
    'containerd.io/distribution.source.registry.example:5000': 'org/app',
    'containerd.io/distribution.source.': 'nothing',
    'containerd.io/distribution.source.not a host': 'nothing',
    'containerd.io/gc.ref.content.0': digest,
  };
  expect(registriesOf(labels)).toEqual(['docker.io', 'registry.example:5000', '?', '?not a host']);
});

test('content of one registry is that registry’s', () => {
  expect(seen(new Provenance(), ['a.example'])).toBe('a.example');
});

test('a registry that names what another one gave gets nothing of it', () => {
  const provenance = new Provenance();
  expect(seen(provenance, ['a.example'])).toBe('a.example');
  expect(seen(provenance, ['evil.example', 'a.example'])).toBe('a.example');
  expect(seen(provenance, ['evil.example'])).toBeUndefined();
});

test('of several at first sight nobody can tell, nor later', () => {
  const provenance = new Provenance();
  expect(seen(provenance, ['a.example', 'b.example'])).toBeUndefined();
  expect(seen(provenance, ['b.example'])).toBeUndefined();
});

test('what lay there for long without a label is no registry’s; what has just arrived may still get one', () => {
  const old = new Provenance();
  expect(seen(old, [], NOW - HOUR_MS)).toBeUndefined();
  expect(seen(old, ['evil.example'], NOW - HOUR_MS)).toBeUndefined();
  const fresh = new Provenance();
  expect(seen(fresh, [])).toBeUndefined();
  expect(seen(fresh, ['a.example'])).toBe('a.example');
  const later = new Provenance();
  expect(seen(later, [], NOW)).toBeUndefined();
  const inAMinute = later.judge(new Map([[digest, labelled(['evil.example'], NOW)]]), NOW + 60_000);
  expect(inAMinute.get(digest)).toBeUndefined();
});

test('a registry of which nobody knows the host is one, too', () => {
  expect(seen(new Provenance(), ['?my_registry:5000'])).toBeUndefined();
  expect(seen(new Provenance(), ['?my_registry:5000', 'evil.example'])).toBeUndefined();
});

test('what is gone is forgotten', () => {
  const provenance = new Provenance();
  seen(provenance, ['a.example']);
  provenance.judge(new Map([[other, labelled(['a.example'])]]), NOW);
  expect(seen(provenance, ['b.example'])).toBe('b.example');
});
