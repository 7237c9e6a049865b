// A machine on which nothing was ever set up: a root of its own in namespaces of its own. It has this machine's programs
// (/usr, read-only), fresh and empty /etc, /root, /home, /tmp, /var, /run, /opt and /srv, its own processes, host name and
// loopback, and no other network. Its process 1 does nothing, or is systemd. What only a real machine has is missing: a kernel of
// its own.
import { randomUUID } from 'node:crypto';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DaemonFolder } from './daemon/daemon-folder.ts';
import { attempt, type CommandResult, DaemonProcess } from './daemon/process.ts';

const LINKED_FOLDERS = ['bin', 'sbin', 'lib', 'lib32', 'lib64'];
const EMPTY_FOLDERS = [
  'dev',
  'etc',
  'home',
  'opt',
  'proc',
  'root',
  'run',
  'srv',
  'sys',
  'tmp',
  'usr',
  'var/lib',
  'var/log',
  'var/tmp',
];
/** What every Debian has in /etc, or what the packages of the container runtimes bring. */
const SYSTEM_FILES = [
  'alternatives',
  'ca-certificates.conf',
  'containers/policy.json',
  'debian_version',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'nsswitch.conf',
  'os-release',
  'protocols',
  'services',
  'ssl',
];
/** What a container manager does for a systemd that it starts: https://systemd.io/CONTAINER_INTERFACE/ */
const READY_FOR_SYSTEMD = [
  // Credentials are mounted where services see them.
  'mount --make-rshared /',
  // It would set up the kernel, which is this machine's.
  'mount -o remount,bind,ro /sys',
  'mount --bind /proc/sys /proc/sys',
  'mount -o remount,bind,ro /proc/sys',
];
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'fuse'];
const READY_MARK = 'the machine is up';
const STARTS_WITHIN_MS = 20_000;
const BOOTS_WITHIN_MS = 60_000;

export interface FreshMachineOptions {
  /** Its host name. @default fresh */
  readonly name?: string;
  /**
   * Whether systemd is its process 1, with a cgroup of its own. It starts what Debian starts everywhere; services of other packages
   * are there and not enabled. @default false
   */
  readonly systemd?: boolean;
  /** Names that its /etc/hosts has for 127.0.0.1. */
  readonly hosts?: readonly string[];
  /** Environment of everything that runs on it. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface MachineCommand {
  /** @default /root */
  readonly cwd?: string;
  readonly timeoutMs?: number;
  /** Whether it has this machine's network instead of its own, e.g. to install packages. @default false */
  readonly online?: boolean;
}

export class FreshMachine implements AsyncDisposable {
  readonly #folder: DaemonFolder;
  readonly #holder: DaemonProcess;
  readonly #options: FreshMachineOptions;
  /** Its process 1, as this machine counts. */
  #pid = 0;

  /** @param cgroup where its own begins */
  private constructor(folder: DaemonFolder, options: FreshMachineOptions, cgroup: string | undefined) {
    this.#folder = folder;
    this.#options = options;
    const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--net', '--fork', '--kill-child'];
    const enterCgroup = cgroup === undefined ? '' : `echo 0 > ${cgroup}/cgroup.procs\n`;
    // A cgroup namespace begins at the group of the process that makes it.
    const inCgroup = `${enterCgroup}exec unshare --cgroup bash -euc "$1"`;
    const args = [
      ...namespaces,
      '--propagation',
      'private',
      'bash',
      '-euc',
      inCgroup,
      'bash',
      setUp(this.root, options),
    ];
    this.#holder = new DaemonProcess({ name: 'the fresh machine', program: 'unshare', args });
  }

  /** Needs root. */
  static async start(options: FreshMachineOptions = {}): Promise<FreshMachine> {
    const folder = await DaemonFolder.create('fresh');
    await using unready = new AsyncDisposableStack();
    unready.use(folder);
    await makeRoot(folder, options);
    const cgroup = options.systemd === true ? await folder.makeCgroup() : undefined;
    const machine = new FreshMachine(folder, options, cgroup);
    unready.use(machine);
    await machine.#holder.ready(() => machine.#holder.log.includes(READY_MARK), STARTS_WITHIN_MS);
    machine.#pid = await onlyChildOf(machine.#holder.pid);
    if (options.systemd === true) await machine.#holder.ready(() => machine.#hasBooted(), BOOTS_WITHIN_MS);
    unready.move();
    return machine;
  }

  /** Its root folder, as this machine sees it; what is mounted there is seen from inside alone. */
  get root(): string {
    return this.#folder.join('root');
  }

  /** Its process 1, as this machine counts: what is given to its namespaces is given to those of this process. */
  get pid(): number {
    return this.#pid;
  }

  /** Writes a text file, with the folders that it needs. */
  async write(path: string, text: string, mode = 0o644): Promise<void> {
    await mkdir(dirname(`${this.root}${path}`), { recursive: true });
    await writeFile(`${this.root}${path}`, text, { mode });
  }

  /** Puts files or folders of this machine there. */
  async copyIn(from: string, path: string): Promise<void> {
    await cp(from, `${this.root}${path}`, { recursive: true });
  }

  /** Runs lines of bash to their end, as root and with the aliases that `/root/.bashrc` makes, and reports how it went. */
  attempt(lines: string, command: MachineCommand = {}): Promise<CommandResult> {
    const { timeoutMs } = command;
    return attempt('nsenter', this.#enter(lines, command), timeoutMs === undefined ? {} : { timeoutMs });
  }

  /** The same; throws with all that was printed unless it ends with 0. */
  async run(lines: string, command: MachineCommand = {}): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(lines, command);
    if (code !== 0) throw new Error(`${lines}: exit code ${code}\n${stdout}\n${stderr}`);
    return stdout;
  }

  /** Runs a probe, lines of shell, until it ends with 0, for half a minute of pauses; throws with what it printed in the end. */
  async waitFor(probe: string): Promise<void> {
    await this.run(
      `for try in $(seq 300); do if ${probe}; then exit 0; fi > /dev/null 2>&1; sleep 0.1; done; ${probe}`,
    );
  }

  /** Lines that run until the machine goes. */
  background(name: string, lines: string, command: MachineCommand = {}): DaemonProcess {
    return new DaemonProcess({ name, program: 'nsenter', args: this.#enter(lines, command) });
  }

  async #hasBooted(): Promise<boolean> {
    return (await this.attempt('systemctl is-active --quiet multi-user.target || { sleep 0.2; false; }')).code === 0;
  }

  #enter(lines: string, { cwd = '/root', online = false }: MachineCommand): string[] {
    const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--cgroup', ...(online ? [] : ['--net'])];
    const env = Object.entries({
      HOME: '/root',
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      LANG: 'C.UTF-8',
      // npx would otherwise look for newer packages, until it gave up.
      ...(online ? {} : { npm_config_offline: 'true' }),
      ...this.#options.env,
    }).map(([name, value]) => `${name}=${value}`);
    const shell = [
      'bash',
      '-O',
      'expand_aliases',
      '-c',
      `[ ! -e /root/.bashrc ] || . /root/.bashrc\ncd ${cwd}\n${lines}`,
    ];
    return ['--target', `${this.#pid}`, ...namespaces, '--root', '--wd', 'env', '-i', ...env, ...shell];
  }

  /** With its process 1 everything ends that runs on it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.kill();
    await this.#folder[Symbol.asyncDispose]();
  }
}

const nameOf = ({ name = 'fresh' }: FreshMachineOptions): string => name;

async function makeRoot(folder: DaemonFolder, options: FreshMachineOptions): Promise<void> {
  for (const name of EMPTY_FOLDERS) await mkdir(folder.join('root', name), { recursive: true });
  for (const name of LINKED_FOLDERS) await symlink(`usr/${name}`, folder.join('root', name));
  const etc = (name: string): string => folder.join('root/etc', name);
  for (const name of SYSTEM_FILES) {
    await mkdir(dirname(etc(name)), { recursive: true });
    await cp(`/etc/${name}`, etc(name), { recursive: true, verbatimSymlinks: true }).catch(ignoreMissing);
  }
  // Names are found as this machine finds them, for what runs online.
  for (const name of ['resolv.conf', 'hosts']) await cp(`/etc/${name}`, etc(name), { dereference: true });
  const known = await readFile(etc('hosts'), 'utf8');
  await writeFile(
    etc('hosts'),
    `${known.trimEnd()}\n127.0.0.1 ${[nameOf(options), ...(options.hosts ?? [])].join(' ')}\n`,
  );
  await writeFile(etc('hostname'), `${nameOf(options)}\n`);
  // A systemd that finds none takes the machine for one at its first boot, and enables the services of all packages.
  await writeFile(etc('machine-id'), `${randomUUID().replaceAll('-', '')}\n`);
  await writeFile(
    etc('passwd'),
    'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
  );
  await writeFile(etc('group'), 'root:x:0:\nnogroup:x:65534:\n');
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

/** Runs as process 1 of the new namespaces. */
function setUp(root: string, options: FreshMachineOptions): string {
  return [
    `hostname ${nameOf(options)}`,
    'ip link set lo up',
    // A root that is a mount of its own can be left for good, and containers can be started below it.
    `mount --bind ${root} ${root}`,
    `mount --bind -o ro /usr ${root}/usr`,
    `mount -t proc proc ${root}/proc`,
    `mount -t sysfs sysfs ${root}/sys`,
    `mount -t cgroup2 cgroup2 ${root}/sys/fs/cgroup || true`,
    `mount -t tmpfs -o mode=755 tmpfs ${root}/dev`,
    `mkdir ${root}/dev/pts ${root}/dev/shm`,
    `mount -t devpts -o newinstance,ptmxmode=0666 devpts ${root}/dev/pts`,
    `mount -t tmpfs tmpfs ${root}/dev/shm`,
    `ln -s pts/ptmx ${root}/dev/ptmx`,
    `ln -s /proc/self/fd ${root}/dev/fd`,
    ...DEVICES.map(
      (name) =>
        `[ ! -e /dev/${name} ] || { touch ${root}/dev/${name}; mount --bind /dev/${name} ${root}/dev/${name}; }`,
    ),
    `chmod 1777 ${root}/tmp ${root}/var/tmp ${root}/dev/shm`,
    `chmod 700 ${root}/root`,
    `cd ${root}`,
    'mkdir -p .old',
    'pivot_root . .old',
    'umount -l /.old',
    'rmdir /.old',
    ...(options.systemd === true ? READY_FOR_SYSTEMD : []),
    `echo '${READY_MARK}'`,
    options.systemd === true ? 'exec env -i container=fresh /lib/systemd/systemd' : 'exec sleep infinity',
  ].join('\n');
}

async function onlyChildOf(pid: number): Promise<number> {
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ');
  const [child] = children.map(Number);
  if (children.length !== 1 || child === undefined || !(child > 0))
    throw new Error('the fresh machine has no process 1');
  return child;
}
