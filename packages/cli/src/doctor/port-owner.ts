/** Who listens on a port of this machine, as Linux tells it: of other users' programs only to root. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';

const LISTEN = '0A';
const MAX_PROCESSES = 10_000;

/** e.g. `nginx (pid 812)`; undefined when that cannot be known. */
export async function portOwner(port: number, proc = '/proc'): Promise<string | undefined> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(join(proc, 'net', name), 'utf8').catch(() => '')),
  );
  const sockets = new Set(tables.flatMap((table) => listenersIn(table, port)).map((inode) => `socket:[${inode}]`));
  if (sockets.size === 0) return undefined;
  const pids = (await readdir(proc).catch(() => [])).filter((name) => /^\d+$/.test(name)).slice(0, MAX_PROCESSES);
  for (const pid of pids) {
    if (!(await holdsOne(join(proc, pid, 'fd'), sockets))) continue;
    const command = await readFile(join(proc, pid, 'cmdline'), 'utf8').catch(() => '');
    return `${programOf(command)} (pid ${pid})`;
  }
  return undefined;
}

/** An interpreter with its script; no other argument, which may be a secret. */
function programOf(command: string): string {
  const [program = '', ...words] = command.split('\0').filter((word) => word !== '');
  const script = words.find((word) => /\.([cm]?[jt]s|py|rb|sh)$/.test(word) && !word.startsWith('-'));
  return [program || 'a program', ...(script === undefined ? [] : [script])].map((word) => basename(word)).join(' ');
}

/** The sockets' inodes. proc_pid_net(5): `sl local rem st tx:rx tr:tm retrnsmt uid timeout inode`, numbers in hexadecimal. */
function listenersIn(table: string, port: number): string[] {
  return table.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    const found = Number.parseInt(local.split(':')[1] ?? '', 16);
    return state === LISTEN && found === port && inode !== undefined ? [inode] : [];
  });
}

async function holdsOne(folder: string, sockets: ReadonlySet<string>): Promise<boolean> {
  for (const name of await readdir(folder).catch(() => [])) {
    const target = await readlink(join(folder, name)).catch(() => '');
    if (sockets.has(target)) return true;
  }
  return false;
}
