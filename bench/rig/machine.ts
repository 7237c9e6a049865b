// What a reading was taken on: numbers of another machine cannot be compared with it.
import { cpus, release, totalmem } from 'node:os';
import { attempt } from '../../test/support/daemon/process.ts';
import { requireProgram } from '../../test/support/daemon/programs.ts';

export interface MachineFacts {
  readonly processors: string;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly containerd: string;
  readonly dockerRegistry: string;
  /** Of this project. */
  readonly commit: string;
}

export async function machineFacts(): Promise<MachineFacts> {
  const [containerd, dockerRegistry, commit] = await Promise.all([
    firstLine(requireProgram('containerd'), ['--version']),
    firstLine(requireProgram('docker-registry'), ['--version']),
    firstLine('git', ['-C', import.meta.dirname, 'describe', '--always', '--dirty']),
  ]);
  const all = cpus();
  return {
    processors: `${all.length} × ${all[0]?.model ?? 'unknown'}`,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    containerd,
    dockerRegistry,
    commit,
  };
}

async function firstLine(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = await attempt(program, args);
  return stdout.split('\n')[0]?.trim() ?? '';
}
