import { describe, expect, test } from 'vitest';
import { entriesFor, indexEntries, parsePlatform, platformText } from './platform.ts';

const digest = (index: number): string => `sha256:${String(index).padStart(64, '0')}`;

function entry(index: number, platform?: string, more: object = {}): object {
  const [os, architecture, variant] = platform?.split('/') ?? [];
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const named = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  return { mediaType, digest: digest(index), size: 7, ...(platform === undefined ? {} : { platform: named }), ...more };
}

const attestation = entry(90, 'unknown/unknown', {
  annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
});
const bytesOf = (...manifests: object[]): Uint8Array => new TextEncoder().encode(JSON.stringify({ manifests }));

function chosen(platform: string, ...manifests: object[]): string[] {
  const entries = indexEntries(bytesOf(...manifests)) ?? [];
  return entriesFor(entries, parsePlatform(platform)!).map(({ descriptor }) => descriptor.digest);
}

test('a platform is read and written; anything else is none', () => {
  for (const text of ['linux/amd64', 'linux/arm/v7', 'windows/amd64'])
    expect(platformText(parsePlatform(text)!)).toBe(text);
  for (const text of ['', 'linux', 'linux/', 'Linux/amd64', 'linux/amd64/v1/x', 'linux/amd 64', 'all']) {
    expect(parsePlatform(text), text).toBeUndefined();
  }
});

test('a manifest with layers is no index', () => {
  expect(indexEntries(new TextEncoder().encode(JSON.stringify({ layers: [] })))).toBeUndefined();
});

describe('what an index offers for a platform', () => {
  test('the one that names it, never an attestation', () => {
    expect(chosen('linux/amd64', attestation, entry(1, 'linux/arm64'), entry(2, 'linux/amd64'))).toEqual([digest(2)]);
    expect(chosen('unknown/unknown', attestation)).toEqual([]);
  });

  test('nothing when all are for others', () => {
    expect(chosen('linux/s390x', attestation, entry(1, 'linux/arm64'), entry(2, 'windows/amd64'))).toEqual([]);
  });

  test('those that name no platform only where none fits', () => {
    const attested = entry(3, undefined, { annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } });
    expect(chosen('linux/amd64', entry(1), attested, entry(2, 'linux/arm64'))).toEqual([digest(1)]);
    expect(chosen('linux/arm64', entry(1), attested, entry(2, 'linux/arm64'))).toEqual([digest(2)]);
  });

  test('the newest variant that the machine runs', () => {
    const arms = [entry(5, 'linux/arm/v5'), entry(6, 'linux/arm/v6'), entry(7, 'linux/arm/v7')];
    expect(chosen('linux/arm', ...arms)).toEqual([digest(7)]);
    expect(chosen('linux/arm/v6', ...arms)).toEqual([digest(6)]);
    expect(chosen('linux/arm/v4', ...arms)).toEqual([]);
    expect(chosen('linux/arm64', entry(8, 'linux/arm64/v8'))).toEqual([digest(8)]);
    expect(chosen('linux/amd64', entry(1, 'linux/amd64/v3'), entry(2, 'linux/amd64'))).toEqual([digest(2)]);
  });

  test('a layer among the manifests, as caches of builds have it, is none', () => {
    const layer = entry(1, undefined, { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' });
    expect(chosen('linux/amd64', layer)).toEqual([]);
    expect(indexEntries(bytesOf(layer))?.map(({ descriptor }) => descriptor.kind)).toEqual(['blob']);
  });
});
