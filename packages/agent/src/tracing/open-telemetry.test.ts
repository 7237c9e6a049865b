import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startTracing } from './open-telemetry.ts';

/** Takes every request, and never answers. */
let silent: Server;
let requests: string[];
let logins: (string | undefined)[];

beforeEach(async () => {
  requests = [];
  logins = [];
  silent = createServer(({ url = '', headers }) => {
    requests.push(url);
    logins.push(headers.authorization);
  }).listen(0, '127.0.0.1');
  await once(silent, 'listening');
});
afterEach(() => {
  silent.closeAllConnections();
  silent.close();
});

function agent(path = '') {
  const { port } = silent.address() as AddressInfo;
  const about = { sampleRatio: 1, version: '1', peerId: 'P', name: 'n', zone: 'z' };
  return { endpoint: `http://127.0.0.1:${port}${path}`, ...about };
}

it('more spans than can be sent are dropped and counted, and closing waits two seconds at most', async () => {
  let dropped = 0;
  const onDropped = (cause: string, count: number): void => {
    if (cause === 'queue') dropped += count;
  };
  const tracing = startTracing(agent(), { onSent: () => {}, onDropped });
  const ended = 4_000;
  for (let index = 0; index < ended; index++) tracing.request({}, 'GET blob', {})?.end();
  // The queue, and one batch that is on its way.
  expect(dropped).toBe(ended - 2_048 - 256);
  const closedAtMs = performance.now();
  await tracing.close();
  expect(performance.now() - closedAtMs).toBeLessThan(4_000);
});

it.each([
  ['', '/v1/traces'],
  ['/', '/v1/traces'],
  ['/otlp/', '/otlp/v1/traces'],
  ['/v1/traces', '/v1/traces'],
])('a collector at "%s" is asked at %s', async (path, asked) => {
  const tracing = startTracing(agent(path), { onSent: () => {}, onDropped: () => {} });
  tracing.request({}, 'GET blob', {})?.end();
  const closed = tracing.close();
  await expect.poll(() => requests).toEqual([asked]);
  silent.closeAllConnections();
  await closed;
});

it('a collector that wants a login gets what OTEL_EXPORTER_OTLP_HEADERS says', async () => {
  vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', 'authorization=Bearer%20for-the-collector');
  const tracing = startTracing(agent(), { onSent: () => {}, onDropped: () => {} });
  vi.unstubAllEnvs();
  tracing.request({}, 'GET blob', {})?.end();
  const closed = tracing.close();
  await expect.poll(() => logins).toEqual(['Bearer for-the-collector']);
  silent.closeAllConnections();
  await closed;
});
