/** What an agent does when nobody says otherwise. The command line's help repeats these; a test compares them. */
export const DEFAULT_MIRROR: Readonly<{ host: string; port: number }> = { host: '127.0.0.1', port: 7300 };
export const DEFAULT_PEER_LISTEN = '/ip4/0.0.0.0/tcp/7301';
export const DEFAULT_ADMIN: Readonly<{ host: string; port: number }> = { host: '127.0.0.1', port: 7303 };
export const DEFAULT_DATA_DIR = '/var/lib/shoal';
/** 50 GiB */
export const DEFAULT_CACHE_SIZE_BYTES: number = 50 * 2 ** 30;
/** The store never takes the disk below this: 1 GiB. */
export const DEFAULT_MIN_FREE_DISK_BYTES: number = 2 ** 30;
/** How long requests under way may go on when the agent is told to stop: 20 s. */
export const DEFAULT_DRAIN_TIMEOUT_MS = 20_000;
export const MAX_DRAIN_TIMEOUT_MS: number = 60 * 60_000;
/** Of the cache's size: eviction starts above the first and goes on down to the second. */
export const DEFAULT_CACHE_HIGH_WATER_PERCENT = 100;
export const DEFAULT_CACHE_LOW_WATER_PERCENT = 90;
/** Blobs are kept until there is need for their room. */
export const DEFAULT_CACHE_TTL_MS = 0;
export const DEFAULT_ZONE = 'default';
export const DEFAULT_REGISTRY = 'docker.io';
export const DEFAULT_ORIGIN_DIAL_MS = 3_000;
export const DEFAULT_ORIGIN_HEADERS_MS = 10_000;
export const DEFAULT_ORIGIN_STALL_MS = 2_000;
/** How long an answer about a tag serves the whole cluster: 30 s. */
export const DEFAULT_TAG_FRESH_MS = 30_000;
export const DEFAULT_PEER_MAX_CONNECTIONS = 64;
/** Pieces on their way from other agents, over all pulls: 48 MiB. */
export const DEFAULT_PIECE_MEMORY_BYTES: number = 48 * 2 ** 20;
/** Of the requests that bring no trace of their own, per cent. */
export const DEFAULT_TRACE_SAMPLE_PERCENT = 100;
export const DEFAULT_LOG_LEVEL = 'info';
/** `auto`: readable on a terminal, JSON elsewhere. */
export const DEFAULT_LOG_FORMAT = 'auto';

/** Smaller than this, one layer pushes the other out before both were used: 16 MiB. */
export const MIN_CACHE_SIZE_BYTES: number = 16 * 2 ** 20;
/** With less, hardly anything is cached. */
export const MIN_CACHE_WATER_PERCENT = 10;
export const MAX_CACHE_TTL_MS: number = 10 * 365 * 24 * 60 * 60_000;
export const MAX_DEADLINE_MS: number = 10 * 60_000;
/** How long what a tag last was is given while its registry cannot be asked: 7 days. */
export const DEFAULT_TAG_STALE_MS: number = 7 * 24 * 60 * 60_000;
export const MAX_TAG_STALE_MS: number = 365 * 24 * 60 * 60_000;
/** How long a registry's yes to a client's credential counts: 5 min. */
export const DEFAULT_GRANT_MS: number = 5 * 60_000;
/** The same while the registry cannot be asked: 12 h. */
export const DEFAULT_OUTAGE_MS: number = 12 * 60 * 60_000;
export const MAX_GRANT_MS: number = 60 * 60_000;
export const MAX_OUTAGE_MS: number = 30 * 24 * 60 * 60_000;
/** A tag that nobody asks for within an hour would be as good as a digest. */
export const MAX_TAG_FRESH_MS: number = 60 * 60_000;
/** With less, a piece does not pass within the time that an agent waits for its next 64 KiB: 64 KiB per second. */
export const MIN_BYTES_PER_SECOND: number = 64 * 2 ** 10;
/** The largest piece: 4 MiB. */
export const MIN_PIECE_MEMORY_BYTES: number = 4 * 2 ** 20;
export const MAX_UPLOAD_SLOTS = 1_024;
export const MAX_PEER_CONNECTIONS = 10_000;
export const MAX_LIST_LENGTH = 64;
export const MAX_REGISTRIES = 1_000;
