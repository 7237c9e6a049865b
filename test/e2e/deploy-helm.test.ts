import { cp, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { run } from '../support/daemon/process.ts';
import { Helm, type KubernetesObject } from '../support/kubernetes/helm.ts';
import { describeSuite } from './suite.ts';

const chart = join(import.meta.dirname, '../../deploy/helm/shoal');
const image = { image: { repository: 'registry.example/shoal' } };

/** What an installation may be, beside the default. */
const choices: Record<string, object> = {
  default: {},
  'a volume for the tracker': { tracker: { data: { kind: 'pvc', storageClassName: 'fast' } } },
  'a folder of the node for the tracker': {
    tracker: { data: { kind: 'hostPath' }, networkPolicy: { nodeCidrs: ['10.0.0.0/8'] } },
  },
  'three trackers on one store': { tracker: { replicas: 3, store: { existingSecret: 'store' } } },
  'IPv6, settings, a pull secret': {
    agent: {
      announce: 'ip6',
      dockerConfigSecret: 'pull',
      settings: { 'tag-fresh': '5m', 'allow-registry': ['docker.io'] },
    },
    tracker: { listen: '[::]' },
    imagePullSecrets: [{ name: 'pull' }],
  },
  'k3s, all in one zone, metrics': { runtime: { name: 'k3s' }, agent: { zone: { name: 'rack-7' }, metrics: true } },
  'containerd’s own content': {
    agent: { containerd: { enabled: true, socket: '/run/k3s/containerd/containerd.sock' } },
  },
  'a dashboard': { tracker: { dashboard: { enabled: true } } },
  'a dashboard with a port of the Service': { tracker: { dashboard: { enabled: true, service: true, port: 8443 } } },
  'nothing set up': { runtime: { setUp: false } },
  'the tracker of another cluster': {
    tracker: { enabled: false, url: 'https://10.0.0.5:7302' },
    identity: { existingSecret: 'token' },
  },
};

describeSuite('helm', 'the Helm chart', () => {
  let helm: Helm;

  beforeAll(async () => {
    helm = await Helm.find();
  }, 600_000);

  async function rendered(values: object = {}): Promise<string> {
    const { code, stdout, stderr } = await helm.template(chart, { ...image, ...values });
    expect([code, stderr]).toEqual([0, '']);
    return stdout;
  }
  const objects = async (values: object = {}) => helm.read(await rendered(values));
  const find = (all: KubernetesObject[], kind: string, name: string): KubernetesObject =>
    all.find((object) => object.kind === kind && object.metadata.name === name) ?? expect.fail(`no ${kind} ${name}`);
  const podsOf = (all: KubernetesObject[]) =>
    all.flatMap(({ spec }) => (spec?.template?.spec ? [spec.template.spec] : []));
  const containersOf = (pod: KubernetesObject): KubernetesObject[] => [
    ...(pod.initContainers ?? []),
    ...pod.containers,
  ];
  const envOf = (container: KubernetesObject): Record<string, string> =>
    Object.fromEntries(container.env.map(({ name, value }: { name: string; value?: string }) => [name, value]));

  describe.each(Object.entries(choices))('%s', (_, values) => {
    test('is what Kubernetes knows, and hangs together', async () => {
      const lint = await helm.lint(chart, { ...image, ...values });
      expect([lint.code, lint.stderr]).toEqual([0, '']);
      const all = await objects(values);
      for (const pod of podsOf(all)) {
        const volumes = (pod.volumes ?? []).map(({ name }: { name: string }) => name);
        const mounted = containersOf(pod).flatMap(({ volumeMounts = [] }) =>
          volumeMounts.map(({ name }: { name: string }) => name),
        );
        expect([...new Set(mounted)].sort()).toEqual(volumes.sort());
        for (const container of containersOf(pod)) {
          expect(container.image).toBe('registry.example/shoal:0.1.0');
          expect(container.resources.requests.cpu).toBeDefined();
          expect(container.resources.limits.memory).toBeDefined();
        }
        if (pod.serviceAccountName !== undefined) find(all, 'ServiceAccount', pod.serviceAccountName);
      }
    });

    test('nobody is privileged, and root is only who has to touch files of the node', async () => {
      for (const pod of podsOf(await objects(values))) {
        for (const { name, securityContext: granted } of containersOf(pod)) {
          expect(granted).toMatchObject({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true });
          expect(granted.privileged).toBeUndefined();
          expect(granted.capabilities.drop).toEqual(['ALL']);
          const added = granted.capabilities.add ?? [];
          const readsContent = values === choices['containerd’s own content'] && ['agent', 'zone'].includes(name);
          const isRoot = readsContent || ['own-data', 'set-up-runtime', 'restore-runtime'].includes(name);
          expect([granted.runAsUser, granted.runAsNonRoot]).toEqual(isRoot ? [0, false] : [65532, true]);
          expect(added).toEqual(name === 'own-data' ? ['CHOWN', 'FOWNER'] : []);
        }
        expect(pod.hostPID ?? pod.hostIPC ?? false).toBe(false);
      }
    });
  });

  test('whoever installs it is told that bars go with the pod, unless a volume or a store keeps them, and where the dashboard is', async () => {
    await using own = await DaemonFolder.create('notes');
    await cp(chart, own.join('chart'), { recursive: true });
    // Helm prints the notes only when it installs; as a template of another name it renders them like any.
    const notes = await readFile(join(chart, 'templates/NOTES.txt'), 'utf8');
    await own.write('chart/templates/_notes.tpl', `{{- define "notes" }}${notes}{{ end }}`);
    const shown =
      'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: notes }\ndata: { notes: {{ include "notes" . | quote }} }\n';
    await own.write('chart/templates/notes.yaml', shown);
    const told = async (values: object): Promise<string> => {
      const { code, stdout, stderr } = await helm.template(own.join('chart'), { ...image, ...values });
      expect([code, stderr]).toEqual([0, '']);
      return find(await helm.read(stdout), 'ConfigMap', 'notes').data.notes;
    };
    expect(await told({})).toMatch(/^WARNING: which members are barred .*pod[\s\S]*--set tracker\.data\.kind=pvc$/m);
    // In its pod the command knows where the agent is.
    expect(await told({ agent: { metrics: true, ports: { admin: 7403 } } })).toMatch(/main\.js status$/m);
    expect(await told({ tracker: { data: { kind: 'pvc' } } })).not.toContain('WARNING');
    const dashboard = { enabled: true };
    const one = await told({ tracker: { dashboard } });
    expect(one).toMatch(/port-forward deploy\/shoal-tracker 7304$/m);
    expect(one).toContain('exec deploy/shoal-tracker -- node -p');
    // A StatefulSet, and each of its pods has a token of its own.
    const several = await told({ tracker: { dashboard, replicas: 2, store: { existingSecret: 'store' } } });
    expect(several).toMatch(/port-forward shoal-tracker-0 7304$/m);
    expect(several).toContain('exec shoal-tracker-0 -- node -p');
    expect(several).not.toMatch(/deploy\/|WARNING/);
  });

  test('rendering makes no secret and no chance: twice the same, so that an upgrade changes no identity', async () => {
    const first = await rendered();
    expect(await rendered()).toBe(first);
    expect(first).not.toMatch(/^kind: Secret$/m);
    const all = await helm.read(first);
    const job = find(all, 'Job', 'shoal-identity');
    expect(job.metadata.annotations['helm.sh/hook']).toBe('pre-install,pre-upgrade');
    expect(job.spec.template.spec.containers[0].args).toEqual(['kubernetes', 'identity', 'shoal-identity']);
    for (const kind of ['ServiceAccount', 'Role', 'RoleBinding']) {
      const { annotations } = find(all, kind, 'shoal-hook').metadata;
      expect(annotations['helm.sh/hook']).toContain('pre-install');
      expect(Number(annotations['helm.sh/hook-weight'])).toBeLessThan(0);
    }
  });

  test('the API token is where the zone is asked for, and in the hooks; an agent has none', async () => {
    const all = await objects();
    const pod = find(all, 'DaemonSet', 'shoal-agent').spec.template.spec;
    expect(pod.automountServiceAccountToken).toBe(false);
    const withToken = containersOf(pod).filter(({ volumeMounts }) =>
      JSON.stringify(volumeMounts).includes('api-token'),
    );
    expect(withToken.map(({ name }) => name)).toEqual(['zone']);
    expect(find(all, 'ClusterRole', 'shoal-shoal-system-zone').rules).toEqual([
      { apiGroups: [''], resources: ['nodes'], verbs: ['get'] },
    ]);
    const named = await objects(choices['k3s, all in one zone, metrics']);
    expect(named.filter(({ kind }) => kind.startsWith('ClusterRole'))).toEqual([]);
  });

  test('the dashboard is reached by nobody but who forwards a port, unless its Service is asked for', async () => {
    const parts = async (values: object | undefined) => {
      const all = await objects(values);
      const [container] = find(all, 'Deployment', 'shoal-tracker').spec.template.spec.containers;
      return {
        argument: container.args.find((argument: string) => argument.startsWith('--dashboard')),
        ports: find(all, 'Service', 'shoal-tracker').spec.ports.map(({ port }: { port: number }) => port),
        rules: find(all, 'NetworkPolicy', 'shoal-tracker').spec.ingress.length,
      };
    };
    expect(await parts({})).toEqual({ argument: undefined, ports: [7302], rules: 1 });
    expect(await parts(choices['a dashboard'])).toEqual({
      argument: '--dashboard=127.0.0.1:7304',
      ports: [7302],
      rules: 1,
    });
    expect(await parts(choices['a dashboard with a port of the Service'])).toEqual({
      argument: '--dashboard=0.0.0.0:8443',
      ports: [7302, 8443],
      rules: 2,
    });
  });

  test('an uninstalled release restores the runtime on every node before it goes', async () => {
    const all = await objects();
    const undo = find(all, 'DaemonSet', 'shoal-undo');
    const agent = find(all, 'DaemonSet', 'shoal-agent');
    const setUp = containersOf(agent.spec.template.spec).find(({ name }) => name === 'set-up-runtime');
    const [restore] = undo.spec.template.spec.initContainers;
    expect(setUp.args.at(-1)).toBe('--replace');
    expect(restore.args).toEqual([...setUp.args.slice(0, -1), '--undo']);
    expect(restore.volumeMounts).toEqual(setUp.volumeMounts);
    expect(undo.spec.template.spec.tolerations).toEqual(agent.spec.template.spec.tolerations);
    const wait = find(all, 'Job', 'shoal-await-undo');
    expect(wait.spec.template.spec.containers[0].args).toContain('shoal-undo');
    const weight = ({ metadata }: KubernetesObject) => Number(metadata.annotations['helm.sh/hook-weight']);
    expect(weight(wait)).toBeGreaterThan(weight(undo));
    for (const object of [undo, wait]) expect(object.metadata.annotations['helm.sh/hook']).toBe('pre-delete');
  });

  test.each([
    [{ image: {} }, /image\.repository is not set/],
    [{ agent: { cachesize: '1GiB' } }, /cachesize/],
    [{ agent: { settings: { mirror: '0.0.0.0:7300' } } }, /agent\.settings|\/agent\/settings/],
    [{ runtime: { name: 'docker' } }, /runtime[./]name/],
    [{ tracker: { data: { kind: 'disk' } } }, /tracker[./]data[./]kind/],
    [{ tracker: { replicas: 2 } }, /tracker\.store\.existingSecret is not set/],
    [
      { tracker: { replicas: 2, store: { existingSecret: 's' }, data: { kind: 'pvc' } } },
      /tracker\.data\.kind at emptyDir/,
    ],
    [{ podMonitor: { enabled: true } }, /podMonitor\.enabled needs agent\.metrics/],
    [{ tracker: { enabled: false, url: 'https://10.0.0.5:7302' } }, /identity\.existingSecret is not set/],
    [{ tracker: { enabled: false }, identity: { existingSecret: 'x' } }, /tracker\.url is not set/],
  ])('is refused: %j', async (values, why) => {
    const { code, stderr } = await helm.template(chart, { ...image, ...values });
    expect([code, stderr]).toEqual([1, expect.stringMatching(why)]);
  });

  test('containerd’s socket and content are mounted where the agent is told that they are, and nowhere without it', async () => {
    expect(await rendered()).not.toContain('CONTAINERD');
    const all = await objects(choices['containerd’s own content']);
    const pod = find(all, 'DaemonSet', 'shoal-agent').spec.template.spec;
    const [agent] = pod.containers;
    expect(envOf(agent)).toMatchObject({
      SHOAL_CONTAINERD_SOCKET: '/run/k3s/containerd/containerd.sock',
      SHOAL_CONTAINERD_ROOT: '/var/lib/containerd',
    });
    const content = '/var/lib/containerd/io.containerd.content.v1.content';
    const mounts = { 'containerd-socket': '/run/k3s/containerd', 'containerd-content': content };
    for (const [name, path] of Object.entries(mounts)) {
      expect(agent.volumeMounts).toContainEqual(expect.objectContaining({ name, mountPath: path, readOnly: true }));
      expect(pod.volumes).toContainEqual({ name, hostPath: { path, type: 'Directory' } });
    }
    // The zone is written into the agent's folder, which is root's then.
    const ownData = pod.initContainers.find(({ name }: KubernetesObject) => name === 'own-data');
    expect(ownData.command.join()).toContain('fs.lchownSync(path, 0, 0)');
  });

  test('a pull secret is mounted where agents are told to look for logins', async () => {
    const pod = find(await objects({ agent: { dockerConfigSecret: 'logins' } }), 'DaemonSet', 'shoal-agent').spec
      .template.spec;
    const [agent] = pod.containers;
    const { mountPath } = agent.volumeMounts.find(({ name }: KubernetesObject) => name === 'docker-config');
    expect(envOf(agent).SHOAL_DOCKER_CONFIG).toBe(`${mountPath}/.dockerconfigjson`);
    const secret = { secretName: 'logins', defaultMode: 0o440 };
    expect(pod.volumes).toContainEqual({ name: 'docker-config', secret });
  });

  test('the folder of an agent changes hands with all that is in it, also what its new owner may not look into', async () => {
    await using folder = await DaemonFolder.create('own-data');
    const data = folder.join('data');
    await mkdir(join(data, 'blobs'), { recursive: true, mode: 0o700 });
    await writeFile(join(data, 'blobs', 'x'), 'x', { mode: 0o600 });
    const script = async (values: object): Promise<string> => {
      const pod = find(await objects(values), 'DaemonSet', 'shoal-agent').spec.template.spec;
      const { command } = pod.initContainers.find(({ name }: KubernetesObject) => name === 'own-data');
      return String(command[2]).replaceAll("'/data'", JSON.stringify(data));
    };
    for (const [values, user] of [
      [{}, 65_532],
      [choices['containerd’s own content'] ?? {}, 0],
      [{}, 65_532],
    ] as const) {
      // As the container has it: root with these two capabilities alone.
      const args = ['--bounding-set=-all,+chown,+fowner', '--', process.execPath, '-e', await script(values)];
      await run('setpriv', args);
      for (const path of [data, join(data, 'blobs'), join(data, 'blobs', 'x')]) {
        expect((await stat(path)).uid, path).toBe(user);
      }
    }
  });

  test('each of several trackers has a name, which agents know and the others are told; the store comes from a Secret', async () => {
    const all = await objects(choices['three trackers on one store']);
    const { spec } = find(all, 'StatefulSet', 'shoal-tracker');
    const pods = find(all, 'Service', spec.serviceName);
    expect(pods.spec).toMatchObject({ clusterIP: 'None', publishNotReadyAddresses: true });
    expect(spec.template.metadata.labels).toMatchObject(pods.spec.selector);
    const [tracker] = spec.template.spec.containers;
    const [agent] = find(all, 'DaemonSet', 'shoal-agent').spec.template.spec.containers;
    const advertised = tracker.args.find((argument: string) => argument.startsWith('--advertise='));
    const urlOf = (index: number) =>
      advertised.replace('--advertise=', '').replace('$(POD_NAME)', `shoal-tracker-${index}`);
    expect(envOf(agent).SHOAL_TRACKER).toBe([0, 1, 2].map(urlOf).join());
    expect(new URL(urlOf(0)).hostname).toBe('shoal-tracker-0.shoal-tracker-pods.shoal-system.svc');
    const store = tracker.env.find(({ name }: { name: string }) => name === 'SHOAL_STORE');
    expect(store.valueFrom.secretKeyRef).toEqual({ name: 'store', key: 'url' });
  });

  test('a PodMonitor asks the port that the agents open', async () => {
    const values = { agent: { metrics: true }, podMonitor: { enabled: true, labels: { release: 'prometheus' } } };
    const all = parseAllDocuments(await rendered(values)).map((document) => document.toJS());
    const monitor = find(all, 'PodMonitor', 'shoal-agent');
    const agent = find(all, 'DaemonSet', 'shoal-agent').spec.template;
    expect(agent.metadata.labels).toMatchObject(monitor.spec.selector.matchLabels);
    expect(agent.spec.containers[0].ports.map(({ name }: { name: string }) => name)).toContain(
      monitor.spec.podMetricsEndpoints[0].port,
    );
    expect(monitor.metadata.labels.release).toBe('prometheus');
    // An address of IPv6 stands in brackets beside a port.
    const ip6 = find(await objects({ agent: { metrics: true, announce: 'ip6' } }), 'DaemonSet', 'shoal-agent');
    expect(envOf(ip6.spec.template.spec.containers[0])).toMatchObject({
      SHOAL_ADMIN: '[$(NODE_IP)]:7303',
      SHOAL_PEER_LISTEN: '/ip6/::/tcp/7301',
      SHOAL_PEER_ANNOUNCE: '/ip6/$(NODE_IP)/tcp/7301',
    });
  });

  test('traces go to the collector that the values name, and nowhere by default', async () => {
    const environmentWith = async (values: object): Promise<Record<string, string>> =>
      envOf(find(await objects(values), 'DaemonSet', 'shoal-agent').spec.template.spec.containers[0]);
    expect(Object.keys(await environmentWith({}))).not.toContain('SHOAL_OTLP_ENDPOINT');
    const tracing = { otlpEndpoint: 'http://otel-collector:4318', samplePercent: 5 };
    expect(await environmentWith({ agent: { tracing } })).toMatchObject({
      SHOAL_OTLP_ENDPOINT: 'http://otel-collector:4318',
      SHOAL_TRACE_SAMPLE: '5',
    });
  });
});
