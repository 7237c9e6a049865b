import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

// Which programs the suites drive, where they are and which Debian package brings them.

/** Each program with the Debian package that it comes from. */
export const debianPackages = {
  busybox: 'busybox-static',
  chromium: 'chromium',
  containerd: 'containerd',
  ctr: 'containerd',
  docker: 'docker.io',
  'docker-compose': 'docker-compose',
  'docker-registry': 'docker-registry',
  dockerd: 'docker.io',
  go: 'golang-go',
  'host-local': 'containernetworking-plugins',
  iptables: 'iptables',
  openssl: 'openssl',
  podman: 'podman',
  promtool: 'prometheus',
  'redis-server': 'redis-server',
  runc: 'runc',
  skopeo: 'skopeo',
  ssh: 'openssh-client',
  sshd: 'openssh-server',
  systemctl: 'systemd',
  'systemd-analyze': 'systemd',
  'systemd-socket-activate': 'systemd',
} as const;

export type Program = keyof typeof debianPackages;

// The packages' own folders come first: another, newer `docker` on the PATH may refuse to talk to the packaged dockerd.
const packageFolders = ['/usr/bin', '/usr/sbin', '/bin', '/sbin'];
const OLDEST_GO_1 = 21;
/** Where Debian keeps containers' network plugins. */
const pluginFolder = '/usr/lib/cni';

function searchPath(): string[] {
  return [...new Set([...packageFolders, ...(process.env.PATH ?? '').split(delimiter).filter(Boolean), pluginFolder])];
}

/** The absolute path of a program, or undefined. */
export function findProgram(program: Program): string | undefined {
  for (const folder of searchPath()) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
    } catch {
      continue;
    }
    if (isUsable(program, path)) return path;
  }
  return undefined;
}

/** A busybox is put into an image alone, so it has to be static. A Go before 1.21 cannot get the later one that a module asks for. */
function isUsable(program: Program, path: string): boolean {
  if (program === 'busybox') return isStaticElf(readFileSync(path));
  if (program !== 'go') return true;
  const { stdout } = spawnSync(path, ['version'], { encoding: 'utf8' });
  return Number(/\bgo1\.(\d+)/.exec(stdout)?.[1]) >= OLDEST_GO_1;
}

/** As `findProgram`; throws when the program is missing. */
export function requireProgram(program: Program): string {
  const path = findProgram(program);
  if (path === undefined) throw new Error(`${program} is not installed (Debian package ${debianPackages[program]})`);
  return path;
}

/** The environment of every daemon and client: a PATH with the packages' folders, no configuration of the user's. */
export function daemonEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { NODE_COMPILE_CACHE: cache } = process.env;
  return {
    PATH: searchPath().join(delimiter),
    LANG: 'C.UTF-8',
    ...(cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }),
    ...extra,
  };
}

const programHeaderInterpreter = 3;

/** True for a 64-bit little-endian ELF file that names no dynamic loader. */
function isStaticElf(file: Buffer): boolean {
  const is64BitLittleEndian = file.length > 64 && file.readUInt32BE(0) === 0x7f454c46 && file[4] === 2 && file[5] === 1;
  if (!is64BitLittleEndian) return false;
  const tableOffset = Number(file.readBigUInt64LE(32));
  const entrySize = file.readUInt16LE(54);
  const entries = file.readUInt16LE(56);
  for (let entry = 0; entry < entries; entry++) {
    const offset = tableOffset + entry * entrySize;
    if (offset + 4 > file.length) return false;
    if (file.readUInt32LE(offset) === programHeaderInterpreter) return false;
  }
  return true;
}
