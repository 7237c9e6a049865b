/** `shoal tracker`: settings → tracker → ready line (to a person with the join token, when it is new) → runs until a signal. */
import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join, resolve } from 'node:path';
import type { Tracker, TrackerConfig } from '@shoal/tracker';
import type { Command } from 'commander';
import { startFailureLine, unexpectedStart } from './agent-command.ts';
import type { CliIo } from './cli-io.ts';
import { CommandFailure } from './command-failure.ts';
import { createProcessLog } from './log/logger.ts';
import { makeDataFolder } from './run/data-folder.ts';
import type { Programs } from './run/programs.ts';
import { Reload } from './run/reload.ts';
import { serveUntilSignal } from './run/serve.ts';
import { addSettings, flagValues } from './setting-options.ts';
import { type Resolved, resolveSettings } from './settings/resolve.ts';
import { trackerSettings } from './settings/tracker-settings.ts';
import { version } from './version.ts';

const PROGRAM = 'shoal tracker';

const EXAMPLES = `
Every setting is a flag, a SHOAL_* variable and a YAML key of the same name; flags win over variables, those over
--config FILE, that over the default.

The first start makes the identity of the cluster in the data folder, and a join token that every agent needs: it is
told to a terminal once and kept in DIR/join-token. Agents go on without the tracker while it is away.
--dashboard serves a web page of the cluster to who has the token in DIR/dashboard-token.
SIGHUP: --config FILE is read again, and the log level changes at once.

Examples:
  shoal tracker
  shoal tracker --listen 10.0.0.5:7302 --data /srv/shoal-tracker
  shoal tracker --dashboard 127.0.0.1:7304
  shoal agent --tracker https://10.0.0.5:7302 --join-token @/srv/shoal-tracker/join-token
  shoal tracker --identity /etc/shoal/identity --store redis://10.0.0.9:6379/0    # one of several
`;

export function registerTracker(program: Command, io: CliIo, programs: Programs): void {
  const command = program
    .command('tracker')
    .usage('[FLAGS]')
    .summary('run once per cluster: introduces the agents to each other')
    .description(
      'Runs the tracker of a cluster: it introduces the agents to each other and decides who reads what from the\n' +
        'registry. No image data passes through it.',
    );
  addSettings(command, trackerSettings);
  command.addHelpText('after', EXAMPLES).action(() => runTracker(command, io, programs));
}

async function runTracker(command: Command, io: CliIo, programs: Programs): Promise<void> {
  const { startTracker, trackerConfigSchema } = await programs.tracker();
  const sources = { program: PROGRAM, flags: flagValues(command), env: io.env };
  const resolveAll = (): Resolved<TrackerConfig> => resolveSettings(trackerSettings, trackerConfigSchema, sources);
  const started = resolveAll();
  const { config, warnings } = started;
  const { logger, setLevel } = createProcessLog(config.log, io.stderr);
  for (const warning of warnings) logger.warn(warning);
  const { listen, store, advertise } = config;
  const dashboard =
    config.dashboard === undefined ? {} : { dashboard: { listen: config.dashboard, names: config.dashboardNames } };
  const dataDir = resolve(config.dataDir);
  const given = config.identityDir === undefined ? {} : { identityDir: resolve(config.identityDir) };
  const joinTokenFile = join(given.identityDir ?? dataDir, 'join-token');
  await serveUntilSignal({ program: PROGRAM }, io, async () => {
    const isFirstStart = !existsSync(joinTokenFile);
    try {
      await makeDataFolder(dataDir);
      const tracker = await startTracker(
        {
          listen,
          store,
          dataDir,
          ...given,
          ...(advertise !== undefined && { advertise }),
          ...dashboard,
          version: version(),
        },
        { logger, clock: Date.now, random: Math.random },
      );
      const joinToken = isFirstStart ? tracker.joinToken : undefined;
      const ready = { url: tracker.url, joinTokenFile, joinToken, ...readyDashboard(tracker) };
      io.stdout.write(io.stdout.isTTY === true ? readyText(ready, config) : readyJson(ready));
      const options = { program: PROGRAM, settings: trackerSettings };
      const dependencies = { resolve: resolveAll, apply: async () => undefined, setLogLevel: setLevel, logger };
      const reload = new Reload(options, started, dependencies);
      return { stop: () => tracker.close(), reload: () => void reload.run() };
    } catch (error) {
      throw await trackerFailure(error, config, programs);
    }
  });
}

async function trackerFailure(error: unknown, config: TrackerConfig, programs: Programs): Promise<CommandFailure> {
  const { TrackerStartError } = await programs.tracker();
  const call: unknown = error instanceof Error && 'syscall' in error ? error.syscall : undefined;
  const isOwn = error instanceof TrackerStartError;
  if (call === undefined && !isOwn) return new CommandFailure(unexpectedStart(PROGRAM, error), 1, { cause: error });
  // The agent's words for what a system can refuse; loaded only now, for it is large.
  const { startErrorFrom } = await programs.agent();
  if (isOwn && error.code === 'DASHBOARD_UNAVAILABLE') {
    const { host = '', port = 0 } = config.dashboard ?? {};
    const refused = startErrorFrom(error.cause, { kind: 'listen', flag: '--dashboard', address: { host, port } });
    return new CommandFailure(startFailureLine(PROGRAM, refused), refused.exitCode, { cause: error });
  }
  if (isOwn) {
    // A folder that is locked, full or not writable is no damage; for real damage the tracker knows better what to do.
    const refused = startErrorFrom(error.cause, { kind: 'data', flag: '--data', path: config.dataDir });
    const line = ['failed', 'data-damaged'].includes(refused.code)
      ? `${PROGRAM}: ${error.message}`
      : startFailureLine(PROGRAM, refused);
    return new CommandFailure(line, 1, { cause: error });
  }
  const named =
    call === 'listen' || call === 'getaddrinfo'
      ? startErrorFrom(error, { kind: 'listen', flag: '--listen', address: config.listen })
      : startErrorFrom(error, { kind: 'data', flag: '--data', path: config.dataDir });
  return new CommandFailure(startFailureLine(PROGRAM, named), named.exitCode, { cause: error });
}

interface ReadyTracker {
  url: string;
  joinTokenFile: string;
  /** Only at the first start. */
  joinToken: string | undefined;
  /** The page for people. */
  dashboard: string | undefined;
  dashboardTokenFile: string | undefined;
  /** Only when it was made now. */
  dashboardToken: string | undefined;
}

function readyDashboard({
  dashboard,
}: Tracker): Pick<ReadyTracker, 'dashboard' | 'dashboardTokenFile' | 'dashboardToken'> {
  return {
    dashboard: dashboard?.url,
    dashboardTokenFile: dashboard?.tokenFile,
    dashboardToken: dashboard?.isNew === true ? dashboard.token : undefined,
  };
}

/** Without the tokens: what is no terminal is a journal or a pod's log, which others read. */
function readyJson({ url, joinTokenFile, dashboard, dashboardTokenFile }: ReadyTracker): string {
  return `${JSON.stringify({ event: 'ready', url, joinTokenFile, dashboard, dashboardTokenFile })}\n`;
}

function readyText(ready: ReadyTracker, { listen }: TrackerConfig): string {
  const { url, joinTokenFile, joinToken, dashboard, dashboardToken, dashboardTokenFile } = ready;
  const { port } = new URL(url);
  const reachable = listen.host === '0.0.0.0' || listen.host === '::' ? `https://${ownAddress()}:${port}` : url;
  const lines = ['The tracker is ready. Ctrl-C stops it.', `  address      ${reachable}`];
  if (joinToken !== undefined) lines.push(`  join token   ${joinToken}   (new; keep it secret)`);
  if (dashboard !== undefined) {
    lines.push(
      `  dashboard    ${dashboard}/${dashboardToken === undefined ? `   (its token is in ${dashboardTokenFile})` : `#token=${dashboardToken}`}`,
    );
  }
  lines.push(
    `  kept in      ${joinTokenFile}`,
    '',
    'On every node, with that file copied there:',
    `  shoal agent --tracker ${reachable} --join-token ${joinToken ?? `@${joinTokenFile}`}`,
    '',
  );
  return lines.join('\n');
}

/** An address of this machine that others may reach. */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}
