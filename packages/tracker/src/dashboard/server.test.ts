/** The page's server as any browser or stranger may ask it, over real HTTP. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { request as requestTls } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '@shoal/swarm';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startTracker, type Tracker } from '../start-tracker.ts';
import { BLOCKED_MS, MAX_WRONG_TOKENS } from './wrong-tokens.ts';

let dataDir: string;
let tracker: Tracker;
let aheadMs = 0;

async function start(host = '127.0.0.1', names: string[] = []): Promise<void> {
  tracker = await startTracker(
    {
      listen: { host: '127.0.0.1', port: 0 },
      dataDir,
      dashboard: { listen: { host, port: 0 }, names },
      version: '9.9',
    },
    { logger: pino({ level: 'silent' }), clock: () => Date.now() + aheadMs, random: seededRandom(1) },
  );
}

beforeEach(async () => {
  aheadMs = 0;
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-dashboard-'));
  await start();
});

afterEach(async () => {
  await tracker.close();
  await rm(dataDir, { recursive: true });
});

const token = (): string => tracker.dashboard!.token;
const withToken = (given = token()): Record<string, string> => ({ authorization: `Bearer ${given}` });

function get(
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> {
  return new Promise((resolve, reject) => {
    const url = new URL(tracker.dashboard!.url);
    const send = url.protocol === 'https:' ? requestTls : request;
    // As it is, not as `URL` would mend it.
    const options = { host: url.hostname, port: url.port, path, method, headers, rejectUnauthorized: false };
    const call = send(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    call.on('error', reject).end();
  });
}

const PATHS = ['/v1/state', '/v1/members', '/v1/held'];

test.each(PATHS)('%s is told to who has the token, and to nobody else', async (path) => {
  expect((await get(path, withToken())).status).toBe(200);
  expect((await get(path)).status).toBe(401);
  for (const wrong of ['x', `${token()}x`, token().slice(1), tracker.joinToken]) {
    const refused = await get(path, withToken(wrong));
    expect([refused.status, refused.text]).toEqual([401, '{"error":"this cannot be asked"}']);
  }
  // In an address it would stand in logs and histories.
  expect((await get(`${path}?token=${token()}`)).status).toBe(401);
  expect((await get(path, withToken())).headers['cache-control']).toBe('no-store');
});

test('who tries wrong tokens is not listened to for a minute, even with the right one', async () => {
  for (let tried = 0; tried < MAX_WRONG_TOKENS; tried++) {
    expect((await get('/v1/state', withToken(`guess-${tried}`))).status).toBe(401);
  }
  expect((await get('/v1/state', withToken())).status).toBe(429);
  aheadMs = BLOCKED_MS + 1;
  expect((await get('/v1/state', withToken())).status).toBe(200);
});

test('a page whose name was made to mean this machine is refused, addresses and names of its own are not', async () => {
  for (const host of ['evil.example', 'evil.example:7304', '127.0.0.1.evil.example']) {
    for (const path of ['/', ...PATHS])
      expect((await get(path, { host, ...withToken() })).status, host + path).toBe(403);
  }
  for (const host of ['127.0.0.1:7304', 'localhost:8080', '[::1]:7304', 'tracker']) {
    expect((await get('/v1/state', { host, ...withToken() })).status, host).toBe(200);
  }
  await tracker.close();
  await start('127.0.0.1', ['Shoal.example.com']);
  expect((await get('/v1/state', { host: 'shoal.example.com', ...withToken() })).status).toBe(200);
  expect((await get('/v1/state', { host: 'evil.example', ...withToken() })).status).toBe(403);
});

test('the page lets the browser run and load nothing but its own files', async () => {
  const page = await get('/');
  expect(page.status).toBe(200);
  const policy = page.headers['content-security-policy'];
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toContain('unsafe');
  expect(page.headers['x-content-type-options']).toBe('nosniff');
  // Nothing inline, which the policy would not let run, and nothing from elsewhere.
  expect(page.text).not.toMatch(/<style|style=|<script>| on[a-z]+=|https?:\/\//);
  const files = [...page.text.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, file]) => file);
  expect(files.sort()).toEqual(['icon.svg', 'main.js', 'style.css']);
  for (const file of files) expect((await get(`/${file}`)).status, file).toBe(200);
});

test.each([
  ['/v1/members?order=__proto__', 400],
  ['/v1/members?page=0', 400],
  ['/v1/members?page=1e99', 400],
  ['/v1/members?descending=perhaps', 400],
  [`/v1/held?find=${'x'.repeat(301)}`, 400],
  ['/v1/held?find=a&find=b', 400],
  ['/v1/held?find=%ff', 200],
  ['/../dashboard-token', 404],
  ['/%2e%2e/package.json', 404],
  ['/v1/node', 404],
] as const)('%s gives %i', async (path, status) => {
  expect((await get(path, withToken())).status).toBe(status);
});

test('nothing can be changed', async () => {
  for (const method of ['POST', 'PUT', 'DELETE'])
    expect((await get('/v1/state', withToken(), method)).status).toBe(404);
});

test('asking without end is bounded, with the token too', async () => {
  const answers = await Promise.all(Array.from({ length: 100 }, () => get('/v1/members', withToken())));
  const statuses = answers.map(({ status }) => status);
  expect(statuses).toContain(200);
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(50);
});

test('the token is made once, in a file that only its owner reads', async () => {
  const path = join(dataDir, 'dashboard-token');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await readFile(path, 'utf8')).trim()).toBe(token());
  const first = tracker.dashboard;
  expect([first?.isNew, first?.tokenFile]).toEqual([true, path]);
  await tracker.close();
  await start();
  expect([tracker.dashboard?.isNew, tracker.dashboard?.token]).toEqual([false, first?.token]);
});

test('a file that holds no token keeps the tracker from starting, and says what to do', async () => {
  await tracker.close();
  await writeFile(join(dataDir, 'dashboard-token'), 'short\n');
  await expect(start()).rejects.toMatchObject({
    code: 'IDENTITY_DAMAGED',
    message: expect.stringContaining('Remove the file'),
  });
  await rm(join(dataDir, 'dashboard-token'));
  await start();
});

test('on an address that others reach it speaks TLS', async () => {
  await tracker.close();
  await start('0.0.0.0');
  expect(tracker.dashboard?.url).toMatch(/^https:\/\/127\.0\.0\.1:/);
  const { status, text } = await get('/v1/state', withToken());
  expect([status, JSON.parse(text).tracker.version]).toEqual([200, '9.9']);
});

test('an address that is taken is said to be, and the tracker does not stay half started', async () => {
  const { port } = new URL(tracker.dashboard!.url);
  const other = await mkdtemp(join(tmpdir(), 'shoal-dashboard-'));
  const options = { listen: { host: '127.0.0.1', port: 0 }, dataDir: other };
  const dashboard = { listen: { host: '127.0.0.1', port: Number(port) }, names: [] };
  const dependencies = { logger: pino({ level: 'silent' }), clock: Date.now, random: seededRandom(1) };
  await expect(startTracker({ ...options, dashboard }, dependencies)).rejects.toMatchObject({
    code: 'DASHBOARD_UNAVAILABLE',
  });
  // Its folder is free again.
  await (await startTracker(options, dependencies)).close();
  await rm(other, { recursive: true });
});
