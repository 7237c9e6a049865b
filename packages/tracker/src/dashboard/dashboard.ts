/**
 * The page for people: who belongs to the cluster, what is being pulled and how far, what is cached where.
 *
 *   agents ─► /v1/node ─► NodeReports ─┬─► Traffic        what moved over the last minutes
 *                                      └─► ActiveBlobs    who pulls what
 *   browser ─► server ─► DashboardSource of the rooms ─► Directory, State, and the above
 *
 * It only looks: nothing that the tracker decides depends on it. Without `--dashboard` none of it is there, and agents are
 * not asked to report.
 */
import { TrackerStartError } from '../start-error.ts';
import { type Dashboard, type DashboardDependencies, type DashboardOptions, startDashboard } from './server.ts';
import { openDashboardToken } from './token.ts';

/** A small cluster's page moves every two seconds; a large one's agents make 500 reports per second in all. */
const LEAST_REPORT_EVERY_MS = 2_000;
const REPORT_MS_PER_MEMBER = 2;

export interface OpenDashboardOptions extends Omit<DashboardOptions, 'token'> {
  dataDir: string;
  identityDir: string | undefined;
}

export interface OpenedDashboard extends Dashboard {
  token: string;
  tokenFile: string;
  /** The token was made now. */
  isNew: boolean;
}

/** @throws TrackerStartError, or the error of the file system */
export async function openDashboard(
  { dataDir, identityDir, ...options }: OpenDashboardOptions,
  dependencies: DashboardDependencies,
): Promise<OpenedDashboard> {
  const { token, path, isNew } = await openDashboardToken(dataDir, identityDir);
  const dashboard = await startDashboard({ ...options, token }, dependencies).catch((cause: unknown) => {
    const { host, port } = options.listen;
    throw new TrackerStartError('DASHBOARD_UNAVAILABLE', `the dashboard cannot listen at ${host}:${port}`, { cause });
  });
  dependencies.logger.info({ url: dashboard.url, tokenFile: path }, 'the dashboard is there');
  return { ...dashboard, token, tokenFile: path, isNew };
}

/** How often the agents of a cluster are to report. */
export function reportEveryMs(members: number): number {
  return Math.max(LEAST_REPORT_EVERY_MS, REPORT_MS_PER_MEMBER * members);
}
