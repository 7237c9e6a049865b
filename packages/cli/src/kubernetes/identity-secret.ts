/** The Secret with the cluster's identity: made once, whole or not at all, and never changed. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { z } from 'zod';
import { CommandFailure } from '../command-failure.ts';
import type { Programs } from '../run/programs.ts';
import type { KubernetesApi } from './api.ts';

const secretSchema = z.object({ data: z.record(z.string(), z.string()).default({}) });

/** @throws CommandFailure */
export async function keepIdentitySecret(
  { program, name }: { program: string; name: string },
  { api, programs }: { api: KubernetesApi; programs: Programs },
): Promise<'made' | 'kept'> {
  const { IDENTITY_FILES } = await programs.tracker();
  const secrets = `/api/v1/namespaces/${api.namespace}/secrets`;
  const found = await api.get(`${secrets}/${name}`);
  if (found.status === 200) {
    const { data } = secretSchema.parse(found.body);
    const missing = IDENTITY_FILES.filter((file) => (data[file] ?? '') === '');
    if (missing.length === 0) return 'kept';
    throw new CommandFailure(
      `${program}: the Secret ${name} lacks ${missing.join(', ')}; restore it, or delete it to have a new identity made (then restart tracker and agents)`,
    );
  }
  if (found.status !== 404) throw api.refused(`the Secret ${name} cannot be read`, found);
  const made = await api.post(secrets, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, labels: { 'app.kubernetes.io/name': 'shoal', 'app.kubernetes.io/managed-by': 'shoal' } },
    type: 'Opaque',
    data: await newIdentity(programs),
  });
  if (made.status === 201) return 'made';
  // Somebody else was quicker, or an answer was lost.
  if (made.status === 409) return 'kept';
  throw api.refused(`the Secret ${name} cannot be made`, made);
}

/** Each file's name with its bytes in base64. */
async function newIdentity(programs: Programs): Promise<Record<string, string>> {
  const { IDENTITY_FILES, openIdentity } = await programs.tracker();
  const folder = await mkdtemp(join(tmpdir(), 'shoal-identity-'));
  try {
    await openIdentity(folder, pino({ level: 'silent' }));
    const files = IDENTITY_FILES.map(async (name) => [name, await readFile(join(folder, name), 'base64')]);
    return Object.fromEntries(await Promise.all(files));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
