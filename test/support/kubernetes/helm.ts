// The real Helm, and Kubernetes' own types to read what it renders.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { compiledFolder, compiledModule } from '../compiled.ts';
import { attempt, type CommandResult } from '../daemon/process.ts';

const helmVersion = 'v3.18.4';
/** What the chart is rendered for: Helm as Go compiles it takes itself for one of a very old cluster. */
const kubernetesVersion = '1.33.0';
const compileTimeoutMs = 240_000;

/** An object as it is rendered, with Kubernetes' field names. */
// biome-ignore lint/suspicious/noExplicitAny: of any kind; the validator has checked its form
export type KubernetesObject = any;

/** Its path. */
export function helmProgram(): Promise<string> {
  return compiledModule('helm.sh/helm/v3/cmd/helm', helmVersion, compileTimeoutMs);
}

export class Helm {
  readonly #helm: string;
  readonly #validator: string;

  private constructor(helm: string, validatorPath: string) {
    this.#helm = helm;
    this.#validator = validatorPath;
  }

  static async find(): Promise<Helm> {
    const validator = await compiledFolder(join(import.meta.dirname, 'validate'), 'validate', {
      timeoutMs: compileTimeoutMs,
    });
    return new Helm(await helmProgram(), validator);
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
