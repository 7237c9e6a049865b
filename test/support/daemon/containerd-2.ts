import { dirname, join } from 'node:path';
import { compiledFolder } from '../compiled.ts';

const MODULE = 'github.com/containerd/containerd/v2/cmd';

/** Some three minutes on two cores, once. */
export const CONTAINERD_COMPILES_WITHIN_MS = 20 * 60_000;

/** The folder of containerd 2, its shim and its `ctr`, which labels what it pulls in a way of its own: Debian 12 has 1.6, and Kubernetes from 1.36 on wants 2. */
export async function containerd2Programs(): Promise<string> {
  const path = await compiledFolder(join(import.meta.dirname, '../containerd-2'), 'containerd', {
    timeoutMs: CONTAINERD_COMPILES_WITHIN_MS,
    packages: ['containerd', 'containerd-shim-runc-v2', 'ctr'].map((program) => `${MODULE}/${program}`),
    variables: { 'github.com/containerd/containerd/v2/version.Version': '2.2.9' },
  });
  return dirname(path);
}
