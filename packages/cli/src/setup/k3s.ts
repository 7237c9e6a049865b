/** k3s and RKE2: registries.yaml, with the mirror for every registry ("*") and in front of those that are named. */
import { Document, isMap, isSeq, parseDocument, type YAMLMap } from 'yaml';
import { changeOf, MADE_BY, type Planner, SetupProblem } from './plan.ts';

const CONFIG_FILE = '/etc/rancher/k3s/registries.yaml';
const ALL = '*';
const OTHERS =
  'On an agent node the service is k3s-agent; for RKE2 give --config-file /etc/rancher/rke2/registries.yaml.';

export const planK3s: Planner = async ({ configFile = CONFIG_FILE, mirror }, files) => {
  const before = await files.read(configFile);
  const document = parse(configFile, before);
  if (!document.hasIn(['mirrors'])) document.set('mirrors', document.createNode({}));
  const mirrors = document.get('mirrors');
  if (!isMap(mirrors)) throw new SetupProblem(`mirrors in ${configFile} is no map; mend it first`);
  if (!mirrors.has(ALL)) mirrors.set(ALL, document.createNode({ endpoint: [] }));
  const notes: string[] = [];
  for (const { key } of [...mirrors.items]) {
    const name = String(key);
    if (name === '<<')
      throw new SetupProblem(`mirrors in ${configFile} are merged from elsewhere; add the mirror by hand`);
    if (isRewritten(mirrors.get(name)))
      notes.push(`${name} is left as it is: its rewrite would hold for the mirror, too.`);
    else putFirst(document, mirrors, name, mirror.url, configFile);
  }
  const after = before === undefined ? `${MADE_BY}\n${document.toString()}` : document.toString();
  const isSame = before !== undefined && isEqual(before, after);
  const changes = changeOf(configFile, before, isSame ? before : after);
  return {
    changes,
    reload: changes.length === 0 ? undefined : 'systemctl restart k3s',
    notes: changes.length === 0 ? notes : [...notes, OTHERS],
  };
};

function parse(file: string, text: string | undefined): Document {
  if (text === undefined || text.trim() === '') return new Document({});
  const document: Document = parseDocument(text);
  if (document.errors.length > 0) throw new SetupProblem(`${file} is not valid YAML; mend it first`);
  // Nothing but comments, which stay.
  if (document.contents === null) document.contents = document.createNode({});
  if (!isMap(document.contents)) throw new SetupProblem(`${file} is no map; mend it first`);
  return document;
}

function putFirst(document: Document, mirrors: YAMLMap, name: string, url: string, file: string): void {
  const entry = mirrors.get(name);
  if (entry !== undefined && entry !== null && !isMap(entry)) {
    throw new SetupProblem(`${name} in ${file} is no map of its own; add the mirror by hand`);
  }
  if (!isMap(entry)) {
    mirrors.set(name, document.createNode({ endpoint: [url] }));
    return;
  }
  const endpoints = entry.get('endpoint');
  if (endpoints === undefined || endpoints === null) {
    entry.set('endpoint', document.createNode([url]));
  } else if (!isSeq(endpoints)) {
    throw new SetupProblem(`the endpoint of ${name} in ${file} is no list; mend it first`);
  } else {
    const others = endpoints.toJSON() as unknown[];
    if (others[0] === url) return;
    entry.set('endpoint', document.createNode([url, ...others.filter((other) => other !== url)]));
  }
}

/** What is rewritten for one endpoint is rewritten for all, and names another repository to the agent. */
function isRewritten(entry: unknown): boolean {
  const rewrite = isMap(entry) ? entry.get('rewrite') : undefined;
  return isMap(rewrite) && rewrite.items.length > 0;
}

function isEqual(before: string, after: string): boolean {
  return JSON.stringify(parseDocument(before).toJSON()) === JSON.stringify(parseDocument(after).toJSON());
}
