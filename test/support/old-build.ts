// An earlier build: the source of a commit of this repository in a folder of its own, with what is installed for the present
// one. Node runs it as it runs the present one.
//
//   await using old = await OldBuild.checkOut();
//   const agent = await startBuild(old.main, ['agent', '--data', …]);
import { mkdir, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DaemonFolder } from './daemon/daemon-folder.ts';
import { attempt } from './daemon/process.ts';

/** The build that clusters are upgraded from. Move it when what is traded changes and earlier ones need not trade any more. */
const OLD_COMMIT = 'af2eb851994bbe8ef4dd259034d9895f4bd63124';
const checkout = join(import.meta.dirname, '../..');
const SCOPE_OF_OURS = '@shoal';

export class OldBuild implements AsyncDisposable {
  readonly #folder: DaemonFolder;

  private constructor(folder: DaemonFolder) {
    this.#folder = folder;
  }

  /** @throws Error when the commit is not there, as in a shallow clone */
  static async checkOut(commit: string = OLD_COMMIT): Promise<OldBuild> {
    await using resources = new AsyncDisposableStack();
    const folder = resources.use(await DaemonFolder.create('old'));
    const archive = `${folder.path}.tar`;
    resources.defer(() => rm(archive, { force: true }));
    const { code, stderr } = await attempt('git', ['-C', checkout, 'archive', '-o', archive, commit, 'packages']);
    if (code !== 0) {
      throw new Error(
        `commit ${commit} of this repository is needed, and is not there (${stderr.trim()}): get its history, e.g. git fetch --unshallow`,
      );
    }
    const unpacked = await attempt('tar', ['-xf', archive, '-C', folder.path]);
    if (unpacked.code !== 0) throw new Error(`tar: ${unpacked.stderr}`);
    await rm(archive);
    for (const name of await readdir(folder.join('packages'))) await link(folder.path, name);
    resources.move();
    return new OldBuild(folder);
  }

  /** Its command. */
  get main(): string {
    return this.#folder.join('packages/cli/src/main.ts');
  }

  /** The same build, had it spoken another version of the protocol between agents. */
  async speak(version: string): Promise<void> {
    const file = this.#folder.join('packages/agent/src/peers/tls/tls-transport.ts');
    const before = await readFile(file, 'utf8');
    const after = before.replace("'shoal/3'", `'${version}'`);
    if (after === before) throw new Error(`${file} names no version`);
    await writeFile(file, after);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#folder[Symbol.asyncDispose]();
  }
}

/** Gives a package what is installed for the present one, but its own workspace's packages instead of the present ones. */
async function link(folder: string, name: string): Promise<void> {
  const installed = join(checkout, 'packages', name, 'node_modules');
  const wanted = join(folder, 'packages', name, 'node_modules');
  await mkdir(wanted, { recursive: true });
  // Packages without dependencies have no folder.
  for (const entry of await readdir(installed).catch(() => [])) {
    if (entry.startsWith('.')) continue;
    const isScope = entry.startsWith('@');
    if (isScope) await mkdir(join(wanted, entry));
    for (const part of isScope ? await readdir(join(installed, entry)) : ['']) {
      const target =
        entry === SCOPE_OF_OURS ? join(folder, 'packages', part) : await realpath(join(installed, entry, part));
      await symlink(target, join(wanted, entry, part));
    }
  }
}
