/**
 * Everything an agent can be told, as it is used: sizes in bytes, times in milliseconds, files already read. The command
 * line turns flags, environment and YAML into this; `startAgent` takes it.
 *
 * A message here continues a sentence that starts with the wrong value ("ftp://x" is not …), never repeats the value,
 * and says what to write instead: the caller knows where the value came from and whether it may be shown.
 */

import { normaliseRegistryHost } from '@shoal/oci';
import { DEFAULT_UPLOAD_SLOTS } from '@shoal/swarm';
import { isNodeName, parseJoinToken } from '@shoal/wire';
import { z } from 'zod';
import { isRegistryPattern } from '../origin/allow-list.ts';
import * as defaults from './defaults.ts';
import { isAnnounceAddress, isListenAddress } from './peer-address.ts';

export interface HostPort {
  /** A name or address; IPv6 without brackets. */
  host: string;
  /** 0 takes a free one. */
  port: number;
}

const MAX_TEXT_LENGTH = 4_096;
const MAX_PEM_LENGTH = 2 ** 20;
const MAX_PORT = 65_535;
const ZONE = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;

/**
 * Text that must fulfil `test`, or is complained of as `wrong`. What is to be written instead, `advice`, also describes
 * the value to whoever shows the schema.
 */
function text(test: (value: string) => boolean, wrong: string, advice?: string): z.ZodType<string, string> {
  const error = advice === undefined ? wrong : `${wrong}; ${advice}`;
  const schema = z.string({ error }).refine((value) => value.length <= MAX_TEXT_LENGTH && test(value), { error });
  return advice === undefined ? schema : schema.meta({ description: advice });
}

function wholeNumber(min: number, max: number, unit: string): z.ZodType<number, number> {
  const error = `is out of range; choose ${min} to ${max}${unit}`;
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error });
}

const hostPort = z.object({ host: z.string().min(1), port: z.number().int().min(0).max(MAX_PORT) });

const zone = text(
  (value) => ZONE.test(value),
  'is not a zone',
  'use 1 to 64 letters, digits, dots, dashes and underscores, e.g. eu-west-1a',
);

/** containerd's own rule: https://github.com/containerd/containerd/blob/main/docs/namespaces.md */
const NAMESPACE = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;

function absolutePath(wrong: string, advice: string): z.ZodType<string, string> {
  return text((value) => value.startsWith('/') && !value.includes('\0'), wrong, advice);
}

/** The URL's origin is all a tracker has. */
const trackerUrl = text(
  (value) => {
    const url = URL.parse(value);
    return url !== null && url.protocol === 'https:' && isPlain(url) && url.pathname === '/' && url.search === '';
  },
  'is not the address of a tracker',
  'write it like https://10.0.0.5:7302',
).transform((value) => new URL(value).origin);

function httpUrl(wrong: string, advice: string): z.ZodType<string, string> {
  return text(
    (value) => {
      const url = URL.parse(value);
      return url !== null && ['http:', 'https:'].includes(url.protocol) && isPlain(url) && url.search === '';
    },
    wrong,
    advice,
  );
}

function isPlain(url: URL): boolean {
  return url.username === '' && url.password === '' && url.hash === '';
}

const registryUrl = httpUrl(
  'is not the address of a registry',
  'write it like http://127.0.0.1:5000, with user name and password as keys of their own in the configuration file',
);

const otlpUrl = httpUrl('is not the address of a collector', 'write it like http://otel-collector:4318');

const registryHost = text(
  (value) => normaliseRegistryHost(value) !== undefined,
  'is not a registry host',
  'write it like docker.io or registry.example.com:5000',
).transform((value) => normaliseRegistryHost(value) ?? value);

const registry = z
  .strictObject({
    /** How to reach it. @default https://HOST, or http://HOST for loopback hosts */
    url: registryUrl.optional(),
    username: text((value) => value.length > 0, 'is empty; leave it out or fill it in').optional(),
    password: text((value) => value.length > 0, 'is empty; leave it out or fill it in').optional(),
    /** Accept any certificate. */
    insecureTls: z.boolean({ error: 'is not true or false; write one of them' }).optional(),
    /** As `access.tagFreshMs` and `access.tagStaleMs`, for this registry. */
    tagFreshMs: wholeNumber(0, defaults.MAX_TAG_FRESH_MS, ' ms').optional(),
    tagStaleMs: wholeNumber(0, defaults.MAX_TAG_STALE_MS, ' ms').optional(),
    /** Every client of this node may read what user name and password open; else only who the registry accepts itself. */
    openToClients: z.boolean({ error: 'is not true or false; write one of them' }).optional(),
    /** PEM certificates trusted beside the system's. */
    ca: z
      .string()
      .max(MAX_PEM_LENGTH)
      .includes('-----BEGIN CERTIFICATE-----', { error: 'holds no PEM certificate; name a file that does' })
      .optional(),
  })
  .refine(({ username, password }) => (username === undefined) === (password === undefined), {
    error: 'has only one of username and password; give both or neither',
  })

  .transform(present);

/** Without the keys whose value is undefined, as `exactOptionalPropertyTypes` wants it. */
function present<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(value).filter(([, held]) => held !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

const registries = z.record(z.string(), registry).transform((byName, context) => {
  const byHost: Record<string, z.output<typeof registry>> = {};
  for (const [name, value] of Object.entries(byName)) {
    const host = normaliseRegistryHost(name);
    if (host === undefined) {
      const message = 'is not a registry host; write it like docker.io or registry.example.com:5000';
      context.addIssue({ code: 'custom', message, path: [name], params: { isKey: true } });
    } else if (Object.hasOwn(byHost, host)) {
      const message = `is a second spelling of ${host}; keep one of them`;
      context.addIssue({ code: 'custom', message, path: [name], params: { isKey: true } });
    } else byHost[host] = value;
  }
  if (Object.keys(byName).length > defaults.MAX_REGISTRIES) {
    context.addIssue({ code: 'custom', message: `has too many hosts; ${defaults.MAX_REGISTRIES} are allowed` });
  }
  return byHost;
});

const rate = z
  .number()
  .int()
  .min(defaults.MIN_BYTES_PER_SECOND, { error: 'is too slow for pieces to get through; give at least 64KiB' });
const deadline = wholeNumber(1, defaults.MAX_DEADLINE_MS, ' ms');
const list = <T extends z.ZodType>(item: T): z.ZodArray<T> =>
  z
    .array(item)
    .max(defaults.MAX_LIST_LENGTH, { error: `has too many entries; ${defaults.MAX_LIST_LENGTH} are allowed` });

export const logSchema = z.object({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      error: 'is not a log level; choose trace, debug, info, warn, error, fatal or silent',
    })
    .default(defaults.DEFAULT_LOG_LEVEL),
  format: z
    .enum(['auto', 'json', 'pretty'], { error: 'is not a log format; choose auto, json or pretty' })
    .default(defaults.DEFAULT_LOG_FORMAT),
});

export const agentConfigSchema = z
  .strictObject({
    /** The mirror's HTTP address, for the container runtime. */
    mirror: hostPort.default({ ...defaults.DEFAULT_MIRROR }),
    /** Multiaddrs to take other agents' connections on. */
    peerListen: list(
      text(
        isListenAddress,
        'is not an address to listen on',
        'write it like /ip4/0.0.0.0/tcp/7301 or /ip6/::/tcp/7301',
      ),
    )
      .min(1, { error: 'is empty; give at least one address, e.g. /ip4/0.0.0.0/tcp/7301' })
      .default([defaults.DEFAULT_PEER_LISTEN]),
    /** Multiaddrs told to others in place of the ones found; needed behind NAT. */
    peerAnnounce: list(
      text(
        isAnnounceAddress,
        'is not an address others can dial',
        'write it like /ip4/10.0.0.7/tcp/7301 or /dns4/node7.example/tcp/7301',
      ),
    ).optional(),
    admin: hostPort.default({ ...defaults.DEFAULT_ADMIN }),
    dataDir: text((value) => value.length > 0 && !value.includes('\0'), 'is not a folder; name one').default(
      defaults.DEFAULT_DATA_DIR,
    ),
    /** None: no swarm, only this machine's cache. */
    trackers: list(trackerUrl).default([]),
    joinToken: text(
      (value) => parseJoinToken(value) !== undefined,
      'is not a join token; the tracker writes one like shoal1.….… into the file join-token in its data folder',
    )
      .transform((value) => value.trim())
      .optional(),
    cacheSizeBytes: z
      .number()
      .int()
      .min(defaults.MIN_CACHE_SIZE_BYTES, { error: 'is too small for a cache; give at least 16MiB' })
      .default(defaults.DEFAULT_CACHE_SIZE_BYTES),
    minFreeDiskBytes: z.number().int().nonnegative().default(defaults.DEFAULT_MIN_FREE_DISK_BYTES),
    /** How long requests under way may go on when the agent is told to stop. */
    drainTimeoutMs: wholeNumber(0, defaults.MAX_DRAIN_TIMEOUT_MS, ' ms').default(defaults.DEFAULT_DRAIN_TIMEOUT_MS),
    cache: z
      .strictObject({
        /** How long a blob is kept that nobody reads; 0: until there is need for its room. */
        ttlMs: wholeNumber(0, defaults.MAX_CACHE_TTL_MS, ' ms').default(defaults.DEFAULT_CACHE_TTL_MS),
        /** Per cent of `cacheSizeBytes`: above this, blobs are evicted. */
        highWaterPercent: wholeNumber(defaults.MIN_CACHE_WATER_PERCENT, 100, ' per cent').default(
          defaults.DEFAULT_CACHE_HIGH_WATER_PERCENT,
        ),
        /** Down to this. @default 90, or `highWaterPercent` where that is less */
        lowWaterPercent: wholeNumber(defaults.MIN_CACHE_WATER_PERCENT, 100, ' per cent').optional(),
      })
      .refine(({ highWaterPercent, lowWaterPercent = 0 }) => lowWaterPercent <= highWaterPercent, {
        error: 'is above cache-high-water; choose at most that',
        path: ['lowWaterPercent'],
      })
      .transform(({ lowWaterPercent, ...cache }) => ({
        ...cache,
        lowWaterPercent: lowWaterPercent ?? Math.min(defaults.DEFAULT_CACHE_LOW_WATER_PERCENT, cache.highWaterPercent),
      }))
      .prefault({}),
    /** The container runtime's content store, as a second source of blobs that is only read. */
    containerd: z
      .strictObject({
        /** Of its API. Without it nothing of containerd is shared. */
        socket: absolutePath('is not the path of a socket', 'write it like /run/containerd/containerd.sock').optional(),
        /** Its root folder, where that is elsewhere than containerd itself says. */
        root: absolutePath('is not a folder', 'write it like /var/lib/containerd').optional(),
        /** Of which content is shared. None: all. */
        namespaces: list(
          text((value) => NAMESPACE.test(value), 'is not a namespace of containerd', 'write it like k8s.io or default'),
        ).default([]),
      })
      .prefault({}),
    /** What people call this node. @default the host's name */
    name: text(
      isNodeName,
      'is not a name for a node',
      'use 1 to 64 letters, digits, dots, dashes and underscores, e.g. node-7',
    ).optional(),
    zone: zone.default(defaults.DEFAULT_ZONE),
    /** Whether orders of other members to prefetch images are carried out. */
    acceptPrefetch: z.boolean({ error: 'is not true or false; write one of them' }).default(true),
    /** By registry host. A host outside the public internet is dialled only when it is named here. */
    registries: registries.default({}),
    /** Registries that may be asked beside those configured by name, `HOST` or `*.DOMAIN`. None: any public one. */
    allowRegistries: list(
      text(isRegistryPattern, 'is not a registry host', 'write it like docker.io or *.dkr.ecr.eu-west-1.amazonaws.com'),
    ).default([]),
    /** Files as `docker login` writes them, or pull secrets of that form, for registries without configured credentials. */
    dockerConfigs: list(text((value) => value.length > 0 && !value.includes('\0'), 'is not a file; name one')).default(
      [],
    ),
    /** The registry of images whose request names none. */
    defaultRegistry: registryHost.default(defaults.DEFAULT_REGISTRY),
    origin: z
      .strictObject({
        dialMs: deadline.default(defaults.DEFAULT_ORIGIN_DIAL_MS),
        headersMs: deadline.default(defaults.DEFAULT_ORIGIN_HEADERS_MS),
        stallMs: deadline.default(defaults.DEFAULT_ORIGIN_STALL_MS),
      })
      .prefault({}),
    access: z
      .strictObject({
        /** How long an answer about a tag serves the whole cluster; 0: every agent asks the registry itself. */
        tagFreshMs: wholeNumber(0, defaults.MAX_TAG_FRESH_MS, ' ms').default(defaults.DEFAULT_TAG_FRESH_MS),
        /** How long what a tag last was is given while its registry cannot be asked; 0: not at all. */
        tagStaleMs: wholeNumber(0, defaults.MAX_TAG_STALE_MS, ' ms').default(defaults.DEFAULT_TAG_STALE_MS),
        /** How long a registry's yes to a client's credential counts. */
        grantMs: wholeNumber(0, defaults.MAX_GRANT_MS, ' ms').default(defaults.DEFAULT_GRANT_MS),
        /** How long it counts while the registry cannot be asked. */
        outageMs: wholeNumber(0, defaults.MAX_OUTAGE_MS, ' ms').default(defaults.DEFAULT_OUTAGE_MS),
      })
      .prefault({}),
    peers: z
      .strictObject({
        uploadSlots: wholeNumber(1, defaults.MAX_UPLOAD_SLOTS, '').default(DEFAULT_UPLOAD_SLOTS),
        maxConnections: wholeNumber(1, defaults.MAX_PEER_CONNECTIONS, '').default(
          defaults.DEFAULT_PEER_MAX_CONNECTIONS,
        ),
      })
      .prefault({}),
    limits: z
      .strictObject({
        /** Pieces sent to all other agents together, in bytes per second. @default no limit */
        uploadBytesPerSecond: rate.optional(),
        /** Pieces from other agents and bodies from registries together. @default no limit */
        downloadBytesPerSecond: rate.optional(),
        /** Pieces sent to one other agent. @default no limit */
        uploadBytesPerSecondPerPeer: rate.optional(),
        /** Pieces from one other agent. @default no limit */
        downloadBytesPerSecondPerPeer: rate.optional(),
        /** Pieces on their way from other agents. */
        pieceMemoryBytes: z
          .number()
          .int()
          .min(defaults.MIN_PIECE_MEMORY_BYTES, { error: 'is less than one piece can take; give at least 4MiB' })
          .default(defaults.DEFAULT_PIECE_MEMORY_BYTES),
      })
      .prefault({}),
    tracing: z
      .strictObject({
        /** Base address of a collector that takes OTLP over HTTP. @default nothing is traced */
        endpoint: otlpUrl.optional(),
        /** Of the requests that bring no trace of their own, the share that begins one. */
        samplePercent: wholeNumber(0, 100, ' per cent').default(defaults.DEFAULT_TRACE_SAMPLE_PERCENT),
      })
      .prefault({}),
    log: logSchema.prefault({}),
  })
  .superRefine((config, context) => {
    if (config.trackers.length > 0 && config.joinToken === undefined) {
      const message = 'is missing; every agent with a tracker needs the token that the tracker made, as TOKEN or @FILE';
      context.addIssue({ code: 'custom', message, path: ['joinToken'], input: undefined });
    }
    for (const [host, { openToClients, username }] of Object.entries(config.registries)) {
      if (openToClients !== true || username !== undefined || config.dockerConfigs.length > 0) continue;
      const message =
        'is true without any credentials; give a username and password or a docker-config, or leave it out';
      context.addIssue({ code: 'custom', message, path: ['registries', host, 'openToClients'] });
    }
    const { socket, root, namespaces } = config.containerd;
    if (socket === undefined && (root !== undefined || namespaces.length > 0)) {
      const message = 'has no effect without containerd-socket; give that too, or leave it out';
      context.addIssue({ code: 'custom', message, path: ['containerd', root === undefined ? 'namespaces' : 'root'] });
    }
    const { mirror, admin } = config;
    if (mirror.port !== 0 && mirror.port === admin.port && mirror.host === admin.host) {
      context.addIssue({
        code: 'custom',
        message: 'is also the address of the mirror; choose another',
        path: ['admin'],
      });
    }
  })
  .transform(present);

/** What may be left out is filled in by `agentConfigSchema.parse`. */
export type AgentConfigInput = z.input<typeof agentConfigSchema>;
export type AgentConfig = z.output<typeof agentConfigSchema>;
