/**
 * containerd's `certs.d/HOST/hosts.toml`, which Docker from 29 on reads, too: its tables are tried in file order, then `server`,
 * which is the registry itself when it is left out.
 */
import { join } from 'node:path';
import { changeOf, type FileChange, type Files, MADE_BY, type MirrorAddress, SetupProblem } from './plan.ts';
import { parseToml, tomlAt } from './toml-edit.ts';

/** The mirror in front of whatever the file has. @throws SetupProblem */
export function withMirror(path: string, text: string | undefined, { url }: MirrorAddress): string {
  const table = `[host."${url}"]\n  capabilities = ["pull", "resolve"]\n  dial_timeout = "2s"\n`;
  if (text === undefined) return `${MADE_BY}\n${table}`;
  const hosts = tomlAt(parseToml(path, text), ['host']) ?? {};
  if (Object.keys(hosts)[0] === url) return text;
  if (Object.hasOwn(hosts, url)) {
    throw new SetupProblem(`${path} has ${url} behind other hosts; move its table in front of them, or remove it`);
  }
  const lines = text.split('\n');
  const first = lines.findIndex((line) => /^\s*\[/.test(line));
  const at = first < 0 ? lines.length : first;
  const head = lines.slice(0, at).join('\n').trimEnd();
  const edited = `${head}${head === '' ? '' : '\n\n'}${table}${first < 0 ? '' : `\n${lines.slice(at).join('\n')}`}`;
  const [front, ...rest] = Object.keys(tomlAt(parseToml(path, edited), ['host']) ?? {});
  if (front !== url || rest.length !== Object.keys(hosts).length) {
    throw new SetupProblem(
      `${path} is written in a way that cannot be edited safely; put first: ${table.replaceAll('\n', ' ')}`,
    );
  }
  return edited;
}

/** `_default`, and every registry with a file of its own. */
export async function hostsChanges(certsDir: string, mirror: MirrorAddress, files: Files): Promise<FileChange[]> {
  const changes: FileChange[] = [];
  const names = new Set([...(await files.list(certsDir)), '_default']);
  for (const name of names) {
    const path = join(certsDir, name, 'hosts.toml');
    const before = await files.read(path);
    // A folder with certificates alone says nothing about hosts.
    const isOther = before === undefined && name !== '_default';
    if (!isOther) changes.push(...changeOf(path, before, withMirror(path, before, mirror)));
  }
  return changes;
}
