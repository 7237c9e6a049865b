/** A scenario is a short YAML file that says what is rolled out, and how; `bench/scenarios` has some to copy from. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { parseSize } from '../../packages/cli/src/settings/quantity.ts';
import { parseBitRate, WrongUsage } from '../rig/flags.ts';

const FOLDER = join(import.meta.dirname, '../scenarios');
export const MAX_NODES = 200;
export const MAX_LAYERS = 120;

const quantity = <T extends number>(read: (text: string) => T | undefined, example: string) =>
  z.string().transform((text, context) => {
    const value = read(text);
    if (value !== undefined && value > 0) return value;
    context.addIssue({ code: 'custom', message: `write it like ${example}` });
    return z.NEVER;
  });
const rate = quantity(parseBitRate, '100mbit');

/** Bytes; `none` is 0. */
const warmUp = z.union([z.literal('none').transform(() => 0), quantity(parseSize, '64MiB, or none')]);

const scenarioSchema = z.strictObject({
  /** What it is about, in one line. */
  about: z.string(),
  nodes: z.number().int().min(1).max(MAX_NODES).default(8),
  /** All layers together. */
  image: quantity(parseSize, '256MiB').prefault('256MiB'),
  layers: z.number().int().min(1).max(MAX_LAYERS).default(4),
  /** Of every node, each way. */
  link: rate.prefault('100mbit'),
  /** Of the registry; `link` unless told. */
  originLink: rate.optional(),
  /** The nodes pull in so many groups, one after the other. */
  waves: z.number().int().min(1).max(MAX_NODES).default(1),
  /** So many of the layers are held by every node already, as those of an older image. */
  sharedLayers: z.number().int().min(0).max(MAX_LAYERS).default(0),
  /** All nodes pull another image of this size before, unmeasured: what is compared has run for a while. */
  warmUp: warmUp.prefault('64MiB'),
  /** So many times in a rollout an agent is killed, and started again. */
  restarts: z.number().int().min(0).max(1_000).default(0),
});
export type Scenario = z.infer<typeof scenarioSchema> & { name: string };

/** @param name of a file in `bench/scenarios`, or a path. @throws WrongUsage with what is wrong */
export async function loadScenario(name: string): Promise<Scenario> {
  const path = [join(FOLDER, `${name}.yaml`), name].find((file) => existsSync(file));
  if (path === undefined) throw new WrongUsage(`no scenario ${name}; there are ${(await scenarioNames()).join(', ')}`);
  const read = scenarioSchema.safeParse(parse(await readFile(path, 'utf8')));
  if (!read.success) {
    const [issue] = read.error.issues;
    throw new WrongUsage(`${path}: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  return { ...read.data, name };
}

export async function scenarioNames(): Promise<string[]> {
  return (await readdir(FOLDER)).map((file) => file.replace(/\.yaml$/, '')).sort();
}
