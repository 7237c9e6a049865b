// The commands that documents tell people to type: every line of a block marked `sh`, and what follows `$ ` in one marked `console`.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

export interface DocumentCommand {
  readonly document: string;
  readonly line: number;
  /** As it is typed: without prompt and remark, lines that go on joined. */
  readonly command: string;
}

/** A line of a block that does not say what it is. */
export interface UnmarkedLine {
  readonly document: string;
  readonly line: number;
  readonly text: string;
}

/** Every document that people read, by its path in the checkout. */
async function documentPaths(): Promise<string[]> {
  const pages = (await readdir(join(ROOT, 'docs'))).filter((name) => name.endsWith('.md'));
  const others = ['README.md', 'CONTRIBUTING.md', 'ARCHITECTURE.md', 'deploy/README.md', 'bench/README.md'];
  return [...others, ...pages.sort().map((name) => `docs/${name}`)];
}

export async function commandsOfDocuments(): Promise<{ commands: DocumentCommand[]; unmarked: UnmarkedLine[] }> {
  const commands: DocumentCommand[] = [];
  const unmarked: UnmarkedLine[] = [];
  for (const document of await documentPaths()) {
    const found = commandsIn(document, await readFile(join(ROOT, document), 'utf8'));
    commands.push(...found.commands);
    unmarked.push(...found.unmarked);
  }
  return { commands, unmarked };
}

export function commandsIn(
  document: string,
  markdown: string,
): { commands: DocumentCommand[]; unmarked: UnmarkedLine[] } {
  const commands: DocumentCommand[] = [];
  const unmarked: UnmarkedLine[] = [];
  let language: string | undefined;
  let begun = '';
  for (const [index, text] of markdown.split('\n').entries()) {
    const fence = /^\s*```(\S*)/.exec(text);
    if (fence !== null) {
      language = language === undefined ? fence[1] : undefined;
      begun = '';
      continue;
    }
    if (language === '') unmarked.push({ document, line: index + 1, text });
    if (language !== 'sh' && language !== 'console') continue;
    const typed = language === 'sh' || begun !== '' ? text : /^\$ (.*)$/.exec(text)?.[1];
    if (typed === undefined) continue;
    begun += typed.replace(/ *\\$/, ' ');
    if (typed.endsWith('\\')) continue;
    const command = begun.replace(/(?:^|\s+)#\s.*$/, '').trim();
    begun = '';
    if (command !== '') commands.push({ document, line: index + 1, command });
  }
  return { commands, unmarked };
}
