/**
 * Writes a plan's files and takes them back. What was there before is written down first, in a journal, so that `undo` restores
 * every file byte for byte, also after several setups and after a crash between two files.
 */
import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, lstat, mkdir, open, readFile, realpath, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { isMissing, reasonOf } from './files.ts';
import { type FileChange, SetupProblem } from './plan.ts';

const NEW_FILE_MODE = 0o644;
const { S_IFMT, S_IFDIR } = constants;

const settingsSchema = z.object({ mirror: z.string(), configFile: z.string(), registriesDir: z.string() });
/** What a setup must have in common with the one before it. */
export type JournalSettings = z.output<typeof settingsSchema>;

const journalSchema = z.object({
  version: z.literal(1),
  settings: settingsSchema,
  /** All that were ever asked for. */
  registries: z.array(z.string()),
  files: z.array(
    z.object({
      path: z.string(),
      /** Base64; null: there was none. */
      before: z.string().nullable(),
      /** Hashes of what was written, the last one last; the one before it counts while a write is under way. */
      writtenSha256: z.array(z.string()),
      /** Somebody else changed it between two setups: what is in `before` is not all that undo would take away. */
      isEdited: z.boolean(),
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

  /** @param path of the journal, in a folder that nobody else may write to */
  constructor(path: string) {
    this.#path = path;
  }

  /** Registries that earlier setups asked for. @throws SetupProblem when they had other settings */
  async earlierRegistries(settings: JournalSettings): Promise<string[]> {
    const journal = await this.#read();
    if (journal === undefined) return [];
    const different = firstDifference(journal.settings, settings);
    if (different === undefined) return journal.registries;
    const [key, value] = different;
    throw new SetupProblem(
      `was set up before with another ${key} (${value || 'the usual one'}); take that back first, with --undo, or in one go with --replace`,
    );
  }

  /** Takes an earlier setup with other settings back. @throws SetupProblem when a file was changed since */
  async undoOther(settings: JournalSettings): Promise<void> {
    const journal = await this.#read();
    if (journal !== undefined && firstDifference(journal.settings, settings) !== undefined) await this.undo(false);
  }

  /** @throws SetupProblem; what was written before it is taken back */
  async apply(changes: readonly FileChange[], settings: JournalSettings, registries: readonly string[]): Promise<void> {
    if (changes.length === 0) return;
    const journal = (await this.#read()) ?? { version: 1, settings, registries: [], files: [] };
    const old: Journal = structuredClone(journal);
    journal.registries = [...registries];
    const written: FileChange[] = [];
    try {
      await makePrivate(dirname(this.#path));
      for (const change of changes) {
        const entry = await this.#entry(journal, change);
        entry.madeFolder ??= await firstMissing(dirname(change.path));
        entry.writtenSha256 = [...entry.writtenSha256, sha256(change.after)].slice(-2);
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
    const changed = journal.files.filter(({ before, writtenSha256, isEdited }, index) => {
      const bytes = current[index];
      const isOurs = bytes !== undefined && writtenSha256.includes(sha256(bytes));
      return isEdited || (!isOurs && (bytes?.toString('base64') ?? null) !== before);
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
    const bytes = await readOrNothing(path);
    const known = journal.files.find((file) => file.path === path);
    if (known !== undefined) {
      const isOurs = bytes !== undefined && known.writtenSha256.includes(sha256(bytes));
      known.isEdited ||= !isOurs && (bytes?.toString('base64') ?? null) !== known.before;
      return known;
    }
    const entry = { path, before: bytes?.toString('base64') ?? null, writtenSha256: [], isEdited: false };
    journal.files.push(entry);
    return entry;
  }

  async #read(): Promise<Journal | undefined> {
    const bytes = await readOrNothing(this.#path);
    if (bytes === undefined) return undefined;
    await mustBePrivate(dirname(this.#path));
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

const firstDifference = (earlier: JournalSettings, now: JournalSettings): [key: string, earlier: string] | undefined =>
  Object.entries(earlier).find(([key, value]) => now[key as keyof JournalSettings] !== value);

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
  const temporary = join(dirname(target), `.shoal-${randomUUID()}.tmp`);
  const file = await open(temporary, 'wx', mode ?? NEW_FILE_MODE);
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

/** What is in the journal is written as root: nobody else may have put it there. @throws SetupProblem */
async function mustBePrivate(folder: string): Promise<void> {
  const { uid, mode } = await lstat(folder);
  const isOwn = uid === process.getuid?.() && (mode & 0o022) === 0 && (mode & S_IFMT) === S_IFDIR;
  if (!isOwn)
    throw new SetupProblem(
      `${folder} can be written by others; what it says is not to be trusted, so restore the files by hand`,
    );
}

async function makePrivate(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await mustBePrivate(folder);
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
  return new SetupProblem(`${path} cannot be written (${reasonOf(error)}); run this as root`);
}
