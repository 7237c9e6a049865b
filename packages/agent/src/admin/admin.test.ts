import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { PrefetchError } from '../prefetch/prefetch-error.ts';
import { type Admin, type AdminDependencies, startAdmin } from './admin.ts';
import { deskStage, unasked } from './cache-desk.fixture.ts';
import { createMetrics } from './metrics.ts';

const running: Admin[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((admin) => admin.stop()));
});

async function start(given: Partial<AdminDependencies> = {}): Promise<Admin> {
  const admin = await startAdmin(
    { host: '127.0.0.1', port: 0 },
    {
      metrics: createMetrics(),
      readiness: () => ({ ready: true, reasons: [] }),
      status: () => ({}),
      forget: async () => {},
      ...unasked,
      cache: (await deskStage()).desk,
      logger: pino({ level: 'silent' }),
      ...given,
    },
  );
  running.push(admin);
  return admin;
}

test('is alive even while it is not ready', async () => {
  const admin = await start({ readiness: () => ({ ready: false, reasons: ['the disk is full'] }) });
  expect((await fetch(`${admin.url}/healthz`)).status).toBe(200);
});

test('says with 503 why it is not ready, and 200 once it is', async () => {
  let reasons = ['the disk is full', 'no mirror'];
  const admin = await start({ readiness: () => ({ ready: reasons.length === 0, reasons }) });
  const before = await fetch(`${admin.url}/readyz`);
  expect(before.status).toBe(503);
  expect(await before.json()).toEqual({ ready: false, reasons: ['the disk is full', 'no mirror'] });
  reasons = [];
  const after = await fetch(`${admin.url}/readyz`);
  expect(after.status).toBe(200);
  expect(await after.json()).toEqual({ ready: true, reasons: [] });
});

test('gives the metrics page with its own content type', async () => {
  const metrics = createMetrics();
  metrics.bytes('origin', 'in', 42);
  const admin = await start({ metrics });
  const answer = await fetch(`${admin.url}/metrics`);
  expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(await answer.text()).toContain('shoal_bytes_total{source="origin",direction="in"} 42\n');
});

test('gives the status as JSON', async () => {
  const admin = await start({ status: () => ({ peerId: 'abc' }) });
  expect(await (await fetch(`${admin.url}/v1/status`)).json()).toEqual({ peerId: 'abc' });
});

test('answers a failing status with 500 and no detail', async () => {
  const admin = await start({
    status: () => {
      throw new Error('password=hunter2');
    },
  });
  const answer = await fetch(`${admin.url}/v1/status`);
  expect(answer.status).toBe(500);
  expect(await answer.text()).not.toContain('hunter2');
});

test('names its paths to somebody who is lost', async () => {
  const admin = await start();
  const answer = await fetch(`${admin.url}/`);
  expect(answer.status).toBe(404);
  expect(await answer.json()).toMatchObject({ paths: expect.arrayContaining(['/readyz']) });
});

test('rejects with the system error when its port is taken', async () => {
  const first = await start();
  const port = Number(new URL(first.url).port);
  await expect(
    startAdmin(
      { host: '127.0.0.1', port },
      {
        metrics: createMetrics(),
        readiness: () => ({ ready: true, reasons: [] }),
        status: () => ({}),
        forget: async () => {},
        ...unasked,
        cache: (await deskStage()).desk,
        logger: pino({ level: 'silent' }),
      },
    ),
  ).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

test('a tag is forgotten by its full name', async () => {
  const forgotten: string[] = [];
  const admin = await start({
    forget: async ({ registry, name }, tag) => void forgotten.push(`${registry} ${name} ${tag}`),
  });
  const post = (body: string, type = 'application/json') =>
    fetch(`${admin.url}/v1/forget`, { method: 'POST', body, headers: { 'content-type': type } });
  expect(await (await post('{"image":"alpine"}')).json()).toEqual({ forgotten: 'docker.io/library/alpine:latest' });
  expect((await post('{"image":"ghcr.io/org/app:v1"}')).status).toBe(200);
  expect(forgotten).toEqual(['docker.io library/alpine latest', 'ghcr.io org/app v1']);
  for (const wrong of [
    '{"image":"A"}',
    `{"image":"a@sha256:${'a'.repeat(64)}"}`,
    '{"image":7}',
    '[]',
    'null',
    '{',
    '',
  ]) {
    expect((await post(wrong)).status, wrong).toBe(400);
  }
  expect((await post('{"image":"alpine"}', 'text/plain')).status).toBe(415);
  expect(forgotten).toHaveLength(2);
});

test('checks a registry by its normalised name, and refuses what is none', async () => {
  const admin = await start();
  const post = (body: string) =>
    fetch(`${admin.url}/v1/check`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  expect(await (await post('{"registry":"index.docker.io"}')).json()).toEqual({
    registry: 'docker.io',
    outcome: 'open',
  });
  expect((await post('{"registry":"no host"}')).status).toBe(400);
  expect((await post('{}')).status).toBe(500);
});

test('orders to prefetch are passed on, and a refusal is told with its reason', async () => {
  const placed: unknown[] = [];
  const order = { id: 'x', images: ['alpine'], orderedBy: 'a', orderedAtMs: 0, state: 'open' as const, nodes: [] };
  const admin = await start({
    prefetch: {
      ...unasked.prefetch,
      place: async (request) => {
        placed.push(request);
        return order;
      },
      find: async (id) => {
        throw new PrefetchError('unknown', `no order ${id}`);
      },
      cancel: async () => order,
    },
  });
  const url = `${admin.url}/v1/prefetch`;
  const post = (body: object) =>
    fetch(url, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
  expect(await (await post({ images: ['alpine'], everywhere: true, bytesPerSecond: 2 ** 20 })).json()).toEqual(order);
  expect(placed).toEqual([{ images: ['alpine'], everywhere: true, bytesPerSecond: 2 ** 20 }]);
  for (const wrong of [{}, { images: [] }, { images: ['a'], bytesPerSecond: 1 }, { images: ['a'], names: [] }]) {
    expect((await post(wrong)).status, JSON.stringify(wrong)).toBe(400);
  }
  const missing = await fetch(`${url}/y`);
  expect([missing.status, await missing.json()]).toEqual([404, { error: 'no order y', refused: true }]);
  expect(await (await fetch(`${url}/x`, { method: 'DELETE' })).json()).toEqual(order);
});

test.each([
  ['evil.example', 403],
  ['evil.example:7303', 403],
  ['localhost:7303', 200],
  ['node-7', 200],
  ['10.0.0.7:7303', 200],
  ['[fd00::7]:7303', 200],
])('whoever asks as of %s for what is not for everybody gets %i', async (host, status) => {
  const { port } = new URL((await start()).url);
  const asked = async (path: string): Promise<number | undefined> => {
    const request = get({ host: '127.0.0.1', port, path, headers: { host } });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };
  expect(await asked('/v1/status')).toBe(status);
  expect(await asked('/metrics')).toBe(200);
});
