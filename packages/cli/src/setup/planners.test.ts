import fc from 'fast-check';
import { parse } from 'smol-toml';
import { describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { after, memoryFiles, mirror, options } from './memory-files.fixture.ts';
import type { Planner, SetupOptions } from './plan.ts';
import { RUNTIMES } from './runtimes.ts';
import { tomlAt } from './toml-edit.ts';

/** Every value with its path, a line each. */
function* flatten(value: unknown, path = ''): Generator<string> {
  if (typeof value !== 'object' || value === null) yield `${path}=${String(value)}`;
  else for (const [key, inner] of Object.entries(value)) yield* flatten(inner, path === '' ? key : `${path}/${key}`);
}

type Machine = Record<string, string>;
const planner = (name: string): Planner => RUNTIMES[name]!.plan;
const plan = (name: string, machine: Machine = {}, given: Partial<SetupOptions> = {}) =>
  planner(name)(options(given), memoryFiles(machine));
const made = async (name: string, machine: Machine = {}, given: Partial<SetupOptions> = {}) =>
  after(machine, (await plan(name, machine, given)).changes);

const CONFIG = '/etc/containerd/config.toml';
const DEFAULT_HOSTS = '/etc/containerd/certs.d/_default/hosts.toml';
const CRI = ['plugins', 'io.containerd.grpc.v1.cri', 'registry'];
const inToml = (text: string | undefined, ...path: string[]) => tomlAt(parse(text ?? ''), path);

describe.each(Object.keys(RUNTIMES))('%s', (name) => {
  test('a second setup changes nothing, and says so by not asking for a restart', async () => {
    const machine = await made(name, {}, { registries: ['registry.example.com'] });
    expect(Object.keys(machine).length).toBeGreaterThan(0);
    const again = await plan(name, machine, { registries: ['registry.example.com'] });
    expect([again.changes, again.reload]).toEqual([[], undefined]);
  });

  test('nonsense in a file is refused, and nothing is planned', async () => {
    const isDropIn = name === 'podman' || name === 'crio';
    const path = isDropIn ? '/etc/containers/registries.conf' : (Object.keys(await made(name))[0] ?? '');
    await expect(plan(name, { [path]: '{ "a": [' })).rejects.toThrow(/mend it first|cannot be edited/);
  });
});

describe('containerd', () => {
  test('on a fresh machine: one config_path, and the mirror in front of every registry', async () => {
    const machine = await made('containerd');
    expect(inToml(machine[CONFIG], ...CRI)).toEqual({
      config_path: '/etc/containerd/certs.d',
    });
    expect(parse(machine[DEFAULT_HOSTS]!)).toEqual({
      host: { [mirror.url]: { capabilities: ['pull', 'resolve'], dial_timeout: '2s' } },
    });
    expect((await plan('containerd')).reload).toBe('systemctl restart containerd');
  });

  test.each([
    ['version = 2', ['plugins', 'io.containerd.grpc.v1.cri']],
    ['version = 3', ['plugins', 'io.containerd.cri.v1.images']],
    ['', ['plugins', 'cri']],
  ])('%j keeps its registries where that version has them', async (text, path) => {
    const machine = await made('containerd', { [CONFIG]: `${text}\n` });
    expect(inToml(machine[CONFIG], ...path, 'registry', 'config_path')).toBe('/etc/containerd/certs.d');
  });

  test('14: a list of folders becomes one, comments and everything else stay, and it is told', async () => {
    const config = [
      'version = 3 # of the file',
      '[plugins]',
      "  [plugins.'io.containerd.cri.v1.images']",
      '    snapshotter = "overlayfs" # mine',
      "    [plugins.'io.containerd.cri.v1.images'.registry]",
      "      config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'",
      '',
      '[[stream]]',
      'accepts = ["a"]',
      '',
    ];
    const { changes, notes } = await plan('containerd', { [CONFIG]: config.join('\n') });
    config[5] = '      config_path = "/etc/containerd/certs.d"';
    expect(changes[0]?.after).toBe(config.join('\n'));
    expect(notes).toEqual([expect.stringContaining('/etc/docker/certs.d')]);
  });

  test('a folder of its own stays the folder; of several none may hold what the first one lacks', async () => {
    const config = (path: string) =>
      `version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "${path}"\n`;
    const own = { [CONFIG]: config('/etc/own'), '/etc/own/harbor.corp/hosts.toml': '[host."https://harbor.corp"]\n' };
    const { changes, reload } = await plan('containerd', own);
    expect(changes.map(({ path }) => path)).toEqual([
      '/etc/own/harbor.corp/hosts.toml',
      '/etc/own/_default/hosts.toml',
    ]);
    expect(reload).toBeUndefined();
    const two = { [CONFIG]: config('/etc/one:/etc/two'), '/etc/one/a.io/ca.crt': 'x', '/etc/two/a.io/ca.crt': 'x' };
    expect(inToml((await made('containerd', two))[CONFIG], ...CRI)).toEqual({ config_path: '/etc/one' });
    await expect(plan('containerd', { ...two, '/etc/two/b.io/ca.crt': 'x' })).rejects.toThrow(
      '/etc/two, where b.io is',
    );
  });

  test('old settings are looked for in imported files, too; logins alone are no hindrance', async () => {
    const old = `version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.configs."harbor.corp".`;
    expect((await plan('containerd', { [CONFIG]: `${old}auth]\nusername = "me"\n` })).changes).not.toEqual([]);
    const machine = {
      [CONFIG]: 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n',
      '/etc/containerd/conf.d/a.toml': `${old}tls]\nca_file = "x"\n`,
    };
    await expect(plan('containerd', machine)).rejects.toThrow(
      '/etc/containerd/conf.d/a.toml has registry.configs with tls',
    );
  });

  test('15: a registry with a file of its own keeps its server and hosts, behind the mirror', async () => {
    const path = '/etc/containerd/certs.d/ghcr.io/hosts.toml';
    const own = 'server = "https://ghcr.io" # upstream\n\n[host."https://cache.example"]\n  capabilities = ["pull"]\n';
    const machine = await made('containerd', { [path]: own, '/etc/containerd/certs.d/quay.io/ca.crt': 'x' });
    expect(machine[path]).toBe(
      `server = "https://ghcr.io" # upstream\n\n[host."${mirror.url}"]\n  capabilities = ["pull", "resolve"]\n  dial_timeout = "2s"\n\n[host."https://cache.example"]\n  capabilities = ["pull"]\n`,
    );
    expect(Object.keys(machine)).not.toContain('/etc/containerd/certs.d/quay.io/hosts.toml');
  });

  test.each([
    [
      '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["https://a"]',
      /registry\.mirrors/,
    ],
    ['[plugins."io.containerd.grpc.v1.cri"]\nregistry = { config_path = "/a:/b" }', /by hand/],
    ['plugins."io.containerd.grpc.v1.cri".registry.config_path = "/a:/b"', /by hand/],
  ])('%s is not edited', async (text, problem) => {
    await expect(plan('containerd', { [CONFIG]: `version = 2\n${text}\n` })).rejects.toThrow(problem);
  });

  test('a mirror that stands behind other hosts is told of', async () => {
    const hosts = `[host."https://a"]\n[host."${mirror.url}"]\n`;
    await expect(plan('containerd', { [DEFAULT_HOSTS]: hosts })).rejects.toThrow('behind other hosts');
  });

  test('whatever tables a configuration has, only config_path is changed', async () => {
    const key = fc.stringMatching(/^[a-z][a-z0-9._-]{0,8}$/);
    const value = fc.oneof(
      fc.integer({ min: 0, max: 1e9 }).map(String),
      fc.boolean().map(String),
      fc.stringMatching(/^[ -~]{0,12}$/).map((text) => JSON.stringify(text)),
    );
    const table = fc.record({
      name: fc.array(key, { minLength: 1, maxLength: 3 }),
      keys: fc.dictionary(key, value, { maxKeys: 3 }),
      indent: fc.constantFrom('', '  ', '\t'),
    });
    let edits = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(table, { maxLength: 5 }), async (tables) => {
        const text = `version = 2\n${tables
          .map(({ name, keys, indent }) => {
            const head = `${indent}[${name.map((part) => JSON.stringify(part)).join('.')}]`;
            return [
              head,
              ...Object.entries(keys).map(([one, other]) => `${indent}${JSON.stringify(one)} = ${other} # note`),
            ].join('\n');
          })
          .join('\n')}\n`;
        const isToml = (() => {
          try {
            return parse(text) !== undefined;
          } catch {
            return false;
          }
        })();
        const edited = isToml
          ? (await made('containerd', { [CONFIG]: text }).catch(() => undefined))?.[CONFIG]
          : undefined;
        if (edited === undefined) return;
        edits++;
        expect(inToml(edited, ...CRI, 'config_path')).toBe('/etc/containerd/certs.d');
        const flat = (toml: string) =>
          [...flatten(parse(toml))]
            .filter((line) => !line.startsWith(CRI.join('/')) && !CRI.join('/').startsWith(line))
            .sort();
        expect(flat(edited)).toEqual(flat(text));
        for (const line of text.split('\n')) if (!line.includes('config_path')) expect(edited).toContain(line);
      }),
      { numRuns: 2_000 },
    );
    expect(edits).toBeGreaterThan(500);
  });
});

describe('docker', () => {
  const file = '/etc/docker/daemon.json';

  test('the mirror goes before others, the rest stays, with its indentation', async () => {
    const own = '{\n\t"debug": true,\n\t"registry-mirrors": [\n\t\t"https://a"\n\t]\n}\n';
    const machine = await made('docker', { [file]: own });
    expect(machine[file]).toBe(
      '{\n\t"debug": true,\n\t"registry-mirrors": [\n\t\t"http://127.0.0.1:7300",\n\t\t"https://a"\n\t]\n}\n',
    );
    expect(machine['/etc/docker/certs.d/_default/hosts.toml']).toContain(mirror.url);
  });

  test('a mirror that is there with a slash is there; loopback is named where others are named insecure', async () => {
    const own = { 'registry-mirrors': ['http://127.0.0.1:7300/'], 'insecure-registries': ['10.0.0.0/8'] };
    const machine = await made('docker', { [file]: JSON.stringify(own) });
    expect(JSON.parse(machine[file]!)).toEqual({ ...own, 'insecure-registries': ['10.0.0.0/8', '127.0.0.1:7300'] });
  });

  test.each(['[]', '"x"', '{"registry-mirrors":"http://a"}', '{"registry-mirrors":[1]}'])(
    '%s is refused',
    async (text) => {
      await expect(plan('docker', { [file]: text })).rejects.toThrow('mend it first');
    },
  );
});

describe.each(['podman', 'crio'])('%s', (name) => {
  const file = '/etc/containers/registries.conf.d/zz-shoal.conf';
  const tables = (machine: Machine) =>
    new Map(
      (inToml(machine[file], 'registry') as { prefix?: string; mirror: { location: string }[] }[]).map((table) => [
        table.prefix,
        table,
      ]),
    );

  test('each registry has the mirror first, and itself as fallback', async () => {
    const found = tables(await made(name, {}, { registries: ['Registry.Example.com'] }));
    expect(found.get('docker.io')).toEqual({
      prefix: 'docker.io',
      location: 'docker.io',
      mirror: [{ location: '127.0.0.1:7300/docker.io', insecure: true }],
    });
    expect(found.get('registry.example.com')?.mirror[0]?.location).toBe('127.0.0.1:7300/registry.example.com');
  });

  test('what other files say of a registry is taken over, the last one’s word', async () => {
    const machine = {
      '/etc/containers/registries.conf': '[[registry]]\nlocation = "quay.io"\nblocked = true\n',
      '/etc/containers/registries.conf.d/10-a.conf': '[[registry]]\nprefix = "ghcr.io"\nlocation = "old.example"\n',
      '/etc/containers/registries.conf.d/20-b.conf':
        '[[registry]]\nprefix = "ghcr.io"\nlocation = "cache.example/ghcr"\n[[registry.mirror]]\nlocation = "near.example"\n',
    };
    const found = tables(await made(name, machine));
    expect(found.has('quay.io')).toBe(false);
    expect(found.get('ghcr.io')).toEqual({
      prefix: 'ghcr.io',
      location: 'cache.example/ghcr',
      mirror: [{ location: '127.0.0.1:7300/cache.example/ghcr', insecure: true }, { location: 'near.example' }],
    });
  });

  test('what is really at an address with a port, or is no host, is left as it is', async () => {
    const config =
      '[[registry]]\nprefix = "docker.io"\nlocation = "harbor:8443/hub"\n[[registry]]\nprefix = "apps"\nlocation = "apps"\n';
    const machine = { '/etc/containers/registries.conf': config };
    const { notes } = await plan(name, machine);
    expect(notes).toEqual([expect.stringContaining('docker.io is left'), expect.stringContaining('apps is left')]);
    expect([...tables(await made(name, machine)).keys()]).not.toContain('docker.io');
  });

  test('a registry with a port has no place behind the mirror', async () => {
    await expect(plan(name, {}, { registries: ['r.example:5000'] })).rejects.toThrow('without a port');
  });
});

test('k3s: the mirror for all in quotes, and in front of what is named; comments stay', async () => {
  const file = '/etc/rancher/k3s/registries.yaml';
  const own =
    '# ours\nmirrors:\n  docker.io:\n    endpoint: # near\n      - "https://a"\nconfigs:\n  a:\n    tls: {}\n';
  const text = (await made('k3s', { [file]: own }))[file]!;
  expect(parseYaml(text)).toEqual({
    mirrors: { 'docker.io': { endpoint: [mirror.url, 'https://a'] }, '*': { endpoint: [mirror.url] } },
    configs: { a: { tls: {} } },
  });
  expect(text).toContain('# ours');
  expect(text).toMatch(/"\*":/);
});

test('k3s: what is rewritten, merged or aliased is not touched, and comments alone are kept', async () => {
  const file = '/etc/rancher/k3s/registries.yaml';
  const rewritten =
    'mirrors:\n  docker.io:\n    endpoint: ["https://harbor"]\n    rewrite:\n      "^(.*)$": "hub/$1"\n';
  const { changes, notes } = await plan('k3s', { [file]: rewritten });
  expect(parseYaml(changes[0]!.after).mirrors['docker.io'].endpoint).toEqual(['https://harbor']);
  expect(notes[0]).toContain('docker.io is left as it is');
  for (const entry of ['a: &m { endpoint: [x] }\n  b: *m', '<<: { a: {} }', 'a: [x]']) {
    await expect(plan('k3s', { [file]: `mirrors:\n  ${entry}\n` })).rejects.toThrow('by hand');
  }
  expect((await made('k3s', { [file]: '# an example\n# mirrors:\n' }))[file]).toContain('# an example');
});

test('buildkit: mirrors in front of others, over plain HTTP', async () => {
  const file = '/etc/buildkit/buildkitd.toml';
  const own = '[registry."docker.io"]\n  mirrors = ["a.example"] # near\n  http = false\n';
  const text = (await made('buildkit', { [file]: own }))[file];
  expect(inToml(text, 'registry', 'docker.io')).toEqual({ mirrors: ['127.0.0.1:7300', 'a.example'], http: false });
  expect(inToml(text, 'registry', '127.0.0.1:7300')).toEqual({ http: true });
});
