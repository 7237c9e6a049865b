/**
 * Everything a tracker can be told, as it is used. The command line turns flags, environment and YAML into this.
 * A message here continues a sentence that starts with the wrong value and says what to write instead.
 */
import { z } from 'zod';

export const DEFAULT_LISTEN: Readonly<{ host: string; port: number }> = { host: '0.0.0.0', port: 7302 };
export const DEFAULT_DATA_DIR = '/var/lib/shoal-tracker';
export const DEFAULT_STORE = 'level';

const MAX_PORT = 65_535;
const MAX_NAMES = 16;
const HOST_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i;

const store = z.string().superRefine((value, context) => {
  const message = complaintAboutStore(value);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
});

function complaintAboutStore(value: string): string | undefined {
  if (value === 'level') return undefined;
  if (!/^rediss?:\/\//.test(value)) return 'is not a kind of store; write level, or redis://HOST:PORT/DB';
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || url.hostname === '') return 'is not an address; write redis://HOST:PORT/DB';
  return /^\/?\d*$/.test(url.pathname) && url.hash === '' && url.search === ''
    ? undefined
    : 'has something other than the number of a database behind its host; write redis://HOST:PORT/DB';
}

const advertise = z.string().refine((value) => isHttpsOrigin(value), {
  error: 'is not an address of a tracker; write https://HOST:PORT',
});

function isHttpsOrigin(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, pathname, username, search, hash } = new URL(value);
  return protocol === 'https:' && pathname === '/' && username + search + hash === '';
}

export const trackerConfigSchema = z.strictObject({
  /** Port 0 takes a free one. */
  listen: z
    .object({ host: z.string().min(1), port: z.number().int().min(0).max(MAX_PORT) })
    .default({ ...DEFAULT_LISTEN }),
  dataDir: z
    .string()
    .refine((value) => value.length > 0 && !value.includes('\0'), { error: 'is not a folder; name one' })
    .default(DEFAULT_DATA_DIR),
  identityDir: z
    .string()
    .refine((value) => value.length > 0 && !value.includes('\0'), { error: 'is not a folder; name one' })
    .optional(),
  /** `level`, or where several trackers keep together what each of them would keep in its data folder. */
  store: store.default(DEFAULT_STORE),
  /** As the other trackers on the store reach this one. */
  advertise: advertise.optional(),
  /** Where the page for people is; left out: nowhere. Port 0 takes a free one. */
  dashboard: z.object({ host: z.string().min(1), port: z.number().int().min(0).max(MAX_PORT) }).optional(),
  dashboardNames: z
    .array(z.string().regex(HOST_NAME, { error: 'is not a name of a host; write it like shoal.example.com' }))
    .max(MAX_NAMES, { error: `has too many entries; ${MAX_NAMES} are allowed` })
    .default([]),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
          error: 'is not a log level; choose trace, debug, info, warn, error, fatal or silent',
        })
        .default('info'),
      /** `auto`: readable on a terminal, JSON elsewhere. */
      format: z
        .enum(['auto', 'json', 'pretty'], { error: 'is not a log format; choose auto, json or pretty' })
        .default('auto'),
    })
    .prefault({}),
});

export type TrackerConfigInput = z.input<typeof trackerConfigSchema>;
export type TrackerConfig = z.output<typeof trackerConfigSchema>;
