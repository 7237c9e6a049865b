/** `shoal agent`: settings → agent → ready line → runs until a signal. */
import type { AgentConfig } from '@shoal/agent';
import type { Command } from 'commander';
import type { CliIo } from './cli-io.ts';
import { CommandFailure } from './command-failure.ts';
import { createProcessLog } from './log/logger.ts';
import { makeDataFolder } from './run/data-folder.ts';
import { giveBackIdleMemory } from './run/idle-memory.ts';
import type { Programs } from './run/programs.ts';
import { Reload } from './run/reload.ts';
import { DEFAULT_GRACE_MS, serveUntilSignal } from './run/serve.ts';
import { addSettings, flagValues } from './setting-options.ts';
import { agentSettings } from './settings/agent-settings.ts';
import { type Resolved, resolveSettings } from './settings/resolve.ts';
import { version } from './version.ts';

const PROGRAM = 'shoal agent';

const EXAMPLES = `
Every setting is a flag, a SHOAL_* variable and a YAML key of the same name; flags win over variables, those over
--config FILE, that over the default.

SIGTERM: downloads under way go on for --drain-timeout, and what is asked for meanwhile goes upstream; a second one
ends it at once. SIGHUP: --config FILE is read again; rates, upload slots, cache size, free disk, piece memory, tag
times, the drain timeout and the log level change at once, and the log says what takes a restart.
A listening socket that systemd hands over (LISTEN_FDS, shoal-agent.socket) is taken for the mirror: clients then wait
for an agent that restarts, and are not refused.

Examples:
  A cache for this machine alone, and a pull through it:
    shoal agent --data ~/.shoal
    docker pull 127.0.0.1:7300/docker.io/library/alpine

  One of many, sharing with the others:
    shoal agent --tracker https://10.0.0.5:7302 --join-token @/etc/shoal/join-token

  A private registry on this machine:
    shoal agent --registry registry.local:5000=http://127.0.0.1:5000

  The same from a file, with a login:
    shoal agent --config /etc/shoal/agent.yaml
      tracker: https://10.0.0.5:7302
      join-token: "@/etc/shoal/join-token"
      cache-size: 200GiB
      registry:
        registry.local:5000: http://127.0.0.1:5000
        ghcr.io: { username: me, password-file: /etc/shoal/ghcr-password }
`;

export function registerAgent(program: Command, io: CliIo, programs: Programs): void {
  const command = program
    .command('agent')
    .usage('[FLAGS]')
    .summary('run on every node: a registry mirror that shares what it pulls')
    .description(
      'Runs the agent: a registry mirror on this machine that the container runtime pulls through. What one agent has\n' +
        'read from a registry, the others of its cluster get from it.',
    );
  addSettings(command, agentSettings);
  command.addHelpText('after', EXAMPLES).action(() => runAgent(command, io, programs));
}

async function runAgent(command: Command, io: CliIo, programs: Programs): Promise<void> {
  const { agentConfigSchema, passedMirrorSocket, StartError, startAgent, startErrorFrom } = await programs.agent();
  const sources = { program: PROGRAM, flags: flagValues(command), env: io.env };
  const resolve = (): Resolved<AgentConfig> => resolveSettings(agentSettings, agentConfigSchema, sources);
  const started = resolve();
  const { config, warnings } = started;
  const { logger, setLevel } = createProcessLog(config.log, io.stderr);
  for (const warning of warnings) logger.warn(warning);
  if (config.joinToken !== undefined && config.trackers.length === 0) {
    logger.warn(
      'a join token is given, but no tracker: this agent shares with nobody; name the tracker with --tracker',
    );
  }
  let drainTimeoutMs = config.drainTimeoutMs;
  const graceMs = (): number => drainTimeoutMs + DEFAULT_GRACE_MS;
  await serveUntilSignal({ program: PROGRAM, graceMs }, io, async () => {
    try {
      await makeDataFolder(config.dataDir).catch((error: unknown) => {
        throw startErrorFrom(error, { kind: 'data', flag: '--data', path: config.dataDir });
      });
      const mirrorFd = passedMirrorSocket(io.env, process.pid);
      const agent = await startAgent(config, { logger, version: version(), mirrorFd });
      io.stdout.write(io.stdout.isTTY === true ? readyText(agent, config) : readyJson(agent));
      const apply = async (next: AgentConfig): Promise<void> => {
        drainTimeoutMs = next.drainTimeoutMs;
        await agent.retune(next);
      };
      const options = { program: PROGRAM, settings: agentSettings };
      const reload = new Reload(options, started, { resolve, apply, setLogLevel: setLevel, logger });
      const stopGivingBack = giveBackIdleMemory();
      const stop = (): Promise<void> => {
        stopGivingBack();
        return agent.stop();
      };
      return { stop, reload: () => void reload.run() };
    } catch (error) {
      if (error instanceof StartError) throw startFailure(error);
      logger.debug({ err: error }, 'the start failed');
      throw new CommandFailure(unexpectedStart(PROGRAM, error), 1, { cause: error });
    }
  });
}

/** `MESSAGE. HINT` in one line. */
export function startFailureLine(program: string, error: { message: string; hint: string }): string {
  return `${program}: ${error.message}. ${error.hint}`;
}

function startFailure(error: { message: string; hint: string; exitCode: 1 | 2 }): CommandFailure {
  return new CommandFailure(startFailureLine(PROGRAM, error), error.exitCode, { cause: error });
}

export function unexpectedStart(program: string, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return `${program}: could not start: ${message}. Run it again with --log-level debug for details`;
}

interface ReadyAgent {
  mirrorUrl: string;
  adminUrl: string;
  peerId: string;
  peerAddresses: readonly string[];
}

function readyJson({ mirrorUrl, adminUrl, peerAddresses, peerId }: ReadyAgent): string {
  const line = { event: 'ready', mirror: mirrorUrl, admin: adminUrl, peers: peerAddresses, peerId };
  return `${JSON.stringify(line)}\n`;
}

function readyText({ mirrorUrl, adminUrl, peerAddresses, peerId }: ReadyAgent, config: AgentConfig): string {
  const cluster = config.trackers.length === 0 ? 'none: a cache of its own (see --tracker)' : config.trackers.join(' ');
  return [
    'The agent is ready. Ctrl-C stops it.',
    `  mirror    ${mirrorUrl}   try: docker pull ${new URL(mirrorUrl).host}/docker.io/library/alpine`,
    `  admin     ${adminUrl}/metrics`,
    `  tracker   ${cluster}`,
    `  peers     ${peerAddresses.join(' ')}`,
    `  peer id   ${peerId}`,
    '',
  ].join('\n');
}
