/** The agent: one per node, a mirror toward the runtime, a peer toward the others. `startAgent` builds it. */
export { describeAgentMetrics, type MetricDescription } from './admin/metrics.ts';
export { type RunningAgent, startAgent } from './agent.ts';
export { accepts } from './check/answering.ts';
export { checkDataFolder, type DataFolderStanding } from './check/data-folder.ts';
export { findRegistry, type RegistryFinding } from './check/registry-finding.ts';
export { type AgentConfig, type AgentConfigInput, agentConfigSchema } from './config/agent-config.ts';
export * from './config/defaults.ts';
export { passedMirrorSocket } from './config/passed-socket.ts';
export { StartError, type StartErrorCode, type StartStep, startErrorFrom } from './config/start-error.ts';
export { dockerConfigProblem } from './origin/credentials.ts';
export { createOriginClient } from './origin/undici-origin.ts';
export { identityOfSeed } from './peers/identity.ts';
export {
  createTrackerClient,
  type JoinOutcome,
  type StartableTrackerClient,
  type TrackerClientDependencies,
  type TrackerClientOptions,
} from './tracker-client/joined-tracker-client.ts';
export { checkTracker, type TrackerStanding } from './tracker-client/tracker-check.ts';
export type { Membership } from './tracker-client/tracker-client.ts';
