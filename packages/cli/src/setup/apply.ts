/**
 * Writes a plan's files and takes them back. What was there before is written down first, in a journal, so that `undo` restores
 * every file byte for byte, also after several setups and after a crash between two files.
 */
import { createHash } from 'node:crypto';
import { chmod, mkdir, open, readFile, realpath, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { codeOf, isMissing } from './files.ts';
import { type FileChange, SetupProblem } from './plan.ts';

const NEW_FILE_MODE = 0o644;

const journalSchema = z.object({
  version: z.literal(1),
  files: z.array(
    z.object({
      path: z.string(),
      /** Base64; null: there was none. */
      before: z.string().nullable(),
      /** Of what was written last. */
      afterSha256: z.string(),
      /** The outermost folder that was made for it. */
      madeFolder: z.string().optional(),
    }),
  ),
});
type Journal = z.output<typeof journalSchema>;
type JournalFile = Journal['files'][number];

export interface UndoneFile {
  path: string;
  change: 'removed' | 'restored';
}

export class Journalled {
  readonly #path: string;

  /** @param path of the journal */
  constructor(path: string) {
    this.#path = path;
  }

  /** @throws SetupProblem; what was written before it is taken back */
  async apply(changes: readonly FileChange[]): Promise<void> {
    const journal = (await this.#read()) ?? { version: 1, files: [] };
    const old: Journal = structuredClone(journal);
    const written: FileChange[] = [];
    try {
      for (const change of changes) {
        const entry = await this.#entry(journal, change);
        entry.madeFolder ??= await firstMissing(dirname(change.path));
        entry.afterSha256 = sha256(change.after);
        await this.#write(journal);
        await writeWhole(change.path, change.after);
        written.push(change);
      }
    } catch (error) {
      for (const { path, before } of written.reverse()) {
        await (before === undefined ? rm(path, { force: true }) : writeWhole(path, before)).catch(() => undefined);
      }
      await (old.files.length > 0 ? this.#write(old) : rm(this.#path, { force: true })).catch(() => undefined);
      throw problemOf(error);
    }
  }

  /** @throws SetupProblem when one was changed since, unless `force` is set */
  async undo(force: boolean): Promise<UndoneFile[]> {
    const journal = await this.#read();
    if (journal === undefined) return [];
    const current = await Promise.all(journal.files.map(({ path }) => readOrNothing(path)));
    const changed = journal.files.filter(({ before, afterSha256 }, index) => {
      const bytes = current[index];
      const isOurs = bytes !== undefined && sha256(bytes) === afterSha256;
      return !isOurs && (bytes?.toString('base64') ?? null) !== before;
    });
    if (changed.length > 0 && !force) {
      const names = changed.map(({ path }) => path).join(', ');
      throw new SetupProblem(
        `${names} was changed since; take the mirror out by hand, or restore what was there before with --force`,
      );
    }
    try {
      for (const file of journal.files.toReversed()) await restore(file);
      await rm(this.#path);
    } catch (error) {
      throw problemOf(error);
    }
    return journal.files.map(({ path, before }) => ({ path, change: before === null ? 'removed' : 'restored' }));
  }

  async #entry(journal: Journal, { path }: FileChange): Promise<JournalFile> {
    const known = journal.files.find((file) => file.path === path);
    if (known !== undefined) return known;
    const entry = { path, before: (await readOrNothing(path))?.toString('base64') ?? null, afterSha256: '' };
    journal.files.push(entry);
    return entry;
  }

  async #read(): Promise<Journal | undefined> {
    const bytes = await readOrNothing(this.#path);
    if (bytes === undefined) return undefined;
    try {
      return journalSchema.parse(JSON.parse(bytes.toString()));
    } catch {
      throw new SetupProblem(`${this.#path} is damaged; restore the runtime's files by hand and remove it`);
    }
  }

  async #write(journal: Journal): Promise<void> {
    await writeWhole(this.#path, `${JSON.stringify(journal)}\n`, 0o600);
  }
}

async function restore({ path, before, madeFolder }: JournalFile): Promise<void> {
  if (before !== null) {
    await writeWhole(path, Buffer.from(before, 'base64'));
    return;
  }
  await rm(path, { force: true });
  if (madeFolder === undefined) return;
  for (let folder = dirname(path); folder.startsWith(madeFolder); folder = dirname(folder)) {
    // Somebody else may have put something there.
    await rmdir(folder).catch(() => undefined);
  }
}

/** Whole or not at all; mode and links stay as they are. */
async function writeWhole(path: string, content: string | Uint8Array, mode?: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const target = await realpath(path).catch(() => path);
  const before = await stat(target).catch(() => undefined);
  const temporary = join(dirname(target), `.shoal-${process.pid}.tmp`);
  const file = await open(temporary, 'w', mode ?? NEW_FILE_MODE);
  try {
    await file.writeFile(content);
    if (before !== undefined) await file.chown(before.uid, before.gid);
    await file.sync();
  } finally {
    await file.close();
  }
  if (before !== undefined) await chmod(temporary, before.mode & 0o7777);
  await rename(temporary, target);
}

async function firstMissing(folder: string): Promise<string | undefined> {
  let missing: string | undefined;
  for (let at = folder; at !== dirname(at); at = dirname(at)) {
    if ((await stat(at).catch(() => undefined)) !== undefined) return missing;
    missing = at;
  }
  return missing;
}

async function readOrNothing(path: string): Promise<Buffer | undefined> {
  return await readFile(path).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw problemOf(error);
  });
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

function problemOf(error: unknown): SetupProblem {
  if (error instanceof SetupProblem) return error;
  const path = error instanceof Error && 'path' in error ? String(error.path) : 'a file';
  return new SetupProblem(`${path} cannot be written (${codeOf(error)}); run this as root`);
}
