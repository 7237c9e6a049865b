import { normaliseRegistryHost } from '@shoal/oci';
import { expect, test } from 'vitest';
import { sharedNameOf } from './node-registry.ts';

test.each(['docker.io', '10.0.0.1:5000', 'registry.test', '127.example.com'])(
  '%s is the same one on every node',
  (host) => {
    expect(sharedNameOf(host, 'one')).toBe(host);
  },
);

test.each(['localhost', 'localhost:5000', 'a.localhost:80', '127.0.0.1:5000', '127.0.0.2', '[::1]:5000'])(
  '%s is another one on every node',
  (host) => {
    const name = sharedNameOf(host, 'one');
    expect(normaliseRegistryHost(name)).toBe(name);
    expect(sharedNameOf(host, 'one')).toBe(name);
    expect(sharedNameOf(host, 'other')).not.toBe(name);
    expect(sharedNameOf(host.replace(/:?[0-9]*$/, ':1234'), 'one')).not.toBe(name);
  },
);

test('two names of this machine are two registries', () => {
  const names = ['localhost', 'my-app.localhost', 'myapp.localhost', '127.0.0.1', '127.0.0.2', '[::1]', '1.localhost'];
  expect(new Set(names.map((name) => sharedNameOf(name, 'one'))).size).toBe(names.length);
});
