// Runs the real command line to its end.
import { fileURLToPath } from 'node:url';
import { attempt, type CommandResult } from './daemon/process.ts';

const main = fileURLToPath(import.meta.resolve('../../packages/cli/src/main.ts'));
const endsWithinMs = 45_000;

/** Runs `shoal` with these arguments until it ends; one that goes on running is ended, with exit code -1. */
export function runShoal(...args: string[]): Promise<CommandResult> {
  return attempt(process.execPath, ['--conditions=source', main, ...args], { timeoutMs: endsWithinMs });
}

/** The same with more in its environment. */
export function runShoalWith(env: Readonly<Record<string, string>>, ...args: string[]): Promise<CommandResult> {
  return attempt(process.execPath, ['--conditions=source', main, ...args], { timeoutMs: endsWithinMs, env });
}

/** Arguments of an agent that takes any free ports. */
export function agentOnFreePorts(dataFolder: string, ...more: string[]): string[] {
  const ports = ['--mirror', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--peer-listen', '/ip4/127.0.0.1/tcp/0'];
  return ['agent', '--data', dataFolder, ...ports, ...more];
}
