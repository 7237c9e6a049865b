// Programs that Go compiles, once per machine, into a folder that later runs find again.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './daemon/process.ts';
import { requireProgram } from './daemon/programs.ts';

const toolFolder = join(tmpdir(), `shoal-tools-${process.getuid?.() ?? 0}`);

export interface CompileOptions {
  readonly timeoutMs: number;
  /** Packages with programs, of this module or of those that it requires. @default the module's own */
  readonly packages?: readonly string[];
  /** What variables are at the start, by package and name. */
  readonly variables?: Readonly<Record<string, string>>;
}

/** The program of a published module, e.g. `helm.sh/helm/v3/cmd/helm` at `v3.18.4`. Gives its path. */
export function compiledModule(module: string, version: string, timeoutMs: number): Promise<string> {
  const program = module.split('/').at(-1) ?? module;
  return compiled(`${program}-${version}`, program, (target) =>
    go(['install', `${module}@${version}`], { GOBIN: target }, timeoutMs),
  );
}

/** The program, and others beside it, of a folder with a `go.mod`; compiled again when something in it changed. Gives its path. */
export async function compiledFolder(
  folder: string,
  program: string,
  { timeoutMs, packages = ['.'], variables = {} }: CompileOptions,
): Promise<string> {
  // Without what a debugger reads: of large programs that is a third, and most of the time that linking takes.
  const flags = ['-s', '-w', ...Object.entries(variables).map(([name, value]) => `-X ${name}=${value}`)].join(' ');
  const hash = createHash('sha256').update([flags, ...packages].join(' '));
  for (const name of (await readdir(folder)).sort()) hash.update(name).update(await readFile(join(folder, name)));
  return await compiled(`${program}-${hash.digest('hex').slice(0, 16)}`, program, (target) =>
    go(['build', '-C', folder, `-ldflags=${flags}`, '-o', `${target}/`, ...packages], {}, timeoutMs),
  );
}

async function go(args: readonly string[], env: Record<string, string>, timeoutMs: number): Promise<void> {
  // Where its modules come from and are kept stands in the environment.
  const own = process.env as Record<string, string>;
  await run(requireProgram('go'), args, { env: { ...own, ...env }, timeoutMs });
}

/** The program in a folder that appears only when it is whole. */
async function compiled(folder: string, program: string, compile: (target: string) => Promise<void>): Promise<string> {
  await mkdir(toolFolder, { recursive: true, mode: 0o700 });
  const path = join(toolFolder, folder, program);
  if (existsSync(path)) return path;
  const target = await mkdtemp(join(toolFolder, 'new-'));
  try {
    await compile(target);
    await rename(target, join(toolFolder, folder)).catch((error: unknown) => {
      // Another run was quicker.
      if (!existsSync(path)) throw error;
    });
    await removeOthers(program, folder);
  } finally {
    await rm(target, { recursive: true, force: true });
  }
  return path;
}

/** What was compiled of an earlier version is not asked for again. */
async function removeOthers(program: string, folder: string): Promise<void> {
  for (const name of await readdir(toolFolder)) {
    if (name === folder || !name.startsWith(`${program}-`)) continue;
    await rm(join(toolFolder, name), { recursive: true, force: true });
  }
}
