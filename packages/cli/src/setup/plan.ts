/** What a setup would change, before anything is changed. Text in, text out: files are read by `files.ts` and written by `apply.ts`. */

export interface FileChange {
  path: string;
  /** Undefined: there is no such file. */
  before: string | undefined;
  after: string;
}

export interface SetupPlan {
  /** Only files that would really change. */
  changes: FileChange[];
  /** The command after which the changes count; undefined when they do at once. */
  reload: string | undefined;
  /** What whoever runs this should know, a sentence each. */
  notes: string[];
}

/** Where the agent's mirror is reached from the runtime. */
export interface MirrorAddress {
  /** `http://127.0.0.1:7300` */
  url: string;
  /** `127.0.0.1:7300` */
  host: string;
}

export interface SetupOptions {
  mirror: MirrorAddress;
  /** The runtime's main configuration file. @default the runtime's own */
  configFile: string | undefined;
  /** The folder with a file or folder per registry. @default the runtime's own */
  registriesDir: string | undefined;
  /** Registries to be mirrored beside the usual ones, where the runtime has no way to say all. */
  registries: readonly string[];
}

/** The files of a machine, read-only. */
export interface Files {
  /** Undefined when there is none. @throws SetupProblem when it cannot be read as text */
  read(path: string): Promise<string | undefined>;
  /** Names in a folder, sorted; empty when there is none. */
  list(path: string): Promise<string[]>;
}

export type Planner = (options: SetupOptions, files: Files) => Promise<SetupPlan>;

/** What is in the way, and what to do; one line. */
export class SetupProblem extends Error {}

export function changeOf(path: string, before: string | undefined, after: string): FileChange[] {
  return before === after ? [] : [{ path, before, after }];
}

export const MADE_BY = '# Made by `shoal setup`; `shoal setup … --undo` restores what was here before.';
