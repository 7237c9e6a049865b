/**
 * The tracker introduces agents to each other and decides who reads what from the origin. It keeps no blob, sees no
 * piece, and may be restarted at any time: agents go on without it and tell it everything again when it is back.
 */

export { describeTrackerMetrics, type MetricDescription } from './api/metrics.ts';
export { type TrackerConfig, type TrackerConfigInput, trackerConfigSchema } from './config/tracker-config.ts';
export { IDENTITY_FILES, openIdentity } from './identity/identity.ts';
export { TrackerStartError, type TrackerStartErrorCode } from './start-error.ts';
export {
  DEFAULT_SAMPLE_SIZE,
  startTracker,
  type Tracker,
  type TrackerDependencies,
  type TrackerOptions,
} from './start-tracker.ts';
