/**
 * Everything a tracker can be told, as it is used. The command line turns flags, environment and YAML into this.
 * A message here continues a sentence that starts with the wrong value and says what to write instead.
 */
import { z } from 'zod';

export const DEFAULT_LISTEN: Readonly<{ host: string; port: number }> = { host: '0.0.0.0', port: 7302 };
export const DEFAULT_DATA_DIR = '/var/lib/shoal-tracker';
export const DEFAULT_STORE = 'level';

const MAX_PORT = 65_535;

const store = z.string().transform((value, context): 'level' => {
  if (value === 'level') return value;
  const message = /^rediss?:\/\//.test(value)
    ? 'is not available yet: this version keeps its state in its data folder; write level or leave it out'
    : 'is not a kind of store; write level or leave it out';
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

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
  store: store.default(DEFAULT_STORE),
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
