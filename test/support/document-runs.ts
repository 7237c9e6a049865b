// Who runs each command that a document shows. A command that is not in here fails test/docs/commands-run.test.ts.

/** In a walk, as it stands. */
export interface Walked {
  readonly by: 'a walk';
  /** The test's file; that it types it is seen to by support/walk.ts. */
  readonly file: string;
}

/** In another test, as far as a test can: with other addresses and folders than the document has. */
export interface Tested {
  readonly by: 'a test';
  /** The test's file. */
  readonly file: string;
  /** What stands in that file, so that a test which does it no more is noticed. */
  readonly says: string;
}

/** By CI itself: what all other tests run under cannot be run by one of them. */
export interface RunsTests {
  readonly by: 'CI';
}

export type DocumentRun = Walked | Tested | RunsTests;

const walked: Walked = { by: 'a walk', file: 'test/e2e/newcomer.test.ts' };
const pushed: Walked = { by: 'a walk', file: 'test/e2e/deploy-image.test.ts' };
const installed: Walked = { by: 'a walk', file: 'test/e2e/deploy-node.test.ts' };
const onCluster: Walked = { by: 'a walk', file: 'test/e2e/kubernetes.test.ts' };
const tested = (file: string, says: string): Tested => ({ by: 'a test', file, says });

export const documentRuns: Readonly<Record<string, DocumentRun>> = {
  // README.md
  'npx -y pnpm@12.21.0 demo': walked,
  'shoal tracker --data /var/lib/shoal-tracker': walked,
  'shoal agent --data /var/lib/shoal --tracker https://TRACKER:7302 --join-token @/etc/shoal/join-token': walked,
  'shoal setup containerd --dry-run': walked,
  'shoal setup containerd': walked,
  'shoal setup containerd --undo': walked,
  'mkdir -p /etc/containerd/certs.d/docker.io': walked,
  'printf \'server = "https://registry-1.docker.io"\\n[host."http://127.0.0.1:7300"]\\n  capabilities = ["pull", "resolve"]\\n  dial_timeout = "2s"\\n\' > /etc/containerd/certs.d/docker.io/hosts.toml':
    walked,
  'ctr images pull --hosts-dir /etc/containerd/certs.d docker.io/library/alpine:latest': walked,
  'echo \'{ "registry-mirrors": ["http://127.0.0.1:7300"] }\' > /etc/docker/daemon.json': walked,
  'systemctl restart docker': walked,
  'docker pull alpine': walked,
  'printf \'[[registry]]\\nlocation = "docker.io"\\n[[registry.mirror]]\\nlocation = "127.0.0.1:7300/docker.io"\\ninsecure = true\\n\' > /etc/containers/registries.conf.d/shoal.conf':
    walked,
  'podman pull docker.io/library/alpine': walked,
  'curl -s 127.0.0.1:7303/metrics | grep ^shoal_bytes': walked,
  'helm install shoal deploy/helm/shoal --namespace shoal-system --set image.repository=registry.example/shoal':
    onCluster,
  'shoal prefetch ghcr.io/org/app:v2 --nodes all --rate 50MiB': walked,
  'npx -y pnpm@12.21.0 test': tested('.ci/run', 'pnpm test'),
  // CONTRIBUTING.md
  'npx -y pnpm@12.21.0 lint': tested('.ci/run', 'pnpm lint'),
  'npx -y pnpm@12.21.0 types': tested('.ci/run', 'pnpm types'),
  'npx -y pnpm@12.21.0 test:chaos': tested('test/e2e/chaos.test.ts', 'SHOAL_CHAOS_SECONDS'),
  'SHOAL_CHAOS_SEED=4 SHOAL_CHAOS_SECONDS=60 npx -y pnpm@12.21.0 test:chaos': tested(
    'test/e2e/chaos.test.ts',
    'SHOAL_CHAOS_SEED',
  ),
  'npx -y pnpm@12.21.0 format': walked,
  'bash .ci/run': { by: 'CI' },
  'npx -y pnpm@12.21.0 --silent bench sim --campaign 4121': walked,
  'SHOAL_CAMPAIGN_FIRST_SEED=100000 npx -y pnpm@12.21.0 exec vitest run --project unit bench/sim/campaign': tested(
    'bench/sim/campaign.test.ts',
    'SHOAL_CAMPAIGN_FIRST_SEED',
  ),
  // deploy/README.md
  'deploy/image/context.sh OUT': tested('test/support/shoal-image.ts', 'context.sh'),
  'docker build -t registry.example/shoal:0.1.0 OUT': pushed,
  'docker push registry.example/shoal:0.1.0': pushed,
  'docker compose -f deploy/compose/compose.yaml up -d tracker': tested('test/e2e/deploy-image.test.ts', 'compose'),
  'echo "SHOAL_JOIN_TOKEN=$(docker compose -f deploy/compose/compose.yaml exec -T tracker node -p "fs.readFileSync(\'/var/lib/shoal-tracker/join-token\',\'utf8\').trim()")" >> deploy/compose/.env':
    tested('test/e2e/deploy-image.test.ts', 'join-token'),
  'docker compose -f deploy/compose/compose.yaml up -d agent': tested('test/e2e/deploy-image.test.ts', 'compose'),
  'npx -y pnpm@12.21.0 build': tested('.ci/run', 'pnpm build'),
  'npx -y pnpm@12.21.0 --filter @shoal/cli deploy --prod OUT': tested(
    'deploy/image/context.sh',
    '--filter @shoal/cli deploy --prod',
  ),
  'mkdir -p OUT/bin && cp -L node_modules/.bin/node OUT/bin/node && cp -r deploy/systemd OUT/': walked,
  "tar -C OUT -cz . | ssh root@NODE 'mkdir -p /opt/shoal /etc/shoal && tar -C /opt/shoal -xz && cp /opt/shoal/systemd/shoal-agent* /etc/systemd/system/'":
    installed,
  'scp -p join-token agent.yaml root@NODE:/etc/shoal/': installed,
  "ssh root@NODE 'chmod 600 /etc/shoal/join-token && systemctl enable --now shoal-agent.socket shoal-agent && /opt/shoal/bin/node /opt/shoal/dist/main.js setup containerd'":
    installed,
  // docs/benchmarks.md
  'sudo npx -y pnpm@12.21.0 --silent bench rollout --nodes 8 --image 256MiB --layers 4 --link 100mbit --json out.json --html out.html':
    tested('test/e2e/rollout.test.ts', "'rollout'"),
  // docs/cache.md
  'shoal cache ls': walked,
  'shoal cache pin registry.example.com/team/api:v1': walked,
  'shoal cache ls --pins': walked,
  'shoal cache rm registry.example.com/team/api:v1': walked,
  'shoal cache rm registry.example.com/team/web:v1': walked,
  'shoal cache pin registry.example.com/team/big:v1': walked,
  'shoal cache prune --keep 50MB --dry-run': walked,
  'shoal cache verify': walked,
  // docs/dashboard.md
  'shoal tracker --data /var/lib/shoal-tracker --dashboard 127.0.0.1:7304': tested(
    'test/e2e/dashboard.test.ts',
    "'--dashboard'",
  ),
  'ssh -L 7304:127.0.0.1:7304 TRACKER': installed,
  'kubectl -n shoal-system port-forward deploy/shoal-tracker 7304': onCluster,
  "kubectl -n shoal-system exec deploy/shoal-tracker -- node -p \"fs.readFileSync('/var/lib/shoal-tracker/dashboard-token', 'utf8')\"":
    onCluster,
  // docs/install-kubernetes.md
  'kubectl create namespace shoal-system': onCluster,
  'kubectl label namespace shoal-system pod-security.kubernetes.io/enforce=privileged': onCluster,
  'kubectl -n shoal-system rollout status ds/shoal-agent': onCluster,
  'kubectl -n shoal-system logs ds/shoal-agent -c set-up-runtime': onCluster,
  'kind load docker-image registry.example/shoal:0.1.0': pushed,
  'helm install shoal deploy/helm/shoal -n shoal-system --set image.repository=registry.example/shoal --set runtime.name=k3s':
    onCluster,
  // docs/operating.md
  'shoal status': walked,
  'shoal doctor': walked,
  'curl -s "http://127.0.0.1:7300/v2/org/app/manifests/v1?ns=gone.test"': walked,
  // docs/several-trackers.md
  'shoal tracker --identity /etc/shoal/identity --store redis://10.0.0.9:6379/0': tested(
    'test/support/several-trackers.ts',
    "'--store'",
  ),
  'shoal agent --tracker https://10.0.0.5:7302 --tracker https://10.0.0.6:7302 --join-token @/etc/shoal/join-token':
    tested('test/e2e/several-trackers.test.ts', 'trackers'),
  'kubectl -n shoal-system create secret generic shoal-store --from-literal=url=redis://:PASSWORD@redis.example:6379/0':
    onCluster,
  'helm upgrade shoal deploy/helm/shoal -n shoal-system --reuse-values --set tracker.replicas=2 --set tracker.store.existingSecret=shoal-store':
    onCluster,
  // docs/tracing.md
  'shoal agent --otlp-endpoint http://otel-collector:4318 --trace-sample 10': tested(
    'test/integration/tracing.test.ts',
    "'--otlp-endpoint'",
  ),
};
