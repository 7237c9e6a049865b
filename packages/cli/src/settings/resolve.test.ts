import { writeFileSync } from 'node:fs';
import { type AgentConfig, agentConfigSchema } from '@shoal/agent';
import { trackerConfigSchema } from '@shoal/tracker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CommandFailure } from '../command-failure.ts';
import { agentSettings } from './agent-settings.ts';
import { resolveSettings } from './resolve.ts';
import { variableOf } from './setting.ts';
import { temporaryFile } from './settings-folder.fixture.ts';
import { trackerSettings } from './tracker-settings.ts';
import type { FlagValues } from './written.ts';

const token = `shoal1.${Buffer.alloc(32, 1).toString('base64url')}.${Buffer.alloc(32, 2).toString('base64url')}`;

interface Given {
  flags?: FlagValues;
  env?: Record<string, string>;
  yaml?: string;
}

function resolve({ flags = {}, env = {}, yaml }: Given): { config: AgentConfig; warnings: readonly string[] } {
  const config = yaml === undefined ? {} : { config: temporaryFile('agent.yaml', yaml) };
  return resolveSettings(agentSettings, agentConfigSchema, {
    program: 'shoal agent',
    flags: { ...config, ...flags },
    env,
  });
}

/** The lines of the complaint, the file's folder left out. */
function complaints(given: Given): string[] {
  try {
    resolve(given);
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    expect(error.exitCode).toBe(2);
    return error.lines.map((line) => line.replaceAll(/[^\s"]*\/(agent\.yaml|[a-z-]+\.txt)/g, '$1'));
  }
  return [];
}

describe('precedence', () => {
  test('the strongest place that says something wins, whatever the others say', () => {
    const size = fc.option(fc.integer({ min: 2 ** 24, max: 2 ** 40 }), { nil: undefined });
    fc.assert(
      fc.property(size, size, size, (flag, variable, yaml) => {
        const { config } = resolve({
          flags: flag === undefined ? {} : { 'cache-size': String(flag) },
          env: variable === undefined ? {} : { SHOAL_CACHE_SIZE: String(variable) },
          ...(yaml === undefined ? {} : { yaml: `cache-size: ${yaml}\n` }),
        });
        expect(config.cacheSizeBytes).toBe(flag ?? variable ?? yaml ?? 50 * 2 ** 30);
      }),
      { numRuns: 50 },
    );
  });

  test('every setting can come from each place, and means the same', () => {
    const samples: Record<string, string> = {
      mirror: '127.0.0.2:1',
      admin: '127.0.0.2:2',
      registry: 'a.io=http://127.0.0.1:5000',
      'default-registry': 'ghcr.io',
      tracker: 'https://10.0.0.5:7302',
      'join-token': token,
      'peer-listen': '/ip4/127.0.0.1/tcp/1',
      'peer-announce': '/ip4/10.0.0.1/tcp/1',
      name: 'node-7',
      zone: 'b',
      'accept-prefetch': 'false',
      data: '/srv/x',
      'cache-size': '1GiB',
      'min-free-disk': '2GiB',
      'containerd-socket': '/run/c.sock',
      'containerd-root': '/srv/containerd',
      'containerd-namespace': 'k8s.io',
      'drain-timeout': '1m',
      'cache-ttl': '168h',
      'cache-high-water': '85',
      'cache-low-water': '70',
      'origin-dial-timeout': '1s',
      'origin-headers-timeout': '4s',
      'origin-stall-timeout': '5s',
      'tag-fresh': '0',
      'tag-stale': '1h',
      'allow-registry': 'ghcr.io',
      'docker-config': '/root/.docker/config.json',
      'access-fresh': '1m',
      'access-outage': '1h',
      'peer-upload-slots': '3',
      'peer-max-connections': '5',
      'upload-rate': '50MiB/s',
      'upload-rate-per-peer': '10MiB',
      'download-rate': '100MB',
      'download-rate-per-peer': '1048576',
      'piece-memory': '16MiB',
      'otlp-endpoint': 'http://10.0.0.5:4318',
      'trace-sample': '5%',
      'log-level': 'debug',
      'log-format': 'json',
    };
    const socket = { 'containerd-socket': '/run/c.sock' };
    /** What some have no meaning without. */
    const needed: Record<string, Record<string, string>> = {
      tracker: { 'join-token': token },
      'containerd-root': socket,
      'containerd-namespace': socket,
    };
    for (const { key } of agentSettings) {
      const sample = samples[key] ?? expect.fail(`no sample for ${key}`);
      const others = needed[key] ?? {};
      const yaml = key === 'registry' ? 'registry:\n  a.io: http://127.0.0.1:5000\n' : `${key}: ${sample}\n`;
      const fromFlag = resolve({ flags: { ...others, [key]: sample } }).config;
      expect(resolve({ flags: others, env: { [variableOf(key)]: sample } }).config, key).toEqual(fromFlag);
      expect(resolve({ flags: others, yaml }).config, key).toEqual(fromFlag);
      expect(fromFlag, key).not.toEqual(resolve({}).config);
    }
  });

  test('a list is taken whole from the strongest place', () => {
    const { config } = resolve({
      flags: { 'peer-listen': ['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/2'] },
      yaml: 'peer-listen: [/ip4/127.0.0.1/tcp/3]\n',
    });
    expect(config.peerListen).toEqual(['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/2']);
  });

  test('a variable holds a list with commas', () => {
    const env = { SHOAL_TRACKER: 'https://a:1, https://b:2', SHOAL_JOIN_TOKEN: token };
    expect(resolve({ env }).config.trackers).toEqual(['https://a:1', 'https://b:2']);
  });

  test('an empty variable and an empty YAML value say nothing', () => {
    expect(resolve({ env: { SHOAL_ZONE: '' }, yaml: 'zone: c\nadmin:\n' }).config).toMatchObject({
      zone: 'c',
      admin: { port: 7303 },
    });
  });

  test('the file is named by SHOAL_CONFIG, too, and --config wins', () => {
    const env = { SHOAL_CONFIG: temporaryFile('agent.yaml', 'zone: from-env\n') };
    expect(resolve({ env }).config.zone).toBe('from-env');
    expect(resolve({ env, yaml: 'zone: from-flag\n' }).config.zone).toBe('from-flag');
  });
});

describe('registries', () => {
  test('are taken host by host, each whole, so that a password stays with its address', () => {
    const { config } = resolve({
      flags: { registry: ['docker.io=http://127.0.0.1:5000'] },
      env: { SHOAL_REGISTRY: 'b.io=http://127.0.0.1:5001,index.docker.io=http://127.0.0.1:1' },
      yaml: 'registry:\n  docker.io: { username: u, password: p }\n  c.io: { username: u, password: 1234 }\n',
    });
    expect(config.registries).toEqual({
      'docker.io': { url: 'http://127.0.0.1:5000' },
      'b.io': { url: 'http://127.0.0.1:5001' },
      'c.io': { username: 'u', password: '1234' },
    });
  });

  test('read passwords and certificates from files', () => {
    const pem = '-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----';
    const [password, ca] = [temporaryFile('password.txt', 'p w\n'), temporaryFile('ca.txt', `${pem}\n`)];
    const login = `username: u, password-file: ${password}, open-to-clients: true`;
    const yaml = `registry:\n  c.io: { ${login}, ca-file: ${ca}, insecure-tls: true, tag-fresh: 5m, tag-stale: 0 }\n`;
    expect(resolve({ yaml }).config.registries).toEqual({
      'c.io': {
        username: 'u',
        password: 'p w',
        openToClients: true,
        ca: pem,
        insecureTls: true,
        tagFreshMs: 300_000,
        tagStaleMs: 0,
      },
    });
  });
});

test('a join token is read from the file after @', () => {
  const file = temporaryFile('token.txt', `${token}\n`);
  expect(resolve({ flags: { 'join-token': `@${file}` } }).config.joinToken).toBe(token);
  expect(resolve({ yaml: `join-token: "@${file}"\n` }).config.joinToken).toBe(token);
});

test('the zone may be in a file, too, which is no secret', () => {
  const file = temporaryFile('zone.txt', 'eu-west-1a\n');
  expect(resolve({ env: { SHOAL_ZONE: `@${file}` } }).config.zone).toBe('eu-west-1a');
  expect(complaints({ flags: { zone: '@/nowhere/zone.txt' } })).toEqual([
    'shoal agent: --zone "zone.txt" does not exist; check the path',
  ]);
});

describe('each wrong value is one line with its place, what is wrong and what to do', () => {
  const cases: [Given, string][] = [
    [
      { flags: { 'cache-size': '5zB' } },
      '--cache-size "5zB" is not a size; write it like 50GiB, 500MB or a plain number of bytes',
    ],
    [
      { env: { SHOAL_MIRROR: 'x' } },
      'SHOAL_MIRROR "x" is not an address; write it as HOST:PORT, e.g. 127.0.0.1:7300 or [::1]:7300',
    ],
    [
      { yaml: 'zone: a\nlog-level: loud\n' },
      'agent.yaml:2:12: log-level "loud" is not a log level; choose trace, debug, info, warn, error, fatal or silent',
    ],
    [{ yaml: 'chache-size: 1GiB\n' }, 'agent.yaml:1:1: unknown key "chache-size"; did you mean cache-size?'],
    [
      { yaml: 'registry:\n  a.io: { passwort: x }\n' },
      'agent.yaml:2:11: registry "a.io" has an unknown key "passwort"; did you mean password?',
    ],
    [
      { yaml: 'registry:\n  a.io: ftp://u:hunter2@a.io\n' },
      'agent.yaml:2:9: registry "ftp://…@a.io" is not the address of a registry; ',
    ],
    [{ yaml: 'registry:\n  "!!": http://a\n' }, 'agent.yaml:2:3: registry "!!" is not a registry host; '],
    [{ yaml: 'registry: docker.io\n' }, 'agent.yaml:1:11: registry "docker.io" is not a map; '],
    [
      { flags: { registry: ['docker.io'] } },
      '--registry "docker.io" is not HOST=URL; write it like docker.io=http://127.0.0.1:5000',
    ],
    [
      { yaml: 'peer-listen: [/ip4/0.0.0.0/tcp/1, /ip4/0.0.0.0/udp/1]\n' },
      'agent.yaml:1:35: peer-listen "/ip4/0.0.0.0/udp/1" is not an address to listen on; ',
    ],
    [{ yaml: 'peer-listen: []\n' }, 'agent.yaml:1:14: peer-listen (a list) is empty; '],
    [{ yaml: 'zone: [a, b]\n' }, 'agent.yaml:1:7: zone (a list) is a list; give a single value'],
    [{ yaml: 'zone: { password: hunter2 }\n' }, 'agent.yaml:1:7: zone (a map) is not a single value; give one'],
    [{ flags: { tracker: ['https://a:1'] } }, '--join-token is missing; every agent with a tracker needs the token'],
    [{ flags: { 'join-token': 'hunter2' } }, '--join-token (not shown) is not a join token; '],
    [
      { env: { SHOAL_JOIN_TOKEN: '@/nowhere/token.txt' } },
      'SHOAL_JOIN_TOKEN "token.txt" does not exist; check the path',
    ],
    [{ flags: { config: '/nowhere/agent.yaml' } }, '--config "agent.yaml" does not exist; check the path'],
    [{ yaml: 'zone: "a\n' }, 'agent.yaml:2:1: '],
    [{ yaml: 'zone: a\nzone: b\n' }, 'agent.yaml:2:1: this key stands here for the second time; keep one of them'],
    [{ yaml: 'join-token: @/etc/token\n' }, 'agent.yaml:1:13: a value that starts with @, ` or % must be in quotes'],
    [{ yaml: 'zone:\n\t- a\n' }, 'agent.yaml:2:1: a tab indents this line; use spaces'],
    [{ yaml: '- zone\n' }, 'agent.yaml:1:1: settings are expected here, as lines of "key: value"'],
    [{ yaml: 'zone: &a [*a]\n' }, 'agent.yaml:1:'],
    [{ yaml: 'mirror: *:7300\n' }, 'agent.yaml:1:9: a value that starts with * must be in quotes'],
    [{ yaml: 'zone: a\n---\nzone: b\n' }, 'agent.yaml:2:1: the file holds several documents; '],
    [{ yaml: 'peers: { slots: 1 }\n' }, 'agent.yaml:1:1: unknown key "peers"; the keys are mirror, admin, '],
    [{ yaml: 'registry:\n  a.io: { password: [hunter2] }\n' }, 'agent.yaml:2:21: password (not shown) is not a single'],
    [
      { yaml: 'registry:\n  a.io: me:hunter2\n' },
      'agent.yaml:2:9: registry "a.io: …" is not the address of a registry; ',
    ],
    [{ yaml: 'join-token: hunter2: x\n' }, 'agent.yaml:1:13: a second "key: value" in the same line; '],
    [{ flags: { registry: ['a.io=me:hunter2'] } }, '--registry "a.io=…" is not the address of a registry; '],
    [{ flags: { registry: ['me:hunter2'] } }, '--registry "…" is not HOST=URL; '],
    [{ flags: { zone: 'me:hunter2@a.io' } }, '--zone "…@a.io" is not a zone; '],
    [{ flags: { registry: ['a.io=https://a.io/?token=hunter2'] } }, '--registry "https://a.io/?…" is not the address'],
    [{ flags: { zone: `${token}hunter2` } }, '--zone "shoal1.…" is not a zone; '],
    [{ env: { SHOAL_ZONE: `${'x'.repeat(5_000)}hunter2` } }, 'SHOAL_ZONE (5007 characters) is not a zone; '],
    [{ flags: { 'join-token': '@/dev/null' } }, '--join-token "@/dev/null" is not a join token; '],
    [{ flags: { 'join-token': '@/dev/zero' } }, '--join-token "@/dev/zero" is larger than 1 MiB; check the path'],
    [{ flags: { config: '/dev/zero' } }, '--config "/dev/zero" is larger than 1 MiB; check the path'],
    [{ flags: { config: '/' } }, '--config "/" is a folder; name a file'],
    [{ flags: { 'origin-stall-timeout': '3' } }, '--origin-stall-timeout "3" is not a duration; write it like 500ms, '],
    [{ flags: { 'upload-rate': '400Mbit' } }, '--upload-rate "400Mbit" is not a rate; write it in bytes per second, '],
    [{ yaml: 'download-rate: 0\n' }, 'agent.yaml:1:16: download-rate "0" is too slow for pieces to get through; '],
    [
      { flags: { 'cache-low-water': 'half' } },
      '--cache-low-water "half" is not a share; write it in per cent, like 90',
    ],
    [{ flags: { 'cache-high-water': '101%' } }, '--cache-high-water "101%" is out of range; choose 10 to 100 per cent'],
    [
      { flags: { 'cache-low-water': '90' }, env: { SHOAL_CACHE_HIGH_WATER: '80' } },
      '--cache-low-water "90" is above cache-high-water; choose at most that',
    ],
    [{ env: { SHOAL_PEER_UPLOAD_SLOTS: '-1' } }, 'SHOAL_PEER_UPLOAD_SLOTS "-1" is not a whole number; '],
  ];
  test.each(cases)('%j', (given, expected) => {
    const lines = complaints(given);
    expect(lines).toEqual([expect.stringContaining(`shoal agent: ${expected}`)]);
    expect(lines[0]).not.toMatch(/hunter2|\n/);
  });

  test('a short file that unfolds into a huge one is refused', () => {
    const lists = Array.from({ length: 6 }, (_, n) => `l${n + 1}: &l${n + 1} [${Array(20).fill(`*l${n}`).join(', ')}]`);
    expect(complaints({ yaml: ['l0: &l0 a', ...lists, ''].join('\n') })).toEqual([
      expect.stringMatching(/: the file holds too many values; it is no configuration$/),
    ]);
  });

  test('a secret file that is not text is told', () => {
    const file = temporaryFile('token.txt', '');
    writeFileSync(file, Buffer.from([0xff, 0xfe, 0x00]));
    expect(complaints({ flags: { 'join-token': `@${file}` } })).toEqual([
      'shoal agent: --join-token "token.txt" is not UTF-8 text; check that it is the right file',
    ]);
  });

  test('several wrong values are all told at once', () => {
    expect(complaints({ flags: { mirror: 'x' }, env: { SHOAL_ADMIN: 'y' } })).toHaveLength(2);
  });

  test('no text makes anything but a configuration or a complaint', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...agentSettings.map(({ key }) => key)),
        fc.string({ unit: 'binary' }),
        (key, text) => {
          for (const given of [{ flags: { [key]: text } }, { env: { [variableOf(key)]: text } }]) {
            for (const line of complaints(given)) expect(line).toMatch(/^shoal agent: (--|SHOAL_)[^\n]+$/);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

test('a misspelt variable is warned about, those of Kubernetes are left alone', () => {
  const env = { SHOAL_CACHESIZE: '1GiB', SHOAL_TRACKER_PORT_7302_TCP_ADDR: '10.0.0.1', SHOAL_SERVICE_HOST: '10.0.0.1' };
  expect(resolve({ env }).warnings).toEqual([
    'the variable SHOAL_CACHESIZE is unknown and ignored; did you mean SHOAL_CACHE_SIZE?',
  ]);
});

test.each([
  ['agent', agentSettings, agentConfigSchema],
  ['tracker', trackerSettings, trackerConfigSchema],
] as const)('the defaults that the help of %s names are the ones that count', (program, settings, schema) => {
  const named = Object.fromEntries(
    settings.flatMap(({ key, defaultText }) => (defaultText === undefined ? [] : [[key, defaultText]])),
  );
  const { config } = resolveSettings(settings, schema, { program, flags: named, env: {} });
  expect(config).toEqual(schema.parse({}));
});
