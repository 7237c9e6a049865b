import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ClientAuthorization } from '../origin/asker.ts';
import type { RegistryOptions } from '../origin/origin-options.ts';
import { AskingScopes } from './asking-scope.ts';

const host = 'registry.example.com';
const login = { username: 'robot', password: 'hunter2-hunter2' };

function scopeOf(options: RegistryOptions | undefined, joinSecret = 'secret', registry = host) {
  return new AskingScopes({ registries: options === undefined ? {} : { [host]: options }, joinSecret }).of(registry);
}

test('without a login, at its own address, a registry is public', async () => {
  expect(await scopeOf(undefined)).toBe('public');
  expect(await scopeOf({})).toBe('public');
  expect(await scopeOf({ insecureTls: false, ca: '-----BEGIN CERTIFICATE-----' })).toBe('public');
  expect(await scopeOf(login, 'secret', 'docker.io')).toBe('public');
});

test('two agents that ask in the same way are of one scope, however they spell it', async () => {
  const one = await scopeOf({ ...login, url: 'https://cache.example.com' });
  expect(await scopeOf({ ...login, url: 'https://CACHE.example.com:443/' })).toBe(one);
  const registries = { 'Registry.Example.COM': { ...login, url: 'https://cache.example.com' } };
  expect(await new AskingScopes({ registries, joinSecret: 'secret' }).of(host)).toBe(one);
});

test('what the node asks with a login from a docker config is shared with nobody; what anybody may ask is', async () => {
  const scopes = new AskingScopes({ registries: { [host]: login }, joinSecret: 'secret', hasDockerConfig: true });
  expect(await scopes.of('ghcr.io', 'node')).toBeUndefined();
  expect(await scopes.of('ghcr.io', 'anonymous')).toBe('public');
  expect(await scopes.of(host, 'node')).toBe(await scopeOf(login));
  expect(await scopes.of(host, 'anonymous')).toBe('public');
  expect(await scopes.of(host, ClientAuthorization.from('Bearer token')!)).toBeUndefined();
});

test('any other login, address or look at certificates is another scope', async () => {
  const ways: (RegistryOptions | undefined)[] = [
    undefined,
    login,
    { ...login, password: 'hunter3-hunter3' },
    { ...login, username: 'Robot' },
    { ...login, url: 'https://cache.example.com' },
    { url: 'https://cache.example.com' },
    { url: 'http://cache.example.com' },
    { url: 'https://cache.example.com/prefix' },
    { ...login, insecureTls: true },
    { insecureTls: true },
    { username: `${login.username}"`, password: login.password },
  ];
  const scopes = await Promise.all(ways.map((way) => scopeOf(way)));
  expect(new Set(scopes).size).toBe(ways.length);
  expect(await scopeOf(login, 'another cluster')).not.toBe(await scopeOf(login));
  const registries = { 'other.example.com': login, [host]: login };
  const other = await new AskingScopes({ registries, joinSecret: 'secret' }).of('other.example.com');
  expect(other).not.toBe(await scopeOf(login));
});

test('a registry of this machine is nobody else’s', async () => {
  for (const registry of ['localhost:5000', '127.0.0.1:5000', '127.1.2.3', '[::1]:5000', 'a.localhost']) {
    const scopes = new AskingScopes({ registries: { [registry]: login }, joinSecret: 'secret' });
    expect(await scopes.of(registry), registry).toBeUndefined();
  }
  expect(await scopeOf({ url: 'http://127.0.0.1:5000' })).toBeDefined();
});

test('nothing of a login shows, and the tracker takes it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ minLength: 8 }), fc.string({ minLength: 8 }), async (username, password) => {
      const scope = (await scopeOf({ username, password })) ?? expect.fail('no scope');
      expect(scope).toMatch(/^[\w-]{43}$/);
      for (const part of [username, password, Buffer.from(`${username}:${password}`).toString('base64')]) {
        expect(scope).not.toContain(part);
      }
    }),
    { numRuns: 5 },
  );
});
