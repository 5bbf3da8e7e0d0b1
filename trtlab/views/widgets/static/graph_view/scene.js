// The scene that came from Python, and what the page works out from it: who is next to whom, and
// heights, since what is folded, hidden or left out takes no room.

const BAR = 40; // height of a folded block
const BAR_WIDTH = 264;
const NOTE = 26; // room for a pill above or below a box
const PASSING = -1; // instead of a height: straight through the whole rank
const SIDES = ["left", "right"];

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

// What would change the look of the text around it stays visible as an escape.
const HARMFUL = new RegExp(
  "[\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]" +
    "|[\\ud800-\\udfff]",
  "gu",
);
const plain = (text) =>
  text.replace(HARMFUL, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

// The set of a comparison that something is in, or undefined where a fusion is shown.
const setOf = (scene, { kind, i }) =>
  scene.sets?.[(kind === "node" ? scene.nodes : scene.layers).set[i]];

const listsFor = (count) => Array.from({ length: count }, () => []);

function prepare(scene) {
  const { boxes, layers, nodes, wires } = scene;
  scene.count = scene.ranks.height.length;
  scene.inRank = listsFor(scene.count);
  scene.boxOfLayer = layers.name.map(() => -1);
  scene.noted = new Set(); // layers that stand on a pill above or below a box
  boxes.rank.forEach((rank, box) => {
    scene.inRank[rank].push(box);
    if (boxes.layer[box] >= 0) scene.boxOfLayer[boxes.layer[box]] = box;
    for (const note of [boxes.before[box], boxes.after[box]]) {
      for (const layer of note?.[1] ?? []) {
        scene.boxOfLayer[layer] = box;
        scene.noted.add(layer);
      }
    }
  });
  const [left, right] = scene.sides;
  scene.nodesOf = (block) => (block.held ??= nodes.box.flatMap((box, node) =>
    (box >= 0 && block.first <= boxes.rank[box] && boxes.rank[box] <= block.last ? [node] : [])));
  scene.keys = {
    node: nodes.name.map((name) => `${left}:${name}`),
    layer: layers.name.map((name, i) =>
      `${right}:${name}${layers.copy[i] > 1 ? `#${layers.copy[i]}` : ""}`),
  };
  scene.byKey = new Map();
  for (const kind of ["node", "layer"]) {
    scene.keys[kind].forEach((key, i) => scene.byKey.set(key, { kind, i }));
  }
  // Along the edges: of nodes on the left, of layers on the right.
  scene.near = wires.map((side, s) => {
    const count = (s ? layers : nodes).name.length;
    const near = { up: listsFor(count), down: listsFor(count) };
    side.source.forEach((source, w) => {
      const target = side.target[w];
      if (source < 0 || target < 0) return;
      near.down[source].push(target);
      near.up[target].push(source);
    });
    return near;
  });
  scene.beside = listsFor(boxes.rank.length);
  for (const { boxes: ends } of wires) {
    for (let at = 0; at < ends.length; at += 2) {
      scene.beside[ends[at]].push(ends[at + 1]);
      scene.beside[ends[at + 1]].push(ends[at]);
    }
  }
  return scene;
}

// Where everything stands while these blocks are open, notes are shown, or only `focus` is.
function geometry(scene, { open, notes, focus }) {
  const { boxes, ranks, blocks } = scene;
  const made = {
    top: new Float64Array(scene.count),
    height: new Float64Array(scene.count),
    inside: new Int32Array(scene.count).fill(-1), // the folded block that hides a rank
    gone: new Uint8Array(scene.count),
    bars: new Map(),
    heads: [],
  };
  let y = 0;
  let next = 0;
  for (let rank = 0; rank < scene.count; rank++) {
    let folded = -1;
    while (!focus && folded < 0 && blocks[next]?.first === rank) {
      y += 22;
      if (open.has(next)) {
        made.heads.push({ block: next, y, depth: blocks[next].parent < 0 ? 0 : 1 });
        y += 12;
      } else folded = next;
      next++;
    }
    if (folded >= 0) {
      const { last } = blocks[folded];
      made.bars.set(folded, y);
      made.top.fill(y + BAR / 2, rank, last + 1);
      made.inside.fill(folded, rank, last + 1);
      while (blocks[next]?.first <= last) next++;
      y += BAR;
      rank = last;
      continue;
    }
    if (focus && !scene.inRank[rank].some((box) => focus.has(box))) {
      made.gone[rank] = 1;
      made.top[rank] = y;
      continue;
    }
    y += (y ? ranks.gap[rank] : 0) + (notes && ranks.before[rank] ? NOTE : 0);
    made.top[rank] = y;
    made.height[rank] = ranks.height[rank];
    y += ranks.height[rank] + (notes && ranks.after[rank] ? NOTE : 0);
  }
  made.total = Math.max(y, 1);
  for (const head of made.heads) {
    const { last } = blocks[head.block];
    const bar = made.bars.get(made.inside[last]);
    head.end = bar === undefined ? made.top[last] + made.height[last] : bar + BAR;
  }
  made.shown = (box) => {
    const rank = boxes.rank[box];
    return !made.gone[rank] && made.inside[rank] < 0 && (!focus || focus.has(box));
  };
  made.lines = scene.wires.map((side) => linesOf(scene, side, made, notes, focus));
  made.reach = SIDES.map((side) => reachOf(scene, side, made));
  made.alone = SIDES.map((side) => new Set(scene.inRank.flatMap((row) => {
    const there = row.filter((box) => boxes[side][box] && made.shown(box));
    return there.length === 1 ? there : [];
  })));
  return made;
}

function linesOf(scene, side, made, notes, focus) {
  const { ranks, boxes } = scene;
  const lines = [];
  const between = new Set();
  side.path.forEach((path, wire) => {
    const held = [side.boxes[2 * wire], side.boxes[2 * wire + 1]];
    if (focus && !held.every((box) => focus.has(box))) return;
    const ends = held.map((box) => made.inside[boxes.rank[box]]);
    if (ends[0] >= 0 && ends[1] >= 0) {
      const key = `${ends}`;
      if (ends[0] === ends[1] || between.has(key)) return;
      between.add(key);
    }
    const points = [];
    for (let at = 0; at < path.length; at += 3) {
      const [x, rank, below] = [path[at], path[at + 1], path[at + 2]];
      const top = made.top[rank];
      if (made.inside[rank] >= 0) points.push(ends.includes(made.inside[rank]) ? 0 : x, top);
      else if (made.gone[rank]) continue;
      else if (below === PASSING) {
        points.push(x, top - (notes && ranks.before[rank] ? NOTE : 0));
        points.push(x, top + made.height[rank] + (notes && ranks.after[rank] ? NOTE : 0));
      } else points.push(x, top + below);
    }
    let [low, high] = [Infinity, -Infinity];
    for (let at = 1; at < points.length; at += 2) {
      low = Math.min(low, points[at]);
      high = Math.max(high, points[at]);
    }
    lines.push({ points, wire, low, high, tip: made.bars.get(ends[1]) ?? points.at(-1) });
  });
  return lines;
}

function reachOf(scene, side, made) {
  let [low, high] = made.bars.size ? [-BAR_WIDTH / 2, BAR_WIDTH / 2] : [Infinity, -Infinity];
  scene.boxes[side].forEach((spot, box) => {
    if (!spot || !made.shown(box)) return;
    low = Math.min(low, spot[0] - spot[1]);
    high = Math.max(high, spot[0] + spot[2]);
  });
  return low <= high ? [low, high] : [-80, 80];
}
