import { describe, expect, test } from 'vitest';
import { type AgentConfigInput, agentConfigSchema } from './agent-config.ts';

const token = `shoal1.${Buffer.alloc(32, 1).toString('base64url')}.${Buffer.alloc(32, 2).toString('base64url')}`;

function complaints(input: AgentConfigInput): string[] {
  const parsed = agentConfigSchema.safeParse(input);
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`);
}

test('35: says nothing means the documented defaults, loopback for the mirror', () => {
  expect(agentConfigSchema.parse({})).toEqual({
    mirror: { host: '127.0.0.1', port: 7300 },
    peerListen: ['/ip4/0.0.0.0/tcp/7301'],
    admin: { host: '127.0.0.1', port: 7303 },
    dataDir: '/var/lib/shoal',
    trackers: [],
    cacheSizeBytes: 53_687_091_200,
    minFreeDiskBytes: 1_073_741_824,
    drainTimeoutMs: 20_000,
    cache: { ttlMs: 0, highWaterPercent: 100, lowWaterPercent: 90 },
    containerd: { namespaces: [] },
    zone: 'default',
    acceptPrefetch: true,
    registries: {},
    allowRegistries: [],
    dockerConfigs: [],
    defaultRegistry: 'docker.io',
    origin: { dialMs: 3_000, headersMs: 10_000, stallMs: 2_000 },
    access: { tagFreshMs: 30_000, tagStaleMs: 604_800_000, grantMs: 300_000, outageMs: 43_200_000 },
    peers: { uploadSlots: 6, maxConnections: 64 },
    limits: { pieceMemoryBytes: 50_331_648 },
    tracing: { samplePercent: 100 },
    log: { level: 'info', format: 'auto' },
  });
});

test('the low mark of the cache follows a high one that is below it', () => {
  expect(agentConfigSchema.parse({ cache: { highWaterPercent: 60 } }).cache).toMatchObject({ lowWaterPercent: 60 });
});

test('containerd’s content: absolute paths, its own names for namespaces, and nothing without a socket', () => {
  const given = { socket: '/run/containerd/containerd.sock', root: '/srv/containerd', namespaces: ['k8s.io', 'a-b_c'] };
  expect(complaints({ containerd: given })).toEqual([]);
  expect(complaints({ containerd: { socket: 'containerd.sock', namespaces: ['a b'] } })).toEqual([
    'containerd.socket is not the path of a socket; write it like /run/containerd/containerd.sock',
    'containerd.namespaces.0 is not a namespace of containerd; write it like k8s.io or default',
  ]);
  const why = 'has no effect without containerd-socket; give that too, or leave it out';
  expect(complaints({ containerd: { root: '/srv/containerd' } })).toEqual([`containerd.root ${why}`]);
  expect(complaints({ containerd: { namespaces: ['k8s.io'] } })).toEqual([`containerd.namespaces ${why}`]);
});

test('registry hosts take their one spelling', () => {
  const { registries, defaultRegistry } = agentConfigSchema.parse({
    registries: { 'Index.Docker.IO': { url: 'http://127.0.0.1:5000' } },
    defaultRegistry: 'GHCR.io',
  });
  expect(registries).toEqual({ 'docker.io': { url: 'http://127.0.0.1:5000' } });
  expect(defaultRegistry).toBe('ghcr.io');
});

test('a host may have the name of something that every object has', () => {
  const registries = { constructor: { url: 'http://127.0.0.1:5000' } };
  expect(agentConfigSchema.parse({ registries }).registries).toEqual(registries);
});

test('a tracker is kept as its origin, and the token without white space', () => {
  const { trackers, joinToken } = agentConfigSchema.parse({
    trackers: ['https://10.0.0.5:7302/'],
    joinToken: ` ${token}\n`,
  });
  expect(trackers).toEqual(['https://10.0.0.5:7302']);
  expect(joinToken).toBe(token);
});

describe('refuses', () => {
  const cases: [string, AgentConfigInput, RegExp][] = [
    ['a tracker without a token', { trackers: ['https://a:1'] }, /^joinToken is missing; /],
    ['a tracker over http', { trackers: ['http://a:1'], joinToken: token }, /^trackers\.0 is not the address of a tr/],
    ['a malformed token', { joinToken: 'hunter2' }, /^joinToken is not a join token; /],
    [
      'an address listened on twice',
      { admin: { host: '127.0.0.1', port: 7300 } },
      /^admin is also the address of the m/,
    ],
    ['peers over UDP', { peerListen: ['/ip4/0.0.0.0/udp/7301'] }, /^peerListen\.0 is not an address to listen on/],
    ['listening on a name', { peerListen: ['/dns4/a.example/tcp/7301'] }, /^peerListen\.0 is not an address to listen/],
    ['no peer address', { peerListen: [] }, /^peerListen is empty/],
    ['announcing a wildcard', { peerAnnounce: ['/ip4/0.0.0.0/tcp/7301'] }, /^peerAnnounce\.0 is not an address others/],
    ['a cache too small to work', { cacheSizeBytes: 1 }, /^cacheSizeBytes is too small/],
    ['an empty zone', { zone: '' }, /^zone is not a zone/],
    ['no upload slots', { peers: { uploadSlots: 0 } }, /^peers\.uploadSlots is out of range; choose 1 to 1024/],
    ['a rate of nothing', { limits: { uploadBytesPerSecond: 0 } }, /^limits\.uploadBytesPerSecond is too slow/],
    ['memory for no piece', { limits: { pieceMemoryBytes: 2 ** 20 } }, /^limits\.pieceMemoryBytes is less than one/],
    ['an endless deadline', { origin: { stallMs: 1e9 } }, /^origin\.stallMs is out of range/],
    [
      'tags fresh for ever',
      { access: { tagFreshMs: 1e9 } },
      /^access\.tagFreshMs is out of range; choose 0 to 3600000 ms/,
    ],
    [
      'credentials in an address',
      { registries: { 'a.io': { url: 'https://u:pw@a.io' } } },
      /url is not the address of a/,
    ],
    [
      'half a login',
      { registries: { 'a.io': { username: 'u' } } },
      /^registries\.a\.io has only one of username and p/,
    ],
    [
      'two spellings of a host',
      { registries: { 'docker.io': {}, 'index.docker.io': {} } },
      /is a second spelling of docker/,
    ],
    ['a registry that is no host', { registries: { '!!': {} } }, /^registries\.!! is not a registry host/],
  ];
  test.each(cases)('%s', (_name, input, complaint) => {
    expect(complaints(input)).toEqual([expect.stringMatching(complaint)]);
  });
});

test('no complaint repeats a secret', () => {
  const input = {
    joinToken: 'hunter2',
    registries: { 'a.io': { url: 'https://u:hunter2@a.io', password: 'hunter2' } },
  };
  expect(complaints(input).join()).not.toContain('hunter2');
});
