/** The agent: one per node, a mirror toward the runtime, a peer toward the others. `startAgent` builds it. */
export { type RunningAgent, startAgent } from './agent.ts';
export { type AgentConfig, type AgentConfigInput, agentConfigSchema } from './config/agent-config.ts';
export * from './config/defaults.ts';
export { StartError, type StartErrorCode, type StartStep, startErrorFrom } from './config/start-error.ts';
export {
  createTrackerClient,
  type JoinOutcome,
  type StartableTrackerClient,
  type TrackerClientDependencies,
  type TrackerClientOptions,
} from './tracker-client/joined-tracker-client.ts';
export type { Membership } from './tracker-client/tracker-client.ts';
