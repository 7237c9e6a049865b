import { join } from 'node:path';
import type { Dockerd } from './daemon/dockerd.ts';
import { importNodeBase } from './daemon/node-base.ts';
import { run } from './daemon/process.ts';

/** What it is built on in tests. */
export const NODE_BASE = 'base:test';

/**
 * Shoal's image as deploy/README.md makes it, of this checkout, on a base that has nothing but Node.
 * @param context a folder that is not there yet
 */
export async function buildShoalImage(dockerd: Dockerd, context: string, tag: string): Promise<void> {
  // What pnpm needs to know of this machine, such as where its registry is, stands in the environment.
  const env = process.env as Record<string, string>;
  const making = run(join(import.meta.dirname, '../../deploy/image/context.sh'), [context], { env });
  await Promise.all([making, importNodeBase(dockerd, NODE_BASE)]);
  await dockerd.build(context, tag, 'buildkit', { BASE: NODE_BASE, VERSION: '1.2.3', REVISION: 'abc' });
}
