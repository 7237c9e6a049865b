import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyCheckout } from '../support/checkout-copy.ts';
import { type CommandResult, run } from '../support/daemon/process.ts';
import { buildRunnableImage } from '../support/daemon/runnable-image.ts';
import { FreshMachine } from '../support/fresh-machine.ts';
import { publishOn, startRegistryOn } from '../support/machine-registry.ts';
import { STAND_INS, SYSTEMCTL } from '../support/systemctl.ts';
import { Walk } from '../support/walk.ts';
import { describeSuite } from './suite.ts';

// A newcomer follows the documents, command by command, on a machine that has Node, npm and container runtimes and on which
// nothing was ever set up. Every command is typed as it stands in the document. What the documents leave to the reader is done
// here: the name TRACKER is one of this machine's, daemons are started, and as there is no internet behind its loopback, one
// registry stands in for all. The agent is told so by SHOAL_REGISTRY.

const CHECKOUT = '/root/shoal';
const REGISTRY = '127.0.0.1:5000';
const MIRROR = '127.0.0.1:7300';
const REGISTRIES = ['docker.io', 'ghcr.io', 'registry.k8s.io', 'registry.example.com'];
/** What the documents pull, and how large its data is. */
const IMAGES = [
  { names: ['library/alpine:latest', 'pause:3.10', 'org/app:v2'], megabytes: 64 },
  ...['api', 'web', 'big'].map((name) => ({ names: [`team/${name}:v1`], megabytes: 2 })),
];
const MiB = 1024 * 1024;
const INSTALL_WITHIN_MS = 540_000;
const AT_THE_CHECKOUT = { cwd: CHECKOUT, timeoutMs: 120_000 };

describeSuite('newcomer', "a newcomer's walk through the documents", () => {
  const resources = new AsyncDisposableStack();
  let machine: FreshMachine;
  let walk: Walk;

  beforeAll(async () => {
    walk = await Walk.of('test/e2e/newcomer.test.ts');
    const env = {
      ...(await npmEnvironment()),
      SHOAL_REGISTRY: REGISTRIES.map((name) => `${name}=http://${REGISTRY}`).join(),
    };
    machine = resources.use(await FreshMachine.start({ hosts: ['TRACKER'], env }));
    await copyCheckout(join(machine.root, CHECKOUT));
  });
  afterAll(() => resources.disposeAsync());

  function attemptTyped(command: string): Promise<CommandResult> {
    return machine.attempt(walk.noted(command), AT_THE_CHECKOUT);
  }

  /** The same; it must end with 0. Gives what it printed. */
  function type(command: string): Promise<string> {
    return machine.run(walk.noted(command), AT_THE_CHECKOUT);
  }

  /** A command that runs until the machine goes; resolves when `probe`, lines of shell, succeeds. */
  async function keep(command: string, probe: string): Promise<void> {
    const daemon = machine.background(command, command, { cwd: CHECKOUT });
    await daemon.ready(async () => (await machine.attempt(`${probe} || { sleep 0.3; false; }`)).code === 0);
  }

  test(
    'README: the demo, from a fresh clone on a machine with Node and npm',
    async () => {
      const online = { cwd: CHECKOUT, online: true, timeoutMs: INSTALL_WITHIN_MS };
      const printed = await machine.run(walk.noted('npx -y pnpm@12.21.0 demo'), online);
      for (const node of [1, 2, 3, 4])
        expect(printed).toMatch(new RegExp(`^node-${node} +[0-9.]+ s( +[0-9.]+ MB){3}$`, 'm'));
      expect(printed).toContain('every byte on every node was checked against its SHA-256: 4 of 4 pulls are identical');
      expect(printed).toMatch(/without Shoal the origin would have sent 4 × .* it sent .* MB \(1\.[0-9]{2} ×\)/);
      expect((await machine.run('ls -A /tmp')).trim().split('\n')).not.toContain(expect.stringContaining('shoal'));
    },
    INSTALL_WITHIN_MS,
  );

  test('README: the alias, a tracker and an agent of its cluster', async () => {
    const alias = /`(alias shoal='[^`]*')`/.exec(
      await readFile(join(machine.root, CHECKOUT, 'README.md'), 'utf8'),
    )?.[1];
    await machine.write('/root/.bashrc', `${alias}\nPATH=${STAND_INS}:$PATH\n`);
    await startRegistry(machine);

    await keep(walk.noted('shoal tracker --data /var/lib/shoal-tracker'), 'test -s /var/lib/shoal-tracker/join-token');
    expect((await stat(join(machine.root, 'var/lib/shoal-tracker/join-token'))).mode & 0o777).toBe(0o600);
    await machine.run('mkdir -p /etc/shoal && cp -p /var/lib/shoal-tracker/join-token /etc/shoal/');
    await keep(
      walk.noted(
        'shoal agent --data /var/lib/shoal --tracker https://TRACKER:7302 --join-token @/etc/shoal/join-token',
      ),
      'curl -sf 127.0.0.1:7303/readyz',
    );
    expect(await type('shoal status')).toContain('tracker  https://tracker:7302 answers');
  });

  test('README: containerd, set up and by hand', async () => {
    await machine.write(`${STAND_INS}/systemctl`, SYSTEMCTL, 0o755);
    await machine.copyIn('/etc/containerd/config.toml', '/etc/containerd/config.toml').catch(() => undefined);
    const before = await machine.run('cd /etc && find containerd -type f -exec sha256sum {} +');
    await restartContainerd(machine);
    expect(await type('shoal setup containerd --dry-run')).toContain('+++ /etc/containerd/');
    expect(await machine.run('cd /etc && find containerd -type f -exec sha256sum {} +')).toBe(before);
    expect(await type('shoal setup containerd')).toContain('Now: systemctl restart containerd');
    await restartContainerd(machine);
    expect(await type('shoal setup containerd')).toContain('went through the agent');
    expect(await type('shoal doctor')).toMatch(/✓ containerd .*pulls through 127\.0\.0\.1:7300/);
    expect(await type('shoal setup containerd --undo')).toContain('restored  /etc/containerd/config.toml');
    expect(await machine.run('cd /etc && find containerd -type f -exec sha256sum {} +')).toBe(before);

    await type('mkdir -p /etc/containerd/certs.d/docker.io');
    await type(walk.notedWith('> /etc/containerd/certs.d/docker.io/hosts.toml'));
    await throughTheAgent(machine, () =>
      type('ctr images pull --hosts-dir /etc/containerd/certs.d docker.io/library/alpine:latest'),
    );
  });

  test('README: Docker', async () => {
    await machine.run('mkdir -p /etc/docker');
    await type(`echo '{ "registry-mirrors": ["http://127.0.0.1:7300"] }' > /etc/docker/daemon.json`);
    await type('systemctl restart docker');
    await machine.waitFor('docker version');
    await throughTheAgent(machine, () => type('docker pull alpine'));
  });

  test('README: Podman, and what came from where', async () => {
    await machine.run('mkdir -p /etc/containers/registries.conf.d');
    await type(walk.notedWith('registries.conf.d/shoal.conf'));
    await throughTheAgent(machine, () => type('podman pull docker.io/library/alpine'));
    expect(await type('curl -s 127.0.0.1:7303/metrics | grep ^shoal_bytes')).toContain('source="store"');
  });

  test('README and docs/prefetch.md: an image before its rollout', async () => {
    expect(await type('shoal prefetch ghcr.io/org/app:v2 --nodes all --rate 50MiB')).toMatch(
      /fresh.*(done|has it|100 %)/s,
    );
  });

  test('docs/cache.md', async () => {
    for (const name of ['api', 'web', 'big']) {
      const places = `docker://${MIRROR}/registry.example.com/team/${name}:v1 dir:/tmp/${name}`;
      await machine.run(`skopeo --insecure-policy copy --quiet --src-tls-verify=false ${places}`);
    }
    expect(await type('shoal cache ls')).toMatch(/^digest +size +kind +last used +registry$/m);
    expect(await type('shoal cache pin registry.example.com/team/api:v1')).toContain(
      'Pinned: registry.example.com/team/api:v1',
    );
    expect(await type('shoal cache ls --pins')).toMatch(/^registry\.example\.com\/team\/api:v1 /m);
    const refused = await attemptTyped('shoal cache rm registry.example.com/team/api:v1');
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('is pinned; unpin it, or add --force') });
    expect(await type('shoal cache rm registry.example.com/team/web:v1')).toMatch(/^Removed \d+ blobs?/);
    // The document's agent has a smaller cache, in which there is no room for this pin.
    expect(await type('shoal cache pin registry.example.com/team/big:v1')).toContain('Pinned: ');
    expect(await type('shoal cache prune --keep 50MB --dry-run')).toContain('Would remove');
    expect(await type('shoal cache verify')).toMatch(/\d+ blobs read back, .*: (none|0|all)/);
  });

  test('docs/operating.md: a registry that nobody reaches', async () => {
    const answer = await type('curl -s "http://127.0.0.1:7300/v2/org/app/manifests/v1?ns=gone.test"');
    expect(JSON.parse(answer)).toEqual({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'origin: unreachable' }] });
  });

  test('CONTRIBUTING.md: a seed of the campaign, formatting; deploy/README.md: a folder for systemd', async () => {
    await type('npx -y pnpm@12.21.0 --silent bench sim --campaign 4121');
    // Here it may change what it likes: the walk has a checkout of its own.
    const format = await attemptTyped('npx -y pnpm@12.21.0 format');
    expect([format.code, format.stdout + format.stderr]).toEqual([0, expect.stringContaining('No fixes applied')]);
    await machine.run('mkdir OUT', { cwd: CHECKOUT });
    await type('mkdir -p OUT/bin && cp -L node_modules/.bin/node OUT/bin/node && cp -r deploy/systemd OUT/');
    expect(await machine.run('OUT/bin/node --version', { cwd: CHECKOUT })).toMatch(/^v26\./);
  });

  test('nothing that the walk should run was left out', () => {
    expect(walk.typed).toEqual(walk.meant);
  });
});

/** How this machine's npm reaches its registry, which the fresh one has to, too. */
async function npmEnvironment(): Promise<Record<string, string>> {
  const setting = async (name: string): Promise<string> => (await run('npm', ['config', 'get', name])).trim();
  const [registry, cafile] = await Promise.all([setting('registry'), setting('cafile')]);
  const { NODE_EXTRA_CA_CERTS: certificates } = process.env;
  return {
    npm_config_registry: registry,
    ...(['', 'null', 'undefined'].includes(cafile) ? {} : { npm_config_cafile: cafile }),
    ...(certificates === undefined ? {} : { NODE_EXTRA_CA_CERTS: certificates }),
  };
}

/** A registry that holds every image which the documents pull. */
async function startRegistry(machine: FreshMachine): Promise<void> {
  await startRegistryOn(machine, REGISTRY);
  for (const [number, { names, megabytes }] of IMAGES.entries()) {
    await using image = await buildRunnableImage({ seed: `newcomer-${number}`, payloadBytes: megabytes * MiB });
    await publishOn(machine, REGISTRY, image, names);
  }
}

async function restartContainerd(machine: FreshMachine): Promise<void> {
  await machine.run('systemctl restart containerd');
  await machine.waitFor('ctr version');
}

/** The mirror has answered more requests afterwards than before. */
async function throughTheAgent(machine: FreshMachine, pull: () => Promise<unknown>): Promise<void> {
  const requests = async (): Promise<number> => {
    const metrics = await machine.run('curl -s 127.0.0.1:7303/metrics');
    const counts = metrics.matchAll(/^shoal_mirror_requests_total\{.*result="ok".*\} (\d+)$/gm);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  };
  const before = await requests();
  await pull();
  expect(await requests()).toBeGreaterThan(before);
}
