// The real Helm, and Kubernetes' own types to read what it renders. Both are compiled by Go, once per machine, into a folder that
// later runs find again.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { attempt, type CommandResult, run } from '../daemon/process.ts';
import { requireProgram } from '../daemon/programs.ts';

const helmVersion = 'v3.18.4';
/** What the chart is rendered for: Helm as Go compiles it takes itself for one of a very old cluster. */
const kubernetesVersion = '1.33.0';
const toolFolder = join(tmpdir(), `shoal-tools-${process.getuid?.() ?? 0}`);
const compileTimeoutMs = 240_000;
const validator = join(import.meta.dirname, 'validate');

/** An object as it is rendered, with Kubernetes' field names. */
// biome-ignore lint/suspicious/noExplicitAny: of any kind; the validator has checked its form
export type KubernetesObject = any;

export class Helm {
  readonly #helm: string;
  readonly #validator: string;

  private constructor(helm: string, validatorPath: string) {
    this.#helm = helm;
    this.#validator = validatorPath;
  }

  static async find(): Promise<Helm> {
    await mkdir(toolFolder, { recursive: true, mode: 0o700 });
    const helm = await compiled(`helm-${helmVersion}`, 'helm', (target) =>
      go(['install', `helm.sh/helm/v3/cmd/helm@${helmVersion}`], { GOBIN: target }),
    );
    const sources = ['main.go', 'go.mod', 'go.sum'].map((name) => readFile(join(validator, name)));
    const hash = createHash('sha256');
    for (const source of await Promise.all(sources)) hash.update(source);
    const name = `validate-${hash.digest('hex').slice(0, 16)}`;
    const checker = await compiled(name, 'validate', (target) =>
      go(['build', '-C', validator, '-o', join(target, 'validate'), '.'], {}),
    );
    return new Helm(helm, checker);
  }

  lint(chart: string, values: object): Promise<CommandResult> {
    return attempt(this.#helm, ['lint', '--strict', '--kube-version', kubernetesVersion, chart, ...flags(values)]);
  }

  template(chart: string, values: object): Promise<CommandResult> {
    const release = ['shoal', chart, '--namespace', 'shoal-system', '--kube-version', kubernetesVersion];
    return attempt(this.#helm, ['template', ...release, ...flags(values)]);
  }

  /** Strictly read by Kubernetes' own types. @throws with what is wrong in which object */
  async read(yaml: string): Promise<KubernetesObject[]> {
    const child = spawn(this.#validator, { stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.end(yaml);
    const [out, problems] = await Promise.all([text(child.stdout), text(child.stderr)]);
    if (problems !== '') throw new Error(problems);
    return JSON.parse(out);
  }
}

/** JSON is a value of `--set-json`, for every first level of the values. */
function flags(values: object): string[] {
  return Object.entries(values).map(([key, value]) => `--set-json=${key}=${JSON.stringify(value)}`);
}

async function go(args: readonly string[], env: Record<string, string>): Promise<void> {
  // Where its modules come from and are kept stands in the environment.
  const own = process.env as Record<string, string>;
  await run(requireProgram('go'), args, { env: { ...own, ...env }, timeoutMs: compileTimeoutMs });
}

/** The program in a folder that appears only when it is whole. */
async function compiled(folder: string, program: string, compile: (target: string) => Promise<void>): Promise<string> {
  const path = join(toolFolder, folder, program);
  if (existsSync(path)) return path;
  const target = await mkdtemp(join(toolFolder, 'new-'));
  try {
    await compile(target);
    await rename(target, join(toolFolder, folder)).catch((error: unknown) => {
      // Another run was quicker.
      if (!existsSync(path)) throw error;
    });
  } finally {
    await rm(target, { recursive: true, force: true });
  }
  return path;
}
