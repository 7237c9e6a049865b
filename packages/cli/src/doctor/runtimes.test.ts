import { expect, test } from 'vitest';
import { after, memoryFiles, options } from '../setup/memory-files.fixture.ts';
import { SetupProblem } from '../setup/plan.ts';
import { RUNTIMES } from '../setup/runtimes.ts';
import { checkRuntimes } from './runtimes.ts';

const MIRROR = '127.0.0.1:7300';
const CONTAINERD = '/etc/containerd/config.toml';
const CRI = '[plugins."io.containerd.grpc.v1.cri"';

type Machine = Readonly<Record<string, string>>;

/** A machine after `shoal setup` of this runtime. */
async function setUp(name: string, machine: Machine = {}, registries: readonly string[] = []): Promise<Machine> {
  const { changes } = await RUNTIMES[name]!.plan(options({ registries }), memoryFiles(machine));
  return after(machine, changes);
}

const check = (machine: Machine, programs: readonly string[], registries: readonly string[] = [], mirror = MIRROR) =>
  checkRuntimes(mirror, {
    files: memoryFiles(machine),
    isInstalled: async (program) => programs.includes(program),
    earlierRegistries: async () => registries,
  });

const PROGRAM_OF = {
  containerd: 'containerd',
  docker: 'dockerd',
  podman: 'podman',
  crio: 'crio',
  buildkit: 'buildkitd',
  k3s: 'k3s',
};

test.each(Object.entries(PROGRAM_OF))(
  '%s: set up it is well, before it is not, and the command is named',
  async (name, program) => {
    expect(await check({}, [program])).toEqual([
      expect.objectContaining({ name, state: 'warn', todo: `shoal setup ${name}` }),
    ]);
    expect(await check(await setUp(name), [program])).toEqual([expect.objectContaining({ name, state: 'ok' })]);
  },
);

test('a machine without any runtime has nothing to find', async () => {
  expect(await check({}, [])).toEqual([expect.objectContaining({ name: 'runtime', state: 'skip' })]);
});

test('registries that an earlier setup was told of are no difference', async () => {
  const machine = await setUp('podman', {}, ['registry.example.com']);
  expect((await check(machine, ['podman'], ['registry.example.com']))[0]).toMatchObject({ state: 'ok' });
});

test('a setup by hand of some registries is told as such, and what is missing', async () => {
  const hosts = `[host."http://${MIRROR}"]\n  capabilities = ["pull", "resolve"]\n`;
  const machine = {
    [CONTAINERD]: `version = 2\n${CRI}.registry]\n  config_path = "/etc/containerd/certs.d"\n`,
    '/etc/containerd/certs.d/docker.io/hosts.toml': hosts,
  };
  expect((await check(machine, ['containerd']))[0]).toMatchObject({
    state: 'warn',
    detail: expect.stringMatching(/^only some .*_default\/hosts\.toml is missing/),
  });
});

test('another mirror than this agent counts as none, and its address is in the command', async () => {
  const [finding] = await check(await setUp('docker'), ['dockerd'], [], '127.0.0.1:9999');
  expect(finding).toMatchObject({ state: 'warn', todo: 'shoal setup docker --mirror http://127.0.0.1:9999' });
});

test('containerd: a config_path of two folders fails, as 2.x reads neither', async () => {
  const machine = {
    [CONTAINERD]: `version = 2\n${CRI}.registry]\n  config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"\n`,
  };
  expect(await check(machine, ['containerd'])).toEqual([
    expect.objectContaining({
      state: 'fail',
      todo: expect.stringContaining('config_path = "/etc/containerd/certs.d"'),
    }),
  ]);
});

test.each([
  ['version = 2', `${CRI}.containerd]\n  discard_unpacked_layers = true`],
  ['version = 3', '[plugins."io.containerd.cri.v1.images"]\n  discard_unpacked_layers = true'],
])('containerd, %s: thrown away layers are told beside the rest', async (version, table) => {
  const machine = await setUp('containerd', { [CONTAINERD]: `${version}\n${table}\n` });
  expect(await check(machine, ['containerd'])).toEqual([
    expect.objectContaining({ name: 'containerd', state: 'ok' }),
    expect.objectContaining({ name: 'containerd layers', state: 'warn', todo: expect.stringContaining(CONTAINERD) }),
  ]);
});

test('containerd: what an imported file says about layers wins', async () => {
  const imported = '/etc/containerd/conf.d/eks.toml';
  const machine = await setUp('containerd', {
    [CONTAINERD]: `version = 2\nimports = ["${imported}"]\n`,
    [imported]: `version = 2\n${CRI}.containerd]\n  discard_unpacked_layers = true\n`,
  });
  expect((await check(machine, ['containerd'])).map(({ state }) => state)).toEqual(['ok', 'warn']);
});

test("containerd: without CRI it is Docker's alone", async () => {
  const machine = { [CONTAINERD]: 'disabled_plugins = ["cri"]\n' };
  expect(await check(machine, ['containerd'])).toEqual([expect.objectContaining({ state: 'skip' })]);
});

test('a file that does not parse fails, and one that only root may read asks for root', async () => {
  const [broken] = await check({ '/etc/docker/daemon.json': '{ "a": [' }, ['dockerd']);
  expect(broken).toMatchObject({ state: 'fail', detail: expect.stringContaining('/etc/docker/daemon.json') });
  const hidden = {
    files: {
      read: async (path: string) => {
        throw new SetupProblem(`${path} cannot be read (EACCES); run this as root`);
      },
      list: async () => [],
    },
    isInstalled: async (program: string) => program === 'dockerd',
    earlierRegistries: async () => [],
  };
  expect(await checkRuntimes(MIRROR, hidden)).toEqual([
    expect.objectContaining({ state: 'warn', todo: expect.stringContaining('sudo') }),
  ]);
});
