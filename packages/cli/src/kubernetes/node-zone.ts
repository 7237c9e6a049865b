/** The zone of this pod's node, from the node's label: Kubernetes gives a pod's own labels to the pod, but not its node's. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { KubernetesApi } from './api.ts';

/** As `--zone` has it, for nodes without a label. */
const NO_ZONE = 'default';
const FILE_MODE = 0o644;

const nodeSchema = z.object({ metadata: z.object({ labels: z.record(z.string(), z.string()).default({}) }) });

/** @throws CommandFailure */
export async function readZone({ node, label }: { node: string; label: string }, api: KubernetesApi): Promise<string> {
  const answer = await api.get(`/api/v1/nodes/${encodeURIComponent(node)}`);
  const parsed = nodeSchema.safeParse(answer.body);
  if (answer.status !== 200 || !parsed.success) throw api.refused(`the node ${node} cannot be read`, answer);
  return parsed.data.metadata.labels[label] || NO_ZONE;
}

/** What was written at an earlier start; undefined at the first. */
export async function earlierZone(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.trim() || undefined;
}

/** @throws the system's error */
export async function writeZone(file: string, zone: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, `${zone}\n`, { mode: FILE_MODE });
  await rename(`${file}.new`, file);
}
