/**
 * What is examined: an agent that runs, asked at its admin address; or, while none answers, what an agent with these settings would
 * meet on this machine.
 */
import { randomBytes } from 'node:crypto';
import type { AgentConfig } from '@shoal/agent';
import { hostAndPort } from '@shoal/process/addresses';
import { askAdmin } from '../admin-client.ts';
import { CommandFailure } from '../command-failure.ts';
import { createLogger } from '../log/logger.ts';
import type { Programs } from '../run/programs.ts';
import { parseHostPort } from '../settings/host-port.ts';
import type { AgentAnswer } from './agent.ts';
import {
  type AgentFacts,
  agentFactsSchema,
  type DataFacts,
  type PortFact,
  type RegistryFact,
  registryFactSchema,
  type TrackerFact,
} from './facts.ts';
import { portOfMultiaddr } from './hosts.ts';

const PROGRAM = 'shoal doctor';
const ABILITY = 'be checked';

export interface Subject {
  /** Undefined while no agent answers. */
  readonly facts: AgentFacts | undefined;
  /** `HOST:PORT` */
  readonly mirror: string;
  readonly ports: readonly PortFact[];
  readonly registries: AgentFacts['registries'];
  trackers(): Promise<readonly TrackerFact[]>;
  data(): Promise<DataFacts>;
  registry(host: string): Promise<RegistryFact>;
  close(): Promise<void>;
}

/** Asks the admin address for the agent's facts. @throws CommandFailure when it is no address */
export async function askAgent(admin: string, signal: AbortSignal): Promise<AgentAnswer> {
  const question = { program: PROGRAM, admin, path: '/v1/check', body: {}, answer: agentFactsSchema, ability: ABILITY };
  try {
    return { is: 'agent', facts: await askAdmin({ ...question, signal }) };
  } catch (error) {
    if (!(error instanceof CommandFailure) || error.exitCode === 2) throw error;
    if (error.cause !== undefined) return { is: 'nobody' };
    return { is: 'stranger', why: /status \d+/.exec(error.message)?.[0] ?? 'no answer that is known' };
  }
}

export function runningSubject(facts: AgentFacts, admin: string, signal: AbortSignal): Subject {
  const { mirror, mirrorHandedOver, peers, registries, trackers, data } = facts;
  const about = { program: PROGRAM, admin, path: '/v1/check', ability: ABILITY, signal };
  return {
    facts,
    mirror,
    ports: [
      ...portsOf({ mirror }).map((port) => ({ ...port, isHandedOver: mirrorHandedOver })),
      ...peers.listen.flatMap((address) => portOfMultiaddr(address) ?? []),
      ...portsOf({ admin }),
    ],
    registries,
    trackers: async () => trackers,
    data: async () => data,
    registry: (registry) => askAdmin({ ...about, body: { registry }, answer: registryFactSchema }),
    close: async () => undefined,
  };
}

export interface AbsentDependencies {
  agent: Awaited<ReturnType<Programs['agent']>>;
  clock: () => number;
  signal: AbortSignal;
}

/** The origin client is made when it is first needed, as an agent with these settings would make it. */
export function absentSubject(config: AgentConfig, { agent, clock, signal }: AbsentDependencies): Subject {
  const {
    mirror,
    admin,
    peerListen,
    trackers,
    joinToken = '',
    zone,
    dataDir,
    cacheSizeBytes,
    minFreeDiskBytes,
  } = config;
  let origin: ReturnType<typeof agent.createOriginClient> | undefined;
  const logger = createLogger({ level: 'silent', format: 'json' }, { write: () => undefined });
  const lookAtDisk = async (): Promise<DataFacts> => {
    const { problem, ...standing } = await agent.checkDataFolder(dataDir);
    return { ...standing, problem, cacheBytes: undefined, quotaBytes: cacheSizeBytes, minFreeBytes: minFreeDiskBytes };
  };
  let looked: Promise<DataFacts> | undefined;
  let asked: Promise<readonly TrackerFact[]> | undefined;
  const askTrackers = (): Promise<readonly TrackerFact[]> =>
    Promise.all(
      trackers.map((url) => {
        // Somebody who is nobody: the agent's own key stays where it is.
        const identity = agent.identityOfSeed(randomBytes(32));
        return agent.checkTracker({ url, joinToken, zone }, { identity, clock, signal });
      }),
    );
  return {
    facts: undefined,
    mirror: hostAndPort(mirror.host, mirror.port),
    ports: [
      { setting: 'mirror', ...mirror },
      ...peerListen.flatMap((address) => portOfMultiaddr(address) ?? []),
      { setting: 'admin', ...admin },
    ],
    registries: Object.entries(config.registries).map(([registry, { url }]) => ({ registry, url })),
    trackers: () => (asked ??= askTrackers()),
    data: () => (looked ??= lookAtDisk()),
    registry: async (host) => {
      const { registries, dockerConfigs, allowRegistries } = config;
      origin ??= agent.createOriginClient(
        { registries, dockerConfigs, allowRegistries, deadlines: config.origin },
        { logger },
      );
      return registryFactSchema.parse(await agent.findRegistry(origin, host, signal));
    },
    // The file that it tries the disk with is gone then.
    close: async () => void (await Promise.allSettled([looked, origin?.close()])),
  };
}

function portsOf(addresses: Readonly<Record<string, string>>): PortFact[] {
  return Object.entries(addresses).flatMap(([setting, address]) => {
    const parsed = parseHostPort(address);
    return parsed === undefined ? [] : [{ setting, ...parsed }];
  });
}
