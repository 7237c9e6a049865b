import { OCI_MANIFEST } from '@shoal/oci';
import { expect, test } from 'vitest';
import { ClientAuthorization } from './asker.ts';
import { type RateLimitReading, RateLimits, readRateLimit } from './rate-limits.ts';
import { call, clientFor, REPOSITORY, serve } from './scripted-server.test-support.ts';

test.each([
  ['76;w=21600', '100;w=21600', { remaining: 76, limit: 100 }],
  ['0;w=21600', undefined, { remaining: 0, limit: undefined }],
  [' 5 , 6', 'many', { remaining: 5, limit: undefined }],
  ['-1', '100', undefined],
  ['', '100', undefined],
  [undefined, '100', undefined],
])('ratelimit-remaining: %s, ratelimit-limit: %s', (remaining, limit, reading) => {
  expect(readRateLimit({ 'ratelimit-remaining': remaining, 'ratelimit-limit': limit })).toEqual(reading);
});

test('a wait is kept per registry and asker, and never for longer than a minute', () => {
  let nowMs = 1_000_000;
  const limits = new RateLimits(() => nowMs);
  limits.answered('docker.io', 'node', 429, { 'retry-after': '3600' });
  limits.answered('ghcr.io', 'node', 429, {});
  limits.answered('quay.io', 'node', 503, { 'retry-after': '10' });
  expect(() => limits.mustMayAsk('docker.io', 'node')).toThrow(
    expect.objectContaining({ code: 'rate-limited', retryAfterMs: 60_000, temporary: true }),
  );
  expect(() => limits.mustMayAsk('docker.io', 'anonymous')).not.toThrow();
  expect(() => limits.mustMayAsk('quay.io', 'node')).not.toThrow();
  nowMs += 5_000;
  expect(() => limits.mustMayAsk('ghcr.io', 'node')).not.toThrow();
  nowMs += 55_000;
  expect(() => limits.mustMayAsk('docker.io', 'node')).not.toThrow();
});

test('26: after a 429 a registry is left alone for as long as it says, and what it says is told', async () => {
  let nowMs = 1_000_000;
  let isLimited = true;
  const readings: [string, RateLimitReading][] = [];
  const registry = await serve((request, response) => {
    const left = isLimited ? '0;w=21600' : '99;w=21600';
    response.setHeader('ratelimit-limit', '100;w=21600').setHeader('ratelimit-remaining', left);
    if (isLimited) response.writeHead(429, { 'retry-after': '30' }).end();
    else {
      const digest = `sha256:${'a'.repeat(64)}`;
      const headers = { 'content-type': OCI_MANIFEST, 'content-length': '2', 'docker-content-digest': digest };
      response.writeHead(200, headers).end(request.method === 'GET' ? '{}' : '');
    }
  });
  const onRateLimit = (host: string, reading: RateLimitReading) => void readings.push([host, reading]);
  const origin = clientFor(registry, {}, { clock: () => nowMs, onRateLimit });
  const resolve = (asker = {}) => origin.resolve(REPOSITORY, 'v1', OCI_MANIFEST, { ...call(), ...asker });
  await expect(resolve()).rejects.toMatchObject({ code: 'rate-limited', retryAfterMs: 30_000 });
  expect(readings).toEqual([[REPOSITORY.registry, { limit: 100, remaining: 0 }]]);
  nowMs += 10_000;
  await expect(resolve()).rejects.toMatchObject({ code: 'rate-limited', retryAfterMs: 20_000 });
  expect(registry.log).toHaveLength(1);
  isLimited = false;
  await resolve({ asker: ClientAuthorization.from('Bearer other') });
  nowMs += 20_000;
  await resolve();
  expect(readings.at(-1)).toEqual([REPOSITORY.registry, { limit: 100, remaining: 99 }]);
});
