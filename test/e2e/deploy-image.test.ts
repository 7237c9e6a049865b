import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { compiledModule } from '../support/compiled.ts';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { Dockerd } from '../support/daemon/dockerd.ts';
import { freePorts } from '../support/daemon/free-ports.ts';
import { run } from '../support/daemon/process.ts';
import { requireProgram } from '../support/daemon/programs.ts';
import { seccompProfileOf } from '../support/daemon/systemd.ts';
import { FreshMachine } from '../support/fresh-machine.ts';
import { startRegistryOn } from '../support/machine-registry.ts';
import { buildShoalImage, NODE_BASE } from '../support/shoal-image.ts';
import { Walk } from '../support/walk.ts';
import { describeSuite } from './suite.ts';

const root = join(import.meta.dirname, '../..');
const image = 'shoal:test';
const KIND_NODE = 'kind-control-plane';
const KIND_COMPILES_WITHIN_MS = 240_000;
const ownUser = '65532:65532';
/** As little as a container can have. */
const confined = ['--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges', '--pull=never'];

/** The machine that runs the tests may lack a right which every privileged container is given. */
const RUNC = `#!/bin/bash
for word in "$@"; do
  for file in "$word" "$word/config.json"; do
    [ ! -f "$file" ] || sed -i 's/"CAP_SYS_RESOURCE",//g' "$file"
  done
done
exec /usr/sbin/runc "$@"
`;

describeSuite('image', 'the image', () => {
  const resources = new AsyncDisposableStack();
  let dockerd: Dockerd;
  /** Where the lines of deploy/README.md are typed. */
  let desk: FreshMachine;
  let context: string;

  beforeAll(async () => {
    const kind = await compiledModule('sigs.k8s.io/kind', 'v0.33.0', KIND_COMPILES_WITHIN_MS);
    const env = { PATH: '/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin' };
    desk = resources.use(await FreshMachine.start({ name: 'desk', hosts: ['registry.example'], env }));
    await desk.write('/opt/bin/runc', RUNC, 0o755);
    await desk.copyIn(kind, '/opt/bin/kind');
    context = join(desk.root, 'root/OUT');
    dockerd = resources.use(await Dockerd.start());
    await buildShoalImage(dockerd, context, image);
  }, 2 * KIND_COMPILES_WITHIN_MS);
  afterAll(() => resources.disposeAsync());

  const inspect = async (what: string, name: string) => JSON.parse(await dockerd.docker([what, 'inspect', name]))[0];

  /** What its own health check says of a container in the end, and why where it is not well. */
  async function healthOf(name: string): Promise<string> {
    const state = async () => (await inspect('container', name)).State;
    const isJudged = async () => (await state()).Health.Status !== 'starting';
    await expect.poll(isJudged, { timeout: 40_000, interval: 200 }).toBe(true);
    const { Health } = await state();
    return Health.Status === 'healthy' ? 'healthy' : `${Health.Status}: ${Health.Log.at(-1)?.Output}`;
  }

  test('says its version, is labelled, is not root, and is built by BuildKit and by what was there before it', async () => {
    expect((await dockerd.docker(['run', '--rm', '--network=none', ...confined, image, '--version'])).trim()).toBe(
      '0.1.0',
    );
    const { Config } = await inspect('image', image);
    expect(Config.User).toBe(ownUser);
    expect(Config.Labels['org.opencontainers.image.version']).toBe('1.2.3');
    expect(Config.Labels['org.opencontainers.image.revision']).toBe('abc');

    await dockerd.build(context, 'shoal:legacy', 'legacy', { BASE: NODE_BASE });
    const version = await dockerd.docker(['run', '--rm', '--network=none', ...confined, 'shoal:legacy', '--version']);
    expect(version.trim()).toBe('0.1.0');
    const legacy = (await inspect('image', 'shoal:legacy')).Config;
    for (const key of ['User', 'Entrypoint', 'Cmd', 'Healthcheck', 'ExposedPorts']) {
      expect(legacy[key], key).toEqual(Config[key]);
    }
  });

  test('deploy/README.md: built and pushed by the lines as they stand', async () => {
    const walk = await Walk.of('test/e2e/deploy-image.test.ts');
    // registry.example: of a registry on loopback Docker takes plain HTTP.
    await startRegistryOn(desk, '127.0.0.1:80');
    await startDocker(desk);
    // The base that the Dockerfile names is on Docker Hub, which is not reached from there; nothing is run of it here.
    const [, base = ''] = /^ARG BASE=(\S+)$/m.exec(await readFile(join(root, 'deploy/image/Dockerfile'), 'utf8')) ?? [];
    await desk.run(`tar -c /etc/os-release | docker import - ${base}`);

    await desk.run(walk.noted('docker build -t registry.example/shoal:0.1.0 OUT'));
    expect(await desk.run(walk.noted('docker push registry.example/shoal:0.1.0'))).toMatch(
      /^0\.1\.0: digest: sha256:/m,
    );
    const id = await desk.run("docker image inspect --format '{{.Id}}' registry.example/shoal:0.1.0");
    const accept = 'accept: application/vnd.docker.distribution.manifest.v2+json';
    const manifest = await desk.run(`curl -sf -H '${accept}' http://registry.example/v2/shoal/manifests/0.1.0`);
    expect(JSON.parse(manifest)).toMatchObject({ config: { digest: id.trim() } });

    // docs/install-kubernetes.md: to kind a node is a container with its labels in which there is a containerd.
    await startKindNode(desk);
    await desk.run(walk.noted('kind load docker-image registry.example/shoal:0.1.0'));
    const loaded = await desk.run(`docker exec ${KIND_NODE} ctr --namespace k8s.io images ls --quiet`);
    expect(loaded).toContain('registry.example/shoal:0.1.0');
    // Its cgroups would outlive the desk.
    await desk.run(`docker rm --force ${KIND_NODE}`);
    expect(walk.typed).toEqual(walk.meant);
  });

  test('adds less than 45 MB to its base, and nothing of other platforms', async () => {
    const bytes = (await inspect('image', image)).Size - (await inspect('image', NODE_BASE)).Size;
    expect(bytes).toBeLessThan(45e6);
    const list = "require('fs').readdirSync('/opt/shoal', {recursive: true}).join('\\n')";
    const files = await dockerd.docker(['run', '--rm', '--entrypoint=node', image, '--print', list]);
    expect(files).toContain('linux-arm64');
    expect(files).not.toMatch(/win32-|darwin-|\.map$/m);
  });

  test('its base is the Node that everything else runs on', async () => {
    const { nodeVersion } = parse(await readFile(join(root, 'pnpm-workspace.yaml'), 'utf8'));
    expect(await readFile(join(root, 'deploy/image/Dockerfile'), 'utf8')).toContain(`/node:${nodeVersion}-`);
  });

  test('as root with no capability it sets up containerd of the machine that it is mounted, and restores it', async () => {
    await using machine = await DaemonFolder.create('machine');
    const before = 'version = 2\n';
    const config = await machine.write('containerd/config.toml', before);
    await mkdir(machine.join('journal'), { mode: 0o755 });
    const volumes = [
      `--volume=${machine.join('containerd')}:/etc/containerd`,
      `--volume=${machine.join('journal')}:/var/lib/shoal-setup`,
    ];
    const setUp = ['--network=none', '--user=0:0', ...volumes, image, 'setup', 'containerd', '--no-probe'];
    expect(await dockerd.docker(['run', '--rm', ...confined, ...setUp])).toContain('systemctl restart containerd');
    expect(await readFile(config, 'utf8')).toContain('config_path = "/etc/containerd/certs.d"');
    expect(await readFile(machine.join('containerd/certs.d/_default/hosts.toml'), 'utf8')).toContain('127.0.0.1:7300');
    // A second start of the same pod.
    expect(await dockerd.docker(['run', '--rm', ...confined, ...setUp])).toContain('no file was changed');

    expect(await dockerd.docker(['run', '--rm', ...confined, ...setUp, '--undo'])).toContain(
      'restored  /etc/containerd/config.toml',
    );
    expect(await readFile(config, 'utf8')).toBe(before);
    expect(await readdir(machine.join('containerd'))).toEqual(['config.toml']);
  });

  test('Compose starts a tracker and an agent; they become healthy, know each other, and stop when they are told to', async () => {
    await using project = await DaemonFolder.create('compose');
    const [trackerPort, mirror, admin] = await freePorts(3);
    // The system calls that the systemd units leave them are left to them here: no systemd runs in most places that run tests.
    const confine = async (program: string) => {
      const unit = await readFile(join(root, `deploy/systemd/shoal-${program}.service`), 'utf8');
      const profile = await project.write(`${program}.json`, JSON.stringify(await seccompProfileOf(unit)));
      const healthcheck = { interval: '500ms', start_period: '30s', timeout: '20s' };
      return { security_opt: ['no-new-privileges:true', `seccomp:${profile}`], healthcheck };
    };
    // What else runs on this machine may have the usual ports.
    const environment = {
      SHOAL_MIRROR: `127.0.0.1:${mirror}`,
      SHOAL_ADMIN: `127.0.0.1:${admin}`,
      SHOAL_PEER_LISTEN: '/ip4/127.0.0.1/tcp/0',
    };
    const services = { tracker: await confine('tracker'), agent: { ...(await confine('agent')), environment } };
    // JSON is YAML too.
    const override = await project.write('override.yaml', JSON.stringify({ services }));
    const settings = {
      SHOAL_IMAGE: image,
      SHOAL_LISTEN: `127.0.0.1:${trackerPort}`,
      SHOAL_TRACKER: `https://127.0.0.1:${trackerPort}`,
    };
    const files = ['--file', join(root, 'deploy/compose/compose.yaml'), '--file', override];
    const compose = (env: Record<string, string>, ...args: string[]) =>
      run(requireProgram('docker-compose'), ['--project-name=shoal', ...files, ...args], {
        env: { ...dockerd.clientEnvironment, ...settings, ...env },
      });
    const containerOf = async (service: string) => (await compose({}, 'ps', '--quiet', service)).trim();

    try {
      await compose({}, 'up', '--detach', 'tracker');
      const tracker = await containerOf('tracker');
      expect(await healthOf(tracker)).toBe('healthy');
      const { HostConfig } = await inspect('container', tracker);
      expect(HostConfig.SecurityOpt.join()).toContain('SCMP_ACT_ERRNO');
      const script = "process.stdout.write(require('fs').readFileSync('/var/lib/shoal-tracker/join-token'))";
      const token = await compose({}, 'exec', '-T', 'tracker', 'node', '--eval', script);
      await compose({ SHOAL_JOIN_TOKEN: token.trim() }, 'up', '--detach', 'agent');
      const agent = await containerOf('agent');
      expect(await healthOf(agent)).toBe('healthy');
      expect((await fetch(`http://127.0.0.1:${mirror}/v2/`)).status).toBe(200);
      await expect
        .poll(async () => (await fetch(`http://127.0.0.1:${admin}/metrics`)).text(), { timeout: 10_000 })
        .toMatch(/^shoal_tracker_reachable 1$/m);

      const begun = performance.now();
      await dockerd.docker(['stop', '--time=15', agent, tracker]);
      // Who gets no SIGTERM is killed after that time, with code 137.
      for (const name of [agent, tracker]) expect((await inspect('container', name)).State.ExitCode).toBe(0);
      expect(performance.now() - begun).toBeLessThan(15_000);
    } finally {
      await compose({}, 'down', '--volumes', '--timeout', '1');
    }
  });

  test('an agent that is not ready is not healthy', async () => {
    const health = ['--health-interval=300ms', '--health-retries=1', '--health-start-period=1ms'];
    const idle = ['--entrypoint=node', image, '-e', 'setTimeout(() => 0, 60000)', 'agent', '--admin=127.0.0.1:1'];
    const options = ['--rm', '--detach', '--name=unwell', '--network=host', ...health, ...confined];
    await dockerd.docker(['run', ...options, ...idle]);
    expect(await healthOf('unwell')).toMatch(/^unhealthy: http:..127.0.0.1:1.readyz: connect ECONNREFUSED/);
    await dockerd.docker(['kill', 'unwell']);
  });
});

async function startDocker(machine: FreshMachine): Promise<void> {
  const docker = machine.background('dockerd', 'dockerd --bridge=none --iptables=false --ip6tables=false');
  await docker.ready(async () => (await machine.attempt('docker version')).code === 0);
}

async function startKindNode(machine: FreshMachine): Promise<void> {
  const folders =
    'mkdir -p etc/containerd dev proc run sys tmp usr var; echo version = 2 > etc/containerd/config.toml; ln -s usr/bin usr/sbin usr/lib usr/lib64 .';
  await machine.run(`mkdir /root/node && cd /root/node && ${folders}; tar -c . | docker import - node`);
  const labels = '--label io.x-k8s.kind.cluster=kind --label io.x-k8s.kind.role=control-plane';
  const volumes = '--volume /usr:/usr:ro --volume /var/lib/kind:/var/lib';
  await machine.run(
    `docker run --detach --privileged --network=none --name ${KIND_NODE} ${labels} ${volumes} node containerd`,
  );
  await machine.waitFor(`docker exec ${KIND_NODE} ctr version`);
}
