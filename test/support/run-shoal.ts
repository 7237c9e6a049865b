// Runs the real command line: to its end, or as a daemon.
import { fileURLToPath } from 'node:url';
import { attempt, type CommandResult, DaemonProcess } from './daemon/process.ts';

/** The command of the present build. */
export const presentMain: string = fileURLToPath(import.meta.resolve('../../packages/cli/src/main.ts'));
const endsWithinMs = 45_000;

/** Runs `shoal` with these arguments until it ends; one that goes on running is ended, with exit code -1. */
export function runShoal(...args: string[]): Promise<CommandResult> {
  return attempt(process.execPath, ['--conditions=source', presentMain, ...args], { timeoutMs: endsWithinMs });
}

/** The same with more in its environment. */
export function runShoalWith(env: Readonly<Record<string, string>>, ...args: string[]): Promise<CommandResult> {
  return attempt(process.execPath, ['--conditions=source', presentMain, ...args], { timeoutMs: endsWithinMs, env });
}

/** Arguments of an agent that takes any free ports. */
export function agentOnFreePorts(dataFolder: string, ...more: string[]): string[] {
  const ports = ['--mirror', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--peer-listen', '/ip4/127.0.0.1/tcp/0'];
  return ['agent', '--data', dataFolder, ...ports, ...more];
}

export interface RunningBuild {
  readonly process: DaemonProcess;
  /** What it announced when it was ready. */
  readonly ready: Readonly<Record<string, string>>;
}

/** Starts a command that tells in a line of JSON when it is ready. @param options.name in errors @param options.env more of it */
export async function startBuild(
  main: string,
  args: readonly string[],
  { name = args[0] ?? 'shoal', env = {} }: { name?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<RunningBuild> {
  let ready: Record<string, string> | undefined;
  const daemon = new DaemonProcess({
    name,
    program: process.execPath,
    args: ['--conditions=source', main, ...args],
    env,
    onLine: (line, stream) => {
      if (stream === 'stdout' && line.startsWith('{"event":"ready"'))
        ready = JSON.parse(line) as Record<string, string>;
    },
  });
  try {
    return { process: daemon, ready: await daemon.ready(() => ready) };
  } catch (error) {
    await daemon.stop();
    throw error;
  }
}
