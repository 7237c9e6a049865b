import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { run } from '../support/daemon/process.ts';
import { buildRunnableImage } from '../support/daemon/runnable-image.ts';
import { FreshMachine } from '../support/fresh-machine.ts';
import { publishOn, startRegistryOn } from '../support/machine-registry.ts';
import { linkBySsh } from '../support/ssh-link.ts';
import { Walk } from '../support/walk.ts';
import { describeSuite } from './suite.ts';

// A node is installed from another machine, over SSH, by the lines of deploy/README.md as they stand there, and is then held to what
// that document says of systemd: the real one is process 1 of the node. NODE and TRACKER are names of one machine here.

const root = join(import.meta.dirname, '../..');
const MIRROR = 'http://127.0.0.1:7300/v2/';
const DASHBOARD = '127.0.0.1:7304';
const SHOAL = '/opt/shoal/bin/node /opt/shoal/dist/main.js';
/** Of `DynamicUser`: https://systemd.io/UIDS-GIDS/ */
const FIRST_DYNAMIC_USER = 61_184;
const UNITS = '/etc/systemd/system';
const REGISTRY_PORT = 5000;
/** What `shoal setup` pulls to prove itself. */
const PAUSE = 'pause:3.10';
const MiB = 1024 * 1024;
const soon = { timeout: 30_000, interval: 100 };

describeSuite('node', 'a node that is installed as deploy/README.md says', () => {
  const resources = new AsyncDisposableStack();
  let walk: Walk;
  let desk: FreshMachine;
  let node: FreshMachine;

  beforeAll(async () => {
    walk = await Walk.of('test/e2e/deploy-node.test.ts');
    // Packing takes longer than all the rest otherwise.
    desk = resources.use(await FreshMachine.start({ name: 'desk', env: { GZIP: '-1' } }));
    node = resources.use(await FreshMachine.start({ name: 'node', systemd: true, hosts: ['TRACKER'] }));
    const { fromAddress } = await linkBySsh(desk, node, ['NODE', 'TRACKER']);
    const registry = `${fromAddress}:${REGISTRY_PORT}`;
    await Promise.all([makeOut(desk), startRegistry(desk, registry)]);
    await desk.write(
      '/root/agent.yaml',
      `tracker: https://TRACKER:7302\nregistry: { registry.k8s.io: "http://${registry}" }\n`,
    );
    await node.write('/etc/containerd/config.toml', 'version = 2\n');
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(({ onTestFailed }) => {
    onTestFailed(async () => {
      process.stderr.write(await node.run('journalctl --no-pager --lines 40 --unit ssh --unit "shoal-*"'));
    });
  });

  const show = async (unit: string, property: string): Promise<string> =>
    (await node.run(`systemctl show --value --property ${property} ${unit}`)).trim();
  /** As a container runtime asks: `200`, or why there was no answer. */
  const ask = async (): Promise<string> => {
    const { code, stdout } = await node.attempt(`curl -s -m 20 -o /dev/null -w '%{http_code}' ${MIRROR}`);
    return code === 7 ? 'refused' : `${stdout}${code === 0 ? '' : ` curl ${code}`}`;
  };

  test('three lines install it, and containerd pulls through it', async () => {
    await desk.run(walk.notedWith('tar -C OUT -cz .'));

    // The tracker's machine has the folder now, too.
    await node.write(
      `${UNITS}/shoal-tracker.service.d/dashboard.conf`,
      `[Service]\nEnvironment=SHOAL_DASHBOARD=${DASHBOARD}\n`,
    );
    await node.run(`cp /opt/shoal/systemd/shoal-tracker.service ${UNITS}/`);
    await node.run('systemctl enable --now shoal-tracker');
    const token = '/var/lib/shoal-tracker/join-token';
    await expect.poll(async () => (await node.attempt(`test -s ${token}`)).code, soon).toBe(0);
    await desk.run(`scp root@TRACKER:${token} .`);

    await desk.run(walk.noted('scp -p join-token agent.yaml root@NODE:/etc/shoal/'));
    const printed = await desk.run(walk.notedWith('systemctl enable --now shoal-agent.socket shoal-agent'));
    expect(printed).toContain('Now: systemctl restart containerd');
    expect(await node.run("stat -c '%a %U' /etc/shoal/join-token")).toBe('600 root\n');
    expect(await node.run('systemctl is-enabled shoal-agent.socket shoal-agent')).toBe('enabled\nenabled\n');
    expect(await node.run('systemctl is-active shoal-agent.socket shoal-agent')).toBe('active\nactive\n');
    expect(await ask()).toBe('200');

    await node.run('systemctl restart containerd');
    expect(await node.run(`${SHOAL} setup containerd`)).toContain('went through the agent');
    const looked = await node.run(`${SHOAL} doctor`);
    expect(looked).toContain('mirror 127.0.0.1:7300 (held by systemd: clients wait for the agent)');
    expect(looked).toMatch(/✓ containerd +pulls through 127\.0\.0\.1:7300/);
    expect(looked).toMatch(/✓ membership +current .* 1 member/);
  });

  test('it may do what its unit leaves it, and no more', async () => {
    for (const unit of ['shoal-agent', 'shoal-tracker']) {
      const pid = await show(unit, 'MainPID');
      const status = await node.run(`cat /proc/${pid}/status`);
      expect(Number(/^Uid:\t(\d+)/m.exec(status)?.[1]), unit).toBeGreaterThanOrEqual(FIRST_DYNAMIC_USER);
      expect(status).toMatch(/^CapBnd:\t0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(status).toMatch(/^Seccomp:\t2$/m);
      const writing = await node.attempt(`nsenter --target ${pid} --mount touch /opt/shoal/written`);
      expect(writing.stderr).toContain('Read-only file system');
    }
  });

  test('docs/dashboard.md: the page comes through a tunnel', async () => {
    const token = (await node.run('cat /var/lib/shoal-tracker/dashboard-token')).trim();
    // Whoever types it does not end the shell that it opens.
    const tunnel = desk.background('ssh -L', `exec < <(sleep infinity)\n${walk.notedWith('ssh -L 7304')}`);
    const members = await tunnel.ready(async () => {
      const authorization = `authorization: Bearer ${token}`;
      const { code, stdout } = await desk.attempt(`curl -sf -H '${authorization}' http://${DASHBOARD}/v1/members`);
      return code === 0 && stdout;
    });
    expect(JSON.parse(members)).toMatchObject({ members: [{ name: 'node' }] });
    expect(await desk.run(`curl -sf http://${DASHBOARD}/`)).toContain('<title>Shoal</title>');
  });

  test('who asks after it was killed waits for the next one', async () => {
    const socketSince = () => show('shoal-agent.socket', 'ActiveEnterTimestampMonotonic');
    const before = { pid: await show('shoal-agent', 'MainPID'), socket: await socketSince() };
    await node.run('systemctl kill -s KILL shoal-agent');
    for (let request = 0; request < 3; request++) expect(await ask()).toBe('200');
    expect(await show('shoal-agent', 'MainPID')).not.toBe(before.pid);
    expect(await socketSince()).toBe(before.socket);
  });

  test('a pull starts it again unless its socket is stopped with it', async () => {
    await node.run('systemctl stop shoal-agent');
    expect(await show('shoal-agent', 'ActiveState')).toBe('inactive');
    expect(await ask()).toBe('200');
    await node.run('systemctl stop shoal-agent.socket shoal-agent');
    expect(await ask()).toBe('refused');
    await node.run('systemctl start shoal-agent');
    expect(await ask()).toBe('200');
  });

  test('one that cannot start keeps nobody waiting', async () => {
    await node.run('cp -p /etc/shoal/agent.yaml /root/');
    // The starts of the tests before count, too.
    await node.run('systemctl reset-failed shoal-agent');
    await node.run("echo 'no-such-setting: 1' >> /etc/shoal/agent.yaml && systemctl restart shoal-agent");
    const withinTheMinute = { timeout: 60_000, interval: 100 };
    await expect.poll(() => show('shoal-agent', 'ActiveState'), withinTheMinute).toBe('failed');
    expect(await show('shoal-agent', 'NRestarts')).toBe('8');
    expect(await ask()).toBe('refused');
    expect(await show('shoal-agent-retry.timer', 'SubState')).toBe('waiting');
    await node.run('systemctl stop shoal-agent.socket shoal-agent');
    expect(await show('shoal-agent-retry.timer', 'SubState')).toBe('dead');

    await node.run('cp -p /root/agent.yaml /etc/shoal/');
    await node.run('systemctl reset-failed shoal-agent shoal-agent.socket; systemctl start shoal-agent');
    expect(await ask()).toBe('200');
  });

  test('one that could not start is tried again, also when somebody tried in vain meanwhile', async () => {
    // The minute of both units, in short, and one try in it instead of eight.
    const inShort = {
      service: 'StartLimitBurst=1\nStartLimitIntervalSec=5',
      timer: 'OnActiveSec=\nOnActiveSec=5\nAccuracySec=100ms',
    };
    await node.write(`${UNITS}/shoal-agent.service.d/in-short.conf`, `[Unit]\n${inShort.service}\n`);
    await node.write(`${UNITS}/shoal-agent-retry.timer.d/in-short.conf`, `[Timer]\n${inShort.timer}\n`);
    await node.run('systemctl daemon-reload && mv /etc/shoal/agent.yaml /root/');
    for (const verb of ['restart', 'start']) {
      await node.run(`systemctl reset-failed shoal-agent; sleep 0.5; systemctl ${verb} shoal-agent`);
      await expect.poll(() => show('shoal-agent', 'ActiveState'), soon).toBe('failed');
    }
    await node.run('mv /root/agent.yaml /etc/shoal/');
    await expect.poll(() => show('shoal-agent.socket', 'ActiveState'), soon).toBe('active');
    expect(await ask()).toBe('200');
    await node.run(`rm ${UNITS}/*/in-short.conf && systemctl daemon-reload`);
  });

  test('with the lines for containerd-socket it shares what containerd keeps', async () => {
    await node.write(`${UNITS}/shoal-agent.service.d/containerd.conf`, '[Service]\nDynamicUser=no\nUser=root\n');
    await node.run("echo 'containerd-socket: /run/containerd/containerd.sock' >> /etc/shoal/agent.yaml");
    await node.run('systemctl daemon-reload && systemctl restart shoal-agent');
    await expect.poll(() => node.run(`${SHOAL} doctor`), soon).toMatch(/✓ content +[1-9]\d* blobs/);
  });

  test('nothing that this walk should run was left out', () => {
    expect(walk.typed).toEqual(walk.meant);
  });
});

/** What deploy/README.md has built before. */
async function makeOut(desk: FreshMachine): Promise<void> {
  const out = join(desk.root, 'root/OUT');
  // What pnpm needs to know of this machine, such as where its registry is, stands in the environment.
  const env = process.env as Record<string, string>;
  await run('npx', ['-y', 'pnpm@12.21.0', '--filter', '@shoal/cli', 'deploy', '--prod', out], { cwd: root, env });
  await mkdir(join(out, 'bin'));
  await copyFile(process.execPath, join(out, 'bin/node'));
  await desk.copyIn(join(root, 'deploy/systemd'), '/root/OUT/systemd');
}

/** Stands in for the internet, with the only image that is pulled. */
async function startRegistry(desk: FreshMachine, at: string): Promise<void> {
  await startRegistryOn(desk, at);
  await using image = await buildRunnableImage({ seed: 'node', payloadBytes: MiB });
  await publishOn(desk, at, image, [PAUSE]);
}
