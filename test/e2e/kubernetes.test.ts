import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { Dockerd } from '../support/daemon/dockerd.ts';
import { buildRunnableImage } from '../support/daemon/runnable-image.ts';
import type { FreshMachine } from '../support/fresh-machine.ts';
import { KUBERNETES_COMPILES_WITHIN_MS, OneNodeCluster } from '../support/kubernetes/one-node-cluster.ts';
import { publishOn, startRegistryOn } from '../support/machine-registry.ts';
import { buildShoalImage } from '../support/shoal-image.ts';
import { Walk } from '../support/walk.ts';
import { describeSuite } from './suite.ts';

// What the documents tell who has a Kubernetes, command by command, on a real one of one node. The image gets there as kind brings it
// (`ctr images import`); a registry and a Redis that stand in for the reader's run on the node.

const ROOT = join(import.meta.dirname, '../..');
const CHART = join(ROOT, 'deploy/helm/shoal');
const CHECKOUT = '/root/shoal';
const IMAGE = 'registry.example/shoal:0.1.0';
const REPOSITORY = 'team/api:v1';
const PULLED = `registry.example.com/${REPOSITORY}`;
const REGISTRY = '192.0.2.1:5000';
const PASSWORD_OF_THE_DOCUMENT = 'PASSWORD';
const MiB = 1024 * 1024;
const AT_THE_CHECKOUT = { cwd: CHECKOUT, timeoutMs: 360_000 };
const PODS_WITHIN = '--timeout=90s';
/** Longer than what is told to the command, so that it can say what it waited for. */
const PODS_WITHIN_MS = { timeoutMs: 100_000 };
const SET_UP_WITHIN_MS = 300_000;
/** All waits of the longest test together. */
vi.setConfig({ testTimeout: 600_000 });
const soon = { timeout: 60_000, interval: 300 };

describeSuite('kubernetes', 'the documents on a real Kubernetes', () => {
  const resources = new AsyncDisposableStack();
  let cluster: OneNodeCluster;
  let machine: FreshMachine;
  let walk: Walk;
  let filesBefore: string;
  /** Of a pod that unpacked the right bytes. */
  let expectedOutput: string;

  beforeAll(async () => {
    const folder = resources.use(await DaemonFolder.create('kubernetes'));
    const archive = folder.join('shoal.tar');
    cluster = resources.use(await OneNodeCluster.start());
    await saveShoalImage(folder, archive);
    ({ machine } = cluster);
    await machine.copyIn(archive, '/root/shoal.tar');
    await machine.run('ctr --namespace k8s.io images import /root/shoal.tar');
    await machine.copyIn(CHART, `${CHECKOUT}/deploy/helm/shoal`);
    await machine.run('kubectl label node fresh topology.kubernetes.io/zone=eu-1a');
    filesBefore = await runtimeFiles();
    walk = await Walk.of('test/e2e/kubernetes.test.ts');
  }, KUBERNETES_COMPILES_WITHIN_MS + SET_UP_WITHIN_MS);
  afterAll(() => resources.disposeAsync());

  /** Types a command of the documents; it must end with 0. Gives what it printed. */
  const type = (command: string) => machine.run(walk.noted(command), AT_THE_CHECKOUT);
  /** Every file of containerd's folder on the node with its sum. */
  const runtimeFiles = () => machine.run('cd /etc && find containerd -type f -exec sha256sum {} + | sort');
  const metrics = () => machine.run('curl -sf 127.0.0.1:7303/metrics');
  const status = () =>
    machine.run('kubectl -n shoal-system exec ds/shoal-agent -c agent -- node /opt/shoal/dist/main.js status');

  /** Until the pods of what was installed are ready. */
  async function rolledOut(...workloads: string[]): Promise<void> {
    for (const workload of workloads) {
      await machine.run(`kubectl -n shoal-system rollout status ${workload} ${PODS_WITHIN}`, PODS_WITHIN_MS);
    }
  }

  /** A pod of an image that the node does not have; gives what it printed. */
  async function pulledAndRun(): Promise<string> {
    await machine.run(`kubectl delete pod pull --ignore-not-found; ctr --namespace k8s.io images rm --sync ${PULLED}`);
    await machine.run(`kubectl run pull --image=${PULLED} --restart=Never`);
    await machine.run(`kubectl wait --for=jsonpath={.status.phase}=Succeeded pod/pull ${PODS_WITHIN}`, PODS_WITHIN_MS);
    return await machine.run('kubectl logs pull');
  }

  async function trackerAnswers(): Promise<void> {
    await expect.poll(metrics, soon).toMatch(/^shoal_tracker_reachable 1$/m);
  }

  test('installed by its chart, an agent and a tracker run as nobody, find each other, and the node’s containerd is set up', async () => {
    await type('kubectl create namespace shoal-system');
    await type('kubectl label namespace shoal-system pod-security.kubernetes.io/enforce=privileged');
    const notes = await type(
      'helm install shoal deploy/helm/shoal --namespace shoal-system --set image.repository=registry.example/shoal',
    );
    await type('kubectl -n shoal-system rollout status ds/shoal-agent');
    await rolledOut('deploy/shoal-tracker');
    expect(await type('kubectl -n shoal-system logs ds/shoal-agent -c set-up-runtime')).toContain(
      'Now: systemctl restart containerd',
    );
    await cluster.restartContainerd();
    await trackerAnswers();
    await expect
      .poll(status, soon)
      .toMatch(/^agent .* zone eu-1a$[\s\S]*^tracker +https:\/\/shoal-tracker\.shoal-system\.svc:7302 answers$/m);
    const users = await machine.run("ps -eo uid=,args= | grep '[d]ist/main.js'");
    expect(
      users
        .trim()
        .split('\n')
        .map((line) => line.trim().split(' ')[0]),
    ).toEqual(['65532', '65532']);

    // What Helm prints can be typed as it stands.
    const commands = [...notes.matchAll(/^ {2}(kubectl .*)$/gm)].map(([, command]) => command);
    expect(commands).toHaveLength(3);
    for (const command of commands) await machine.run(command ?? '');
  });

  test('an upgrade keeps the identity; then a pod’s image comes through the agent, which shares what containerd keeps', async () => {
    const secret = 'kubectl -n shoal-system get secret shoal-identity -o jsonpath={.metadata.uid}{.data}';
    const before = await machine.run(secret);
    await using image = await buildRunnableImage({ seed: 'kubernetes', payloadBytes: 2 * MiB });
    expectedOutput = `${image.expectedLine}\n`;
    await startRegistryOn(machine, REGISTRY);
    await publishOn(machine, REGISTRY, image, [REPOSITORY]);
    const values = {
      agent: {
        containerd: { enabled: true },
        settings: { registry: { 'registry.example.com': `http://${REGISTRY}` } },
      },
    };
    await machine.write('/root/values.yaml', JSON.stringify(values));
    await machine.run(
      `helm upgrade shoal ${CHECKOUT}/deploy/helm/shoal -n shoal-system --reuse-values -f /root/values.yaml`,
      AT_THE_CHECKOUT,
    );
    await rolledOut('ds/shoal-agent', 'deploy/shoal-tracker');
    expect(await machine.run(secret)).toBe(before);

    expect(await pulledAndRun()).toBe(expectedOutput);
    // Nobody but the agent knows where that registry is.
    expect(await metrics()).toMatch(/^shoal_mirror_requests_total\{.*result="ok".*\} [1-9]/m);
    // Its own image came without it.
    await expect.poll(status, soon).toMatch(/^runtime .* [1-9]\d* blobs/m);
  });

  test('an agent that is killed, and a pod that is deleted, are back, and pulls go on', async () => {
    await machine.run("kill -9 $(pgrep -f '[d]ist/main.js agent')");
    // The registry is one that nobody but an agent can ask.
    await trackerAnswers();
    expect(await pulledAndRun()).toBe(expectedOutput);
    await machine.run('kubectl -n shoal-system delete pod -l app.kubernetes.io/component=tracker');
    await rolledOut('ds/shoal-agent', 'deploy/shoal-tracker');
    await trackerAnswers();
  });

  test('docs/dashboard.md: through a forwarded port, with the token of the pod', async () => {
    await machine.run(
      `helm upgrade shoal ${CHECKOUT}/deploy/helm/shoal -n shoal-system --reuse-values --set tracker.dashboard.enabled=true`,
    );
    await rolledOut('deploy/shoal-tracker');
    const page = 'http://127.0.0.1:7304';
    const forward = machine.background(
      'port-forward',
      walk.noted('kubectl -n shoal-system port-forward deploy/shoal-tracker 7304'),
    );
    await forward.ready(async () => (await machine.attempt(`curl -sf ${page}/ || { sleep 0.3; false; }`)).code === 0);
    const token = await type(walk.notedWith('dashboard-token'));
    const ask = (bearer: string) =>
      machine.run(
        `curl -s -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer ${bearer.trim()}' ${page}/v1/state`,
      );
    expect([await ask('wrong'), await ask(token)]).toEqual(['401', '200']);
  });

  test('docs/several-trackers.md: two on one Redis; agents go on with the other, and pull, when either is gone', async () => {
    machine.background(
      'redis-server',
      `redis-server --bind 192.0.2.1 --requirepass ${PASSWORD_OF_THE_DOCUMENT} --save ''`,
    );
    await type(walk.notedWith('create secret generic shoal-store'));
    await type(walk.notedWith('--set tracker.replicas=2'));
    await rolledOut('statefulset/shoal-tracker', 'ds/shoal-agent');
    await trackerAnswers();
    for (const number of [0, 1]) {
      await machine.run(`kubectl -n shoal-system delete pod shoal-tracker-${number}`);
      expect(await pulledAndRun()).toBe(expectedOutput);
      await rolledOut('statefulset/shoal-tracker');
      await trackerAnswers();
      await expect
        .poll(status, soon)
        .toMatch(/^tracker +https:\/\/shoal-tracker-0\.shoal-tracker-pods\.shoal-system\.svc:7302, .*-1\..* answers$/m);
    }
  });

  test('an upgrade may give the mirror another port, and back; `shoal status` in the pod finds the agent', async () => {
    for (const [mirror, admin] of [
      [7400, 7403],
      [7300, 7303],
    ]) {
      await machine.run(
        `helm upgrade shoal ${CHECKOUT}/deploy/helm/shoal -n shoal-system --reuse-values --set agent.ports.mirror=${mirror},agent.ports.admin=${admin}`,
      );
      await rolledOut('ds/shoal-agent');
      expect(await status()).toContain(`http://127.0.0.1:${mirror}\n`);
      const hosts = await machine.run('cat /etc/containerd/certs.d/_default/hosts.toml');
      expect(hosts.match(/127\.0\.0\.1:\d+/g)).toEqual([`127.0.0.1:${mirror}`]);
    }
  });

  test('uninstalled, it leaves the node’s files as they were, and the identity', async () => {
    const uninstall =
      /`(helm uninstall shoal [^`]*--timeout[^`]*)`/.exec(
        await readFile(join(ROOT, 'docs/install-kubernetes.md'), 'utf8'),
      )?.[1] ?? '';
    expect(await runtimeFiles()).not.toBe(filesBefore);
    await machine.run(uninstall, AT_THE_CHECKOUT);
    expect(await runtimeFiles()).toBe(filesBefore);
    await machine.run('kubectl -n shoal-system get secret shoal-identity');
  });

  test('what is left of an uninstallation that did not end is told, as it would undo the set-up beneath the agents', async () => {
    const left = {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'shoal-undo', namespace: 'shoal-system' },
      spec: {
        selector: { matchLabels: { a: 'b' } },
        template: {
          metadata: { labels: { a: 'b' } },
          spec: { nodeSelector: { no: 'node' }, containers: [{ name: 'c', image: IMAGE }] },
        },
      },
    };
    await machine.write('/root/left.json', JSON.stringify(left));
    await machine.run('kubectl create -f /root/left.json');
    const refused = await machine.attempt(
      `helm install shoal ${CHECKOUT}/deploy/helm/shoal -n shoal-system --set image.repository=registry.example/shoal`,
    );
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('shoal-system delete ds/shoal-undo')]);
    await machine.run('kubectl delete -f /root/left.json');
  });

  test('for k3s its file is written, and removed', async () => {
    await type(
      'helm install shoal deploy/helm/shoal -n shoal-system --set image.repository=registry.example/shoal --set runtime.name=k3s',
    );
    await rolledOut('ds/shoal-agent');
    expect(await machine.run('cat /etc/rancher/k3s/registries.yaml')).toContain('http://127.0.0.1:7300');
    await machine.run('helm uninstall shoal -n shoal-system --timeout 5m', AT_THE_CHECKOUT);
    expect(await machine.run('find /etc/rancher -type f')).toBe('');
  });

  test('nothing that the walk should run was left out', () => {
    expect(walk.typed).toEqual(walk.meant);
  });
});

/** An archive of Shoal's image, as `docker save` writes it. */
async function saveShoalImage(folder: DaemonFolder, archive: string): Promise<void> {
  await using dockerd = await Dockerd.start();
  await buildShoalImage(dockerd, folder.join('context'), IMAGE);
  await dockerd.docker(['save', '--output', archive, IMAGE]);
}
