/** Waits until a DaemonSet has done its work on every node, as its status tells. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { CommandFailure } from '../command-failure.ts';
import type { KubernetesApi } from './api.ts';

const POLL_MS = 1_000;

const daemonSetSchema = z.object({
  metadata: z.object({ generation: z.number().default(0) }),
  status: z
    .object({
      observedGeneration: z.number().default(-1),
      desiredNumberScheduled: z.number().default(0),
      numberReady: z.number().default(0),
    })
    .prefault({}),
});

/** @returns on how many nodes it is ready @throws CommandFailure */
export async function awaitDaemonSet(
  { program, name, withinMs }: { program: string; name: string; withinMs: number },
  api: KubernetesApi,
): Promise<number> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const answer = await api.get(`/apis/apps/v1/namespaces/${api.namespace}/daemonsets/${name}`);
    const parsed = daemonSetSchema.safeParse(answer.body);
    if (answer.status !== 200 || !parsed.success) throw api.refused(`the DaemonSet ${name} cannot be read`, answer);
    const { metadata, status } = parsed.data;
    const { desiredNumberScheduled: wanted, numberReady: ready } = status;
    if (status.observedGeneration >= metadata.generation && ready >= wanted) return ready;
    if (performance.now() + POLL_MS > deadline) {
      throw new CommandFailure(
        `${program}: after ${withinMs / 1000} s ${name} is ready on ${ready} of ${wanted} nodes; see why with: kubectl -n ${api.namespace} get pods -o wide`,
      );
    }
    await sleep(POLL_MS);
  }
}
