import type { TrackerCounts } from './metrics.ts';

export const nothingCounted: TrackerCounts = {
  ...{ leading: 0, takeovers: 0, agents: 0, swarms: 0, entries: 0, leases: 0, references: 0 },
  ...{ barred: 0, suspended: 0, orders: 0, connections: 0 },
};
