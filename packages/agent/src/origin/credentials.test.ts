import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Credentials } from './credentials.ts';
import { call, clientFor, REPOSITORY, serve } from './scripted-server.test-support.ts';

const repository = { registry: 'ghcr.io', name: 'org/app' };
let folder: string;
let nowMs: number;
let logged: string;
const ended = new AbortController();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-credentials-'));
  vi.stubEnv('PATH', `${folder}${delimiter}/usr/bin${delimiter}/bin`);
  nowMs = 1_000_000;
  logged = '';
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function config(value: object, name = 'config.json'): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, JSON.stringify(value));
  return path;
}

/** A real program that writes down what it was asked. */
async function helper(name: string, script: string): Promise<void> {
  const path = join(folder, `docker-credential-${name}`);
  await writeFile(path, `#!/bin/sh\nserver=$(cat)\necho "$1 $server" >> "${folder}/asked"\n${script}\n`);
  await chmod(path, 0o755);
}

async function asked(): Promise<string[]> {
  const text = await readFile(join(folder, 'asked'), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}

function open(...dockerConfigs: string[]): Credentials {
  const write = (line: string): void => {
    logged += line;
  };
  const logger = pino({ level: 'debug' }, { write });
  return new Credentials({ dockerConfigs }, { logger, clock: () => nowMs, signal: ended.signal });
}

const login = (user: string) => ({ auth: Buffer.from(`${user}:pw`).toString('base64') });

test('what is configured goes before every file, and the first file before the second', async () => {
  const first = await config({ auths: { 'ghcr.io': login('first') } });
  const second = await config({ auths: { 'ghcr.io': login('second'), 'quay.io': login('quay') } }, '.dockerconfigjson');
  const credentials = open(first, second);
  expect(await credentials.of(repository)).toMatchObject({ username: 'first' });
  expect(await credentials.of({ ...repository, registry: 'quay.io' })).toMatchObject({ username: 'quay' });
  expect(await credentials.of({ ...repository, registry: 'docker.io' })).toBeUndefined();
});

test('a file that changes is read again; while it is broken or away its last content counts', async () => {
  const path = await config({ auths: { 'ghcr.io': login('old') } });
  const credentials = open(path);
  const user = async () => {
    nowMs += 5_000;
    return await credentials.of(repository);
  };
  expect(await user()).toMatchObject({ username: 'old' });
  await writeFile(path, '{ "auths": { "ghcr.io": { "auth": "c2VjcmV0OnNlY3JldA==" ');
  expect(await user()).toMatchObject({ username: 'old' });
  await rm(path);
  expect(await user()).toMatchObject({ username: 'old' });
  await config({ auths: { 'ghcr.io': login('newer') } });
  expect(await user()).toMatchObject({ username: 'newer' });
  expect(logged).not.toContain('c2VjcmV0');
});

test('a helper is run once for many questions, and again when its answer is old', async () => {
  await helper('test', `echo '{"ServerURL":"x","Username":"AWS","Secret":"token"}'`);
  const credentials = open(await config({ credHelpers: { 'ghcr.io': 'test' } }));
  const answers = await Promise.all(Array.from({ length: 5 }, () => credentials.of(repository)));
  expect(answers).toEqual(Array(5).fill({ username: 'AWS', password: 'token' }));
  expect(await asked()).toEqual(['get ghcr.io']);
  nowMs += 5 * 60_000;
  await credentials.of(repository);
  expect(await asked()).toHaveLength(2);
});

test('a helper’s answer that a registry refuses is asked for again, but not more often than every half minute', async () => {
  await helper('test', `echo '{"Username":"AWS","Secret":"token"}'`);
  const credentials = open(await config({ credHelpers: { 'ghcr.io': 'test' } }));
  const given = (await credentials.of(repository))!;
  credentials.refused(given);
  await credentials.of(repository);
  expect(await asked()).toHaveLength(1);
  nowMs += 30_001;
  credentials.refused(given);
  await expect.poll(async () => await credentials.of(repository).then(asked)).toHaveLength(2);
});

test('<token> as a name means an identity token', async () => {
  await helper('acr', `echo '{"Username":"<token>","Secret":"refresh"}'`);
  expect(await open(await config({ credsStore: 'acr' })).of(repository)).toEqual({ identityToken: 'refresh' });
});

test.each([
  ['knows none', `echo 'credentials not found in native keychain'; exit 1`, ''],
  ['fails', `echo 'top-secret'; exit 3`, 'ended with 3'],
  ['says nonsense', `echo '{"Username":"","Secret":"top-secret"}'`, 'gave no user name'],
  ['never ends its answer', `yes top-secret`, 'says too much'],
])('a helper that %s is as good as none, and what it prints is not logged', async (_, script, said) => {
  await helper('test', script);
  const path = await config({ credsStore: 'test', auths: { 'ghcr.io': login('file') } });
  const credentials = open(path);
  expect(await credentials.of(repository)).toMatchObject({ username: 'file' });
  expect(await credentials.of(repository)).toMatchObject({ username: 'file' });
  expect(await asked()).toHaveLength(1);
  expect(logged).toContain(said);
  expect(logged).not.toContain('top-secret');
});

test('a helper that is not installed is named', async () => {
  const credentials = open(await config({ credHelpers: { 'ghcr.io': 'not-here' } }));
  expect(await credentials.of(repository)).toBeUndefined();
  expect(logged).toContain('docker-credential-not-here is not installed');
});

test('an identity token is posted to the token server, in the body alone, and follows no redirect', async () => {
  const posted: string[] = [];
  const registry = await serve((request, response) => {
    if (request.url === '/token') {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        posted.push(`${request.method} ${body}`);
        response.end(JSON.stringify({ access_token: 'granted' }));
      });
    } else if (request.headers.authorization === 'Bearer granted') response.end('[]');
    else {
      const challenge = `Bearer realm="${registry.url}/token",service="acr",scope="repository:team/app:pull"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
  });
  const path = await config({ auths: { [REPOSITORY.registry]: { identitytoken: 'refresh me' } } });
  const origin = clientFor(registry, { dockerConfigs: [path] });
  expect((await origin.relay(REPOSITORY, 'tags/list', call())).status).toBe(200);
  const form = 'grant_type=refresh_token&client_id=shoal&scope=repository%3Ateam%2Fapp%3Apull&service=acr';
  expect(posted).toEqual([`POST ${form}&refresh_token=refresh+me`]);
  expect(registry.requests.map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    undefined,
    'Bearer granted',
  ]);
});
