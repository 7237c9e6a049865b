// What the parts of Kubernetes and containerd are told on the one node of the test cluster. JSON is YAML, too.
import type { NodeCgroup } from './node-cgroups.ts';

/** An address of the documentation range (RFC 5737), on a link that leads nowhere. */
export const NODE_ADDRESS = '192.0.2.1';
export const API_SERVER = `https://${NODE_ADDRESS}:6443`;
export const SANDBOX_IMAGE = 'registry.k8s.io/pause:3.10';
const POD_NETWORK = '10.244.0.0/24';
const SERVICE_NETWORK = '10.96.0.0/16';
/** The first of the services' network is the API server's own. */
const API_SERVICE = '10.96.0.1';
const CLUSTER_DOMAIN = 'cluster.local';
const PKI = '/etc/kubernetes';
export const KUBECONFIG: string = `${PKI}/admin.conf`;
const TOKEN = 'a-token-of-the-test-cluster';

/** Makes the cluster's authority, what the API server shows, and the key that service accounts' tokens are signed with. */
export const MAKE_KEYS: string = `
mkdir -p ${PKI} && cd ${PKI}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-cluster -keyout ca.key -out ca.crt
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kube-apiserver -keyout server.key -out server.csr
printf 'subjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:registry.example,IP:${API_SERVICE},IP:${NODE_ADDRESS},IP:127.0.0.1' > server.ext
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out service-accounts.key
`;

/** Files of the node, by path. */
export function nodeFiles(node: string, cgroup: NodeCgroup): Record<string, string> {
  const kubeconfig = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test' },
    clusters: [{ name: 'test', cluster: { server: API_SERVER, 'certificate-authority': `${PKI}/ca.crt` } }],
    users: [{ name: 'admin', user: { token: TOKEN } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
  };
  const kubelet = {
    ...{ apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' },
    // Only this machine's own processes and the pods reach it.
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroup}`,
    failCgroupV1: false,
    failSwapOn: false,
    clusterDNS: [NODE_ADDRESS],
    clusterDomain: CLUSTER_DOMAIN,
    // How full the disk is that the tests run on is not the pods' matter.
    evictionHard: {
      'imagefs.available': '0%',
      'memory.available': '0%',
      'nodefs.available': '0%',
      'nodefs.inodesFree': '0%',
    },
    imageGCHighThresholdPercent: 100,
    shutdownGracePeriod: '0s',
  };
  const proxy = {
    ...{ apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration' },
    ...{ mode: 'iptables', clusterCIDR: POD_NETWORK, hostnameOverride: node },
    clientConnection: { kubeconfig: KUBECONFIG },
    // The kernel's own limits stay as they are.
    conntrack: { maxPerCore: 0, tcpCloseWaitTimeout: '0s', tcpEstablishedTimeout: '0s' },
  };
  const network = {
    ...{ cniVersion: '0.4.0', name: 'pods' },
    plugins: [
      {
        ...{ type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: true, hairpinMode: true },
        ipam: { type: 'host-local', ranges: [[{ subnet: POD_NETWORK }]], routes: [{ dst: '0.0.0.0/0' }] },
      },
    ],
  };
  return {
    [KUBECONFIG]: JSON.stringify(kubeconfig),
    [`${PKI}/tokens.csv`]: `${TOKEN},admin,admin,system:masters\n`,
    [`${PKI}/kubelet.yaml`]: JSON.stringify(kubelet),
    [`${PKI}/kube-proxy.yaml`]: JSON.stringify(proxy),
    [`${PKI}/Corefile`]: corefile(),
    '/etc/cni/net.d/10-pods.conflist': JSON.stringify(network),
    '/etc/containerd/config.toml': CONTAINERD,
  };
}

const CONTAINERD = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${SANDBOX_IMAGE}"
  # Root of a machine in a machine may not make its processes less likely to be ended.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
`;

/** Beside the cluster's names it knows those that the documents have for machines of the reader's. */
function corefile(): string {
  return `.:53 {
  errors
  ready ${NODE_ADDRESS}:8181
  hosts {
    ${NODE_ADDRESS} registry.example redis.example
    fallthrough
  }
  kubernetes ${CLUSTER_DOMAIN} {
    kubeconfig ${KUBECONFIG}
  }
}
`;
}

/** Each part's flags, by name, in the order in which they are started; all are parts of one program. */
export function partArguments(node: string): Record<string, readonly string[]> {
  const keys = ['--service-account-private-key-file', `${PKI}/service-accounts.key`];
  return {
    etcd: ['--data-dir=/var/lib/etcd', '--log-level=warn', '--unsafe-no-fsync'],
    'kube-apiserver': [
      '--etcd-servers=http://127.0.0.1:2379',
      `--advertise-address=${NODE_ADDRESS}`,
      `--service-cluster-ip-range=${SERVICE_NETWORK}`,
      `--tls-cert-file=${PKI}/server.crt`,
      `--tls-private-key-file=${PKI}/server.key`,
      `--token-auth-file=${PKI}/tokens.csv`,
      '--authorization-mode=RBAC',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${PKI}/service-accounts.key`,
      `--service-account-signing-key-file=${PKI}/service-accounts.key`,
    ],
    'kube-controller-manager': [
      `--kubeconfig=${KUBECONFIG}`,
      ...keys,
      `--root-ca-file=${PKI}/ca.crt`,
      '--use-service-account-credentials',
      '--leader-elect=false',
    ],
    'kube-scheduler': [`--kubeconfig=${KUBECONFIG}`, '--leader-elect=false'],
    kubelet: [
      `--config=${PKI}/kubelet.yaml`,
      `--kubeconfig=${KUBECONFIG}`,
      `--node-ip=${NODE_ADDRESS}`,
      `--hostname-override=${node}`,
    ],
    'kube-proxy': [`--config=${PKI}/kube-proxy.yaml`],
    coredns: ['-conf', `${PKI}/Corefile`],
  };
}
