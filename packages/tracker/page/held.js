/** What is cached where: asked for by part of a name or digest. */
/** @import { HeldContent, Holders } from '../src/dashboard/answers.ts' */
import { askHeld } from './api.js';
import { byId, digestCode, fillTable, say, tableHead, tableRow } from './dom.js';
import { counted, size } from './format.js';

let find = '';
/** Answers may overtake each other; the last question counts. */
let turn = 0;

/** Once. @param {(failure: unknown) => void} onFailure */
export function setUpHeld(onFailure) {
  tableHead(byId('held-images'), 'Images and the nodes that hold their manifests', [
    ['image', false],
    ['digest', false],
    ['held by', true],
    ['nodes', false],
  ]);
  tableHead(byId('held-blobs'), 'Blobs and the nodes that hold them', [
    ['blob', false],
    ['repository', false],
    ['size', true],
    ['held by', true],
    ['wanted by', true],
    ['nodes', false],
  ]);
  byId('held-search').addEventListener('submit', (event) => {
    event.preventDefault();
    find = /** @type {HTMLInputElement} */ (byId('held-find')).value.trim();
    showHeld().catch(onFailure);
  });
}

export async function showHeld() {
  const own = ++turn;
  const { images, blobs, partial } = await askHeld(find);
  if (own !== turn) return;
  const found = `${counted(images.length, 'image')} and ${counted(blobs.length, 'blob')}`;
  const more = partial ? '; there are more: narrow the search' : '';
  say(byId('held-note'), find === '' ? `What most nodes hold: ${found}${more}.` : `“${find}”: ${found}${more}.`);
  fillTable(byId('held-images'), imageRows(images));
  fillTable(byId('held-blobs'), blobRows(blobs));
}

/** @param {HeldContent['images']} images */
function imageRows(images) {
  return images.map(({ image, digest, ...holders }) =>
    tableRow(
      [image, digestCode(digest, digest), String(holders.holding), nodesOf(holders)],
      ['', '', 'number', 'names'],
    ),
  );
}

/** @param {HeldContent['blobs']} blobs */
function blobRows(blobs) {
  return blobs.map(({ blob, sizeBytes, repository, ...holders }) => {
    const registry = blob.slice(0, blob.lastIndexOf('/'));
    const place = repository === undefined ? registry : `${registry}/${repository}`;
    const { holding, wanting } = holders;
    return tableRow(
      [
        digestCode(blob.slice(registry.length + 1), blob),
        place,
        size(sizeBytes),
        String(holding),
        String(wanting),
        nodesOf(holders),
      ],
      ['', '', 'number', 'number', 'number', 'names'],
    );
  });
}

/** @param {Holders} holders */
function nodesOf({ nodes, holding }) {
  const more = holding - nodes.length;
  return nodes.length === 0 ? '–' : `${nodes.join(', ')}${more > 0 ? ` and ${more.toLocaleString('en')} more` : ''}`;
}
