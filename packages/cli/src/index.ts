/** The `shoal` command, for programs that run it inside themselves: tests and the demo. */
export type { CliIo, StopSignal, TextOutput } from './cli-io.ts';
export { CommandFailure } from './command-failure.ts';
export {
  type Cluster,
  type ClusterAgent,
  type ClusterOptions,
  type ClusterOrigin,
  type ClusterProcess,
  type ClusterTracker,
  startCluster,
} from './demo/cluster.ts';
export { type ImagePlan, type WrittenImage, writeImage } from './demo/image-layout.ts';
export { parseMetrics, type Sample, sumOf } from './demo/prometheus.ts';
export { type PulledImage, type PullTarget, pullImage } from './demo/pull-client.ts';
export { PullFailure, type PullFailureCode } from './demo/pull-failure.ts';
export { sharedLibrariesOf } from './demo/shared-libraries.ts';
export { createLogger, type LogOptions } from './log/logger.ts';
export { type Programs, realPrograms } from './run/programs.ts';
export { runCli, shoalProgram } from './run-cli.ts';
export { agentSettings } from './settings/agent-settings.ts';
export {
  describeRegistryKeys,
  describeSettings,
  type RegistryKeyDescription,
  type SettingDescription,
  type SettingGroup,
} from './settings/described.ts';
export { resolveSettings } from './settings/resolve.ts';
export { trackerSettings } from './settings/tracker-settings.ts';
