// Draws both sides and the minimap on canvases. `view` holds scene, heights, cameras and marks.

const TEXT_FROM = 0.42; // zoom below which there is no text
const BOXES_FROM = 0.14; // zoom below which boxes are plain rectangles
const NODE = 22;
const PAD = 20;
const FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";
const MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";

function blend(colour, surface, share) {
  const part = (text, at) => parseInt(text.slice(at, at + 2), 16);
  const mixed = [1, 3, 5].map((at) =>
    Math.round(part(colour, at) * share + part(surface, at) * (1 - share)));
  return `rgb(${mixed})`;
}

class Painter {
  constructor(view) {
    this.view = view;
    this.scene = view.scene;
    this.cuts = new Map();
  }

  // Line, fill and minimap colour of every layer in a mode.
  tint(mode, palette) {
    this.palette = palette;
    this.mode = mode;
    this.bare = [palette.line2, blend(palette.line2, palette.bg, 0.08), palette.line2];
    const styles = mode.classes?.keys.map((key, at) => {
      const colour = this.classColour(mode, key, at);
      return [colour, blend(colour, palette.bg, palette.tint), colour];
    });
    const look = (value) => {
      if (styles) return styles[value] ?? this.bare;
      return value === null ? this.bare : [
        blend(palette.heat, palette.line2, 0.15 + 0.85 * value),
        blend(palette.heat, palette.bg, 0.03 + (palette.most - 0.03) * value),
        blend(palette.heat, palette.line, value),
      ];
    };
    this.looks = (styles ? mode.classes.of : mode.shares).map(look);
    this.nodeLooks = mode.nodes?.map(look); // where the left side is an engine too
    this.mapped = null;
  }

  classColour(mode, key, at) {
    const { palette } = this;
    if (mode.id === "kind") {
      if (key === "unexplained") return palette.warn;
      return palette.kinds[mode.colours?.[key] ?? key] ?? palette.kinds.removed;
    }
    if (mode.id === "precision") return palette.precisions[key] ?? palette.t3;
    const row = Object.values(palette.precisions);
    return row[at % row.length];
  }

  kind(layer) {
    const { keys, of } = this.scene.modes[0].classes;
    return keys[of[layer]];
  }

  // ---- Both sides

  paint() {
    const { view, palette } = this;
    const { canvas, size } = view;
    this.ctx = canvas.getContext("2d");
    this.ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this.ctx.fillStyle = palette.bg;
    this.ctx.fillRect(0, 0, size.width, size.height);
    this.marked = new Set(view.layersOf(view.selected));
    this.pointed = new Set(view.layersOf(view.hover?.one));
    if (view.pane === "both") this.links();
    for (const side of view.sides()) {
      const { left, width, height } = view.paneOf(side);
      const { x, y, k } = view.cameras[side];
      this.ctx.save();
      this.ctx.beginPath();
      this.ctx.rect(left, 0, width, height);
      this.ctx.clip();
      this.ctx.translate(left + width / 2 - x * k, -y * k);
      this.ctx.scale(k, k);
      this.seen = {
        k, top: y, low: y - 40, high: y + height / k + 40,
        left: x - width / k / 2, right: x + width / k / 2,
      };
      this.side(side);
      this.ctx.restore();
    }
  }

  topOf(box) {
    const { boxes } = this.scene;
    return this.view.made.top[boxes.rank[box]] + boxes.top[box];
  }

  // Across the gutter: a band for what is selected, dots between what stands alone.
  links() {
    const { ctx, view } = this;
    const { boxes } = this.scene;
    const [{ y, k }] = view.cameras;
    const last = view.rankAt(y + view.size.height / k);
    ctx.lineWidth = 1.5;
    for (let rank = Math.max(view.rankAt(y) - 1, 0); rank <= last; rank++) {
      for (const box of this.scene.inRank[rank] ?? []) {
        const layer = boxes.layer[box];
        if (layer < 0 || !boxes.left[box] || !boxes.right[box] || !view.made.shown(box)) continue;
        const chosen = this.marked.has(layer);
        const pointed = this.pointed.has(layer);
        const alone = k >= TEXT_FROM && view.made.alone.every((set) => set.has(box));
        if (!chosen && !pointed && !alone) continue;
        const edge = (side, down) => {
          const spot = boxes[SIDES[side]][box];
          const { left, width } = view.paneOf(side);
          const camera = view.cameras[side];
          const x = spot[0] + (side ? -spot[1] : spot[2]);
          return [(x - camera.x) * camera.k + left + width / 2,
            (this.topOf(box) + boxes.height[box] * down - camera.y) * camera.k];
        };
        const corners = chosen ? [edge(0, 0), edge(1, 0), edge(1, 1), edge(0, 1)]
          : [edge(0, 0.5), edge(1, 0.5)];
        ctx.beginPath();
        corners.forEach((corner) => ctx.lineTo(...corner));
        [ctx.strokeStyle, ctx.fillStyle] = this.looks[layer];
        if (chosen) {
          ctx.closePath();
          ctx.fill();
        }
        ctx.setLineDash(chosen || pointed ? [] : [2, 4]);
        ctx.stroke();
      }
    }
    ctx.setLineDash([]);
  }

  side(side) {
    const { seen, view, scene } = this;
    const { made } = view;
    const spots = scene.boxes[SIDES[side]];
    const rows = [];
    const last = Math.min(view.rankAt(seen.high) + 1, scene.count - 1);
    for (let rank = Math.max(view.rankAt(seen.low) - 1, 0); rank <= last; rank++) {
      for (const box of scene.inRank[rank]) {
        const spot = spots[box];
        if (spot && made.shown(box) && spot[0] + spot[2] >= seen.left &&
            spot[0] - spot[1] <= seen.right) rows.push(box);
      }
    }
    if (seen.k >= 0.25) this.heads(side);
    if (seen.k < BOXES_FROM) {
      this.lines(side);
      this.specks(side, rows);
    } else {
      for (const box of rows) this.box(side, box);
      this.lines(side);
      if (side === 0) for (const box of rows) this.nodes(box);
      else if (view.notes) for (const box of rows) this.notes(box);
    }
    for (const [block, top] of made.bars) {
      if (top + BAR > seen.low && top < seen.high) this.bar(side, block, top);
    }
  }

  specks(side, rows) {
    const { boxes } = this.scene;
    const spots = boxes[SIDES[side]];
    const byColour = new Map();
    for (const box of rows) {
      if (boxes.border[box] || boxes.join[box]) continue;
      const [colour] = this.lookOf(side, boxes.layer[box], boxes.nodes[box]);
      if (!byColour.has(colour)) byColour.set(colour, []);
      byColour.get(colour).push(box);
    }
    for (const [colour, held] of byColour) {
      this.ctx.fillStyle = colour;
      this.ctx.beginPath();
      for (const box of held) {
        const [x, left, right] = spots[box];
        this.ctx.rect(x - left, this.topOf(box), left + right, boxes.height[box]);
      }
      this.ctx.fill();
    }
  }

  heads(side) {
    const { ctx, palette, seen, view } = this;
    const right = Math.max(view.made.reach[side][1], BAR_WIDTH / 2) + 10;
    for (const { block, y, end, depth } of view.made.heads) {
      if (end < seen.low || y > seen.high) continue;
      const x = view.headLeft(side) + 6 * depth;
      ctx.strokeStyle = palette.line;
      ctx.lineWidth = 1;
      ctx.strokeRect(x, y, right - 6 * depth - x, end + 8 - y);
      const colour = view.hover?.block === block ? palette.acc : palette.t3;
      this.text(`▾ ${plain(this.scene.blocks[block].label)}`, x + 6, y + 12, 260, { colour });
    }
  }

  lines(side) {
    const { ctx, palette, seen, view } = this;
    if (seen.k < 0.012) return;
    const { source, target } = this.scene.wires[side];
    const one = view.selected?.kind === (side ? "layer" : "node") ? view.selected.i : -2;
    const curved = seen.k >= 0.3;
    const strong = [];
    ctx.strokeStyle = ctx.fillStyle = palette.line2;
    ctx.lineWidth = Math.max(1.1, 0.5 / seen.k);
    ctx.beginPath();
    for (const line of view.made.lines[side]) {
      if (line.high < seen.low || line.low > seen.high) continue;
      if (source[line.wire] === one || target[line.wire] === one) strong.push(line);
      else this.trace(line.points, curved);
    }
    ctx.stroke();
    if (curved) {
      ctx.beginPath();
      for (const line of view.made.lines[side]) {
        if (line.tip >= seen.low && line.tip <= seen.high) this.tip(line);
      }
      ctx.fill();
    }
    ctx.strokeStyle = palette.acc;
    ctx.lineWidth = Math.max(2.2, 1.2 / seen.k);
    ctx.beginPath();
    for (const line of strong) this.trace(line.points, curved);
    ctx.stroke();
  }

  trace(points, curved) {
    const { ctx } = this;
    ctx.moveTo(points[0], points[1]);
    for (let at = 2; at < points.length; at += 2) {
      const [x0, y0, x, y] = [points[at - 2], points[at - 1], points[at], points[at + 1]];
      const middle = (y0 + y) / 2;
      if (curved && x !== x0) ctx.bezierCurveTo(x0, middle, x, middle, x, y);
      else ctx.lineTo(x, y);
    }
  }

  tip({ points, tip: y }) {
    const { ctx } = this;
    const x = points.at(-2);
    const level = points.at(-3) === y; // into the side of a node
    const back = x + 6 * Math.sign(points.at(-4) - x);
    ctx.moveTo(x, y);
    ctx.lineTo(level ? back : x - 3.5, level ? y - 3.5 : y - 6);
    ctx.lineTo(level ? back : x + 3.5, level ? y + 3.5 : y - 6);
    ctx.closePath();
  }

  // A box, heavy when it is selected, with an accent for hits and under the pointer.
  frame(x, y, width, height, corner, fill, [colour, thick, dash = []], { chosen, found, over }) {
    const { ctx, palette } = this;
    ctx.beginPath();
    ctx.roundRect(x, y, width, height, corner);
    ctx.fillStyle = fill;
    ctx.fill();
    ctx.strokeStyle = chosen ? palette.t1 : over ? palette.acc : colour;
    ctx.lineWidth = chosen ? 2.6 : over ? 2 : thick;
    ctx.setLineDash(chosen ? [] : dash);
    ctx.stroke();
    ctx.setLineDash([]);
    if (!found) return;
    ctx.beginPath();
    ctx.roundRect(x - 2.5, y - 2.5, width + 5, height + 5, corner + 2);
    ctx.strokeStyle = palette.acc;
    ctx.lineWidth = 3;
    ctx.stroke();
  }

  marksOf(layers, found) {
    return {
      chosen: layers.some((layer) => this.marked.has(layer)),
      over: layers.some((layer) => this.pointed.has(layer)),
      found,
    };
  }

  nodeMarks(node) {
    const is = (one) => one?.kind === "node" && one.i === node;
    const { selected, hover, hits } = this.view;
    return {
      chosen: is(selected), over: is(hover?.one), found: hits?.keys.has(`node${node}`),
    };
  }

  hit(layer) {
    return this.view.hits?.keys.has(`layer${layer}`);
  }

  box(side, box) {
    const { palette, seen } = this;
    const { boxes, layers } = this.scene;
    const [middle, left, right] = boxes[SIDES[side]][box];
    const [x, y, width, height] = [middle - left, this.topOf(box), left + right, boxes.height[box]];
    if (boxes.join[box]) {
      this.ctx.fillStyle = palette.line2;
      return this.ctx.fillRect(x, y, width, height);
    }
    if (boxes.border[box]) {
      const look = { align: "center", colour: palette.t2, mono: true };
      return this.text(plain(boxes.border[box]), middle, y + height / 2, 240, look);
    }
    const layer = boxes.layer[box];
    const held = boxes.nodes[box];
    if (layer < 0) return this.gone(held[0], x, y, width, height);
    if (!held.length && !layers.tag[layer]) {
      const marks = this.marksOf([layer], this.hit(layer));
      return this.added(this.kind(layer), layers.title[layer], this.looks[layer], marks,
        [x, y, width, height]);
    }
    const [colour, fill] = this.lookOf(side, layer, held);
    const found = side === 1 || held.length > 1 ? this.hit(layer)
      : this.nodeMarks(held[0]).found;
    this.frame(x, y, width, height, 3, fill, [colour, 1.3], this.marksOf([layer], found));
    if (this.kind(layer) === "opaque") this.hatch(x, y, width, height, colour);
    if (side === 1) {
      this.ctx.fillStyle = colour;
      this.ctx.fillRect(x, y, 5, height);
      if (seen.k >= TEXT_FROM) this.layerText(layer, x, y, width, height);
    } else if (held.length > 1) {
      this.words([[layers.tag[layer], true], [boxes.title[box], false, palette.t2]], x + 8, y + 13,
        width - 14);
    } else {
      const used = this.otherTags(held[0], layer, x + width, y);
      this.nodeWords(held[0], layers.tag[layer], x + 8, y + height / 2, width - 14 - used);
    }
  }

  // On the left a set has the colour of its kind, or else each of its layers its own.
  lookOf(side, layer, held) {
    if (side || !this.nodeLooks || !held.length || (layer >= 0 && this.mode.id === "kind")) {
      return this.looks[layer] ?? this.bare;
    }
    return held.length > 1 ? this.bare : this.nodeLooks[held[0]];
  }

  // A node's name and what stands beside it: of an engine's layer its value, if it has one.
  nodeWords(node, tag, x, y, width, centred = false) {
    const { nodes } = this.scene;
    const value = this.mode.node_texts?.[node];
    const used = value
      ? 6 + this.text(value, x + width, y, width * 0.45, { align: "right", bold: true }) : 0;
    this.words([[tag, true], [nodes.label[node]],
      [value ? "" : nodes.sub[node], false, this.palette.t3]], x, y, width - used, centred && !used);
  }

  hatch(x, y, width, height, colour) {
    const { ctx } = this;
    ctx.save();
    ctx.beginPath();
    ctx.rect(x, y, width, height);
    ctx.clip();
    ctx.globalAlpha = 0.2;
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let at = x - height; at < x + width; at += 9) {
      ctx.moveTo(at, y + height);
      ctx.lineTo(at + height, y);
    }
    ctx.stroke();
    ctx.restore();
  }

  added(kind, title, look, marks, [x, y, width, height]) {
    const line = [look[0], 1.3, kind === "sync, shape" ? [3, 2] : []];
    const corner = kind === "not named" ? 3 : height / 2;
    this.frame(x, y, width, height, corner, this.palette.bg, line, marks);
    const sign = kind === "data movement" ? "+ " : "";
    this.text(sign + plain(title), x + width / 2, y + height / 2,
      width - 18, { align: "center" });
  }

  gone(node, x, y, width, height) {
    const { palette } = this;
    const { nodes } = this.scene;
    const marks = this.nodeMarks(node);
    const set = setOf(this.scene, { kind: "node", i: node });
    if (set && !set.linked) {
      return this.added(set.kind, nodes.label[node], this.nodeLooks[node], marks,
        [x, y, width, height]);
    }
    if (set) {
      const [line, fill] = this.nodeLooks[node];
      this.frame(x, y, width, height, 3, fill, [line, 1.3], marks);
      return this.nodeWords(node, set.tag, x + 8, y + height / 2, width - 14);
    }
    const colour = nodes.state[node] === "unexplained" ? palette.warn : palette.kinds.removed;
    this.frame(x, y + 2, width, height - 4, 3, palette.bg, [colour, 1.2, [4, 3]], marks);
    const look = { align: "right", colour };
    const word = this.text(nodes.word[node], x + width - 7, y + height / 2, width / 2, look);
    this.words([[nodes.label[node]], [nodes.sub[node], false, palette.t3]], x + 8,
      y + height / 2, width - word - 22);
  }

  nodes(box) {
    const { palette, seen } = this;
    const { boxes, nodes } = this.scene;
    const top = this.view.made.top[boxes.rank[box]];
    for (const node of boxes.nodes[box]) {
      const place = nodes.place[node];
      if (!place) continue;
      const [x, y, width] = [place[0] - place[2], top + place[1], 2 * place[2]];
      if (y > seen.high || y + NODE < seen.low) continue;
      const [line, fill] = this.nodeLooks?.[node] ?? [palette.line2, palette.bg];
      this.frame(x, y, width, NODE, 3, fill, [line, 0.9], this.nodeMarks(node));
      const used = this.otherTags(node, boxes.layer[box], x + width, y - 3);
      this.nodeWords(node, "", x + 7, y + NODE / 2, width - 12 - used, true);
    }
  }

  // A node in several layers stands in one of them and names the others.
  otherTags(node, layer, right, y) {
    const { layers, nodes } = this.scene;
    let used = 0;
    for (const other of nodes.layers[node].filter((one) => one !== layer).slice(0, 2)) {
      const tag = layers.tag[other] || "+";
      const width = 12 + 6.5 * tag.length;
      const x = right - used - width - 4;
      this.frame(x, y + 6, width, 16, 3, this.looks[other][1], [this.looks[other][0], 1.2], {});
      this.text(tag, x + width / 2, y + 14, width, { align: "center" });
      used += width + 3;
    }
    return used;
  }

  layerText(layer, x, y, width, height) {
    const { palette, seen } = this;
    const { layers } = this.scene;
    const value = this.mode.texts[layer];
    const [type, from, format] = layers.lines[layer];
    const title = [[layers.tag[layer], true], [layers.title[layer]]];
    if (height < 44) {
      const whole = this.width(`${layers.tag[layer]} ${layers.title[layer]} ${type}`);
      const last = value || (whole < width - 40 ? type : "");
      const look = { align: "right", colour: value ? palette.t1 : palette.t3, bold: Boolean(value) };
      const used = this.text(plain(last), x + width - 8, y + height / 2, width * 0.45, look);
      return this.words(title, x + 13, y + height / 2, width - 29 - used);
    }
    const room = Math.floor((height - 26) / 17);
    const lines = [value, type, ...this.wrapped(plain(from), width - 21, room - 2), format]
      .filter(Boolean).slice(0, room);
    // A tall box keeps its words in sight.
    const tall = 17 * (lines.length + 1);
    const begin = Math.min(Math.max(y + Math.min(12, (height - tall) / 2), seen.top + 6),
      y + height - tall - 6) + 8;
    this.words(title, x + 13, begin, width - 21);
    lines.forEach((line, at) => {
      const look = line === value ? { bold: true } : { colour: palette.t2 };
      this.text(plain(line), x + 13, begin + 17 * (at + 1), width - 21, look);
    });
  }

  notes(box) {
    const { palette } = this;
    const { boxes } = this.scene;
    const [middle, left, right] = boxes.right[box];
    const begin = this.topOf(box);
    for (const [note, y] of [[boxes.before[box], begin - NOTE + 2],
      [boxes.after[box], begin + boxes.height[box] + 5]]) {
      if (!note) continue;
      const [words, layers] = [plain(note[0]), note[1]];
      const width = Math.min(left + right + 8, 22 + this.width(words));
      const marks = this.marksOf(layers, layers.some((layer) => this.hit(layer)));
      const line = [palette.kinds["sync, shape"], 1.1, [3, 2]];
      this.frame(middle - width / 2, y, width, 19, 9.5, palette.bg, line, marks);
      this.text(words, middle, y + 10, width - 12, { align: "center", colour: palette.t2 });
    }
  }

  bar(side, number, y) {
    const { palette, view } = this;
    const block = this.scene.blocks[number];
    const x = -BAR_WIDTH / 2;
    const hits = view.hits?.list.filter((one) => view.inBlock(one, block, side)).length;
    this.frame(x, y, BAR_WIDTH, BAR, 4, palette.sub, [palette.line2, 1.2], {
      chosen: block.layers.some((layer) => this.marked.has(layer)),
      found: hits,
      over: view.hover?.block === number,
    });
    this.strip(this.ctx, side, block, x + 6, y + BAR - 9, BAR_WIDTH - 12, 4);
    const groups = block.layers.filter((layer) => this.scene.layers.tag[layer]).length;
    const [all, word] = side ? [block.layers.length, "layer"]
      : [block.nodes, this.nodeLooks ? "layer" : "node"];
    const right = hits ? plural(hits, "hit")
      : plural(all, word) + (side && !this.nodeLooks ? `, ${plural(groups, "group")}` : "");
    const look = { align: "right", colour: hits ? palette.acc : palette.t2 };
    const used = this.text(right, x + BAR_WIDTH - 8, y + 16, 140, look);
    const alike = block.alike > 1 ? `×${block.alike} alike` : "";
    this.words([["▸", false, palette.t3], [block.label, true], [alike, false, palette.t3]],
      x + 8, y + 16, BAR_WIDTH - used - 26);
  }

  // What is in a folded block, in the colours of the present mode.
  strip(ctx, side, block, x, y, width, height) {
    const looks = !side && this.nodeLooks
      ? this.scene.nodesOf(block).map((node) => this.nodeLooks[node])
      : block.layers.filter((layer) => this.scene.layers.tag[layer]).map((i) => this.looks[i]);
    const each = width / Math.max(looks.length, 1);
    looks.forEach((look, at) => {
      ctx.fillStyle = look[2];
      ctx.fillRect(x + at * each, y, Math.max(each - (each > 4 ? 1 : 0), 0.5), height);
    });
  }

  // ---- Text

  font(bold, mono) {
    return `${bold ? "600 " : ""}12px ${mono ? MONO : FONT}`;
  }

  width(text, bold = false, mono = false) {
    this.ctx.font = this.font(bold, mono);
    return this.ctx.measureText(text).width;
  }

  // Cut in the middle to what fits; measured once.
  cut(text, room, bold, mono) {
    const key = `${bold}${mono}${Math.floor(room)} ${text}`;
    if (!this.cuts.has(key)) {
      if (this.cuts.size > 20000) this.cuts.clear();
      let shown = text;
      let width = this.width(text, bold, mono);
      for (let keep = text.length - 1; width > room && keep > 0;) {
        const left = Math.ceil(keep * 0.65);
        shown = `${text.slice(0, left)}…${text.slice(text.length - keep + left)}`;
        width = this.width(shown, bold, mono);
        keep = Math.min(keep - 1, Math.floor((keep * room) / Math.max(width, 1)));
      }
      this.cuts.set(key, width > room ? { text: "", width: 0 } : { text: shown, width });
    }
    return this.cuts.get(key);
  }

  put(fitted, x, y, align, bold, colour, mono) {
    const { ctx } = this;
    ctx.font = this.font(bold, mono);
    ctx.textAlign = align;
    ctx.textBaseline = "middle";
    ctx.fillStyle = colour ?? this.palette.t1;
    ctx.fillText(fitted.text, x, y + 0.5);
  }

  text(text, x, y, room, { align = "left", colour, bold = false, mono = false } = {}) {
    if (!text || this.seen.k < TEXT_FROM) return 0;
    const fitted = this.cut(text, room, bold, mono);
    this.put(fitted, x, y, align, bold, colour, mono);
    return fitted.width;
  }

  // Several texts in a row: [text, bold, colour]; the last ones get what is left.
  words(parts, x, y, room, centred = false) {
    if (this.seen.k < TEXT_FROM) return;
    const fitted = [];
    let used = 0;
    for (const [text, bold = false, colour] of parts) {
      if (!text || (used && room - used < 22)) continue;
      const one = this.cut(plain(text), room - used, bold, false);
      fitted.push([one, bold, colour]);
      used += one.width + 6;
    }
    let at = x + (centred ? Math.max(0, (room - used + 6) / 2) : 0);
    for (const [one, bold, colour] of fitted) {
      this.put(one, at, y, "left", bold, colour, false);
      at += one.width + 6;
    }
  }

  // Broken between operators into lines, if there is room for several.
  wrapped(text, room, most) {
    const lines = [];
    for (const part of text.split(" + ")) {
      const longer = lines.length ? `${lines.at(-1)} + ${part}` : part;
      if (!lines.length || (lines.length < most && this.width(`${longer} +`) > room)) {
        if (lines.length) lines.push(`${lines.pop()} +`);
        lines.push(part);
      } else lines[lines.length - 1] = longer;
    }
    return lines;
  }

  // ---- Minimap: drawn once for all frames, then only the window on it

  mapScale() {
    return Math.min(0.25, this.view.map.clientHeight / (this.view.made.total + 2 * PAD));
  }

  paintMap() {
    const { view, palette } = this;
    const { map } = view;
    const [width, height] = [map.clientWidth, map.clientHeight];
    if (!width || !height) return;
    if (!this.mapped) {
      this.mapped = document.createElement("canvas");
      this.mapped.width = map.width;
      this.mapped.height = map.height;
      const ctx = this.mapped.getContext("2d");
      ctx.scale(devicePixelRatio, devicePixelRatio);
      ctx.fillStyle = palette.sub;
      ctx.fillRect(0, 0, width, height);
      for (const side of [0, 1]) this.mapSide(ctx, side, width / 2);
    }
    const ctx = map.getContext("2d");
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.drawImage(this.mapped, 0, 0);
    ctx.scale(devicePixelRatio, devicePixelRatio);
    ctx.strokeStyle = palette.acc;
    ctx.lineWidth = 2;
    const k = this.mapScale();
    const together = view.pane === "both" && view.sync;
    for (const side of together ? [0] : view.sides()) {
      const camera = view.cameras[side];
      const tall = Math.min(Math.max(8, (view.size.height / camera.k) * k), height - 2);
      ctx.strokeRect(together ? 1 : side * (width / 2) + 1, (camera.y + PAD) * k + 1,
        together ? width - 2 : width / 2 - 2, tall);
    }
  }

  mapSide(ctx, side, width) {
    const { palette, view } = this;
    const { blocks, boxes } = this.scene;
    const k = this.mapScale();
    const [low, high] = view.made.reach[side];
    const across = Math.min(Math.max(k * 2.5, 0.05), (width - 8) / (high - low + 1));
    const middle = width * (side + 0.5) - ((low + high) / 2) * across;
    boxes[SIDES[side]].forEach((spot, box) => {
      if (!spot || !view.made.shown(box) || boxes.border[box] || boxes.join[box]) return;
      const layer = boxes.layer[box];
      const hit = side || boxes.nodes[box].length === 0 ? this.hit(layer)
        : boxes.nodes[box].some((node) => view.hits?.keys.has(`node${node}`));
      ctx.fillStyle = hit ? palette.acc : this.lookOf(side, layer, boxes.nodes[box])[2];
      ctx.fillRect(middle + (spot[0] - spot[1]) * across, (this.topOf(box) + PAD) * k,
        Math.max((spot[1] + spot[2]) * across, 1), Math.max(boxes.height[box] * k, 0.6));
    });
    for (const [block, y] of view.made.bars) {
      this.strip(ctx, side, blocks[block], middle - (BAR_WIDTH / 2) * across, (y + PAD) * k,
        BAR_WIDTH * across, Math.max(BAR * k, 1));
    }
  }
}
