// The view: controls, cameras, selection, pointer and keys.

const GUTTER = 40;
const LEAST_ZOOM = 0.7; // that the first view takes, wide as the graph may be
const PANES = ["before", "both", "after"];

class View {
  constructor(model, el) {
    this.begun = performance.now();
    this.model = model;
    this.scene = prepare(JSON.parse(model.get("_scene")));
    this.open = new Set(this.scene.folded ? [] : this.scene.blocks.keys());
    this.notes = this.scene.notes;
    this.focus = null; // the boxes that alone are shown
    this.pane = "both";
    this.sync = true;
    this.cameras = [0, 1].map(() => ({ x: 0, y: 0, k: 1 }));
    this.selected = this.hover = this.hits = null;
    this.painter = new Painter(this);
    this.panel = new Panel(this.scene, this.painter, (one) => this.select(one));
    this.build(el);
    this.listeners = {
      "change:theme": () => this.restyle(),
      "change:colour": () => this.restyle(),
      "change:height": () => this.setHeight(),
      "change:selected": () => this.takeSelected(),
    };
    for (const [name, listener] of Object.entries(this.listeners)) model.on(name, listener);
    this.setHeight();
    this.shape();
    this.restyle();
    this.takeSelected();
    this.measure = new ResizeObserver(() => this.resize());
    this.measure.observe(this.stage);
  }

  remove() {
    this.removed = true;
    this.measure.disconnect();
    for (const [name, listener] of Object.entries(this.listeners)) this.model.off(name, listener);
  }

  // ---- Controls

  build(el) {
    const { scene } = this;
    const button = (text, label, onclick) =>
      make("button", { type: "button", title: label, "aria-label": label, onclick }, text);
    const check = (text, checked, change) => {
      const onchange = (event) => change(event.target.checked);
      return make("label", {}, make("input", { type: "checkbox", checked, onchange }), text);
    };
    this.search = make("input", {
      type: "search", placeholder: `Search ${scene.search}   /`,
      "aria-label": `Search ${scene.search}`,
      oninput: () => this.find(this.search.value),
    });
    this.found = make("span", { className: "hint", role: "status" });
    this.panes = PANES.map((pane, i) =>
      button(scene.panes[i], `Show ${scene.panes[i]}`, () => this.show(pane)));
    const onchange = () => {
      this.model.set("colour", this.colours.value);
      this.model.save_changes();
    };
    this.colours = make("select", { "aria-label": "Colour by", onchange },
      ...scene.modes.map(({ id, name, reason }) => make("option",
        { value: id, disabled: Boolean(reason) }, reason ? `${name} (${reason})` : name)));
    this.steps = make("select", {
      "aria-label": "Steps around the selection", onchange: () => this.focus && this.focusOn(),
    }, ...[1, 2, 3, 5, 8].map((n) => make("option", { value: n }, plural(n, "step"))));
    this.steps.value = 2;
    this.focuser = button("", "Show only what is near the selection", () =>
      this.focus ? this.unfocus() : this.focusOn());
    this.focusing = make("div", { className: "group" }, this.focuser, this.steps);
    this.folder = button("", "Fold or open all blocks", () => this.foldAll());
    this.tabler = button("Table", "The same as a table", () => this.tabulate());
    this.noting = check("sync layers", this.notes, (on) => this.reshape(() => (this.notes = on)));
    this.noting.hidden = !scene.noted.size;
    this.folder.hidden = !scene.blocks.length;
    const bar = make("div", { className: "bar" }, this.search, this.found,
      make("div", { className: "group", role: "group", "aria-label": "Sides" }, ...this.panes),
      make("label", {}, "Colour ", this.colours),
      check("sync", true, (on) => this.setSync(on)), this.noting, this.folder,
      make("span", { className: "space" }),
      button("−", "Zoom out", () => this.zoom(0.8)), button("+", "Zoom in", () => this.zoom(1.25)),
      button("Width", "Fit the width", () => this.home()),
      button("Fit", "Fit the whole graph", () => this.fitAll()), this.tabler);
    const [left, right] = scene.heads.map(plain);
    this.heads = [
      make("span", { title: left }, left),
      make("span", { title: right }, `${right} `, badge(scene.recorded ? "recorded" : "builder")),
    ];
    this.canvas = make("canvas", {
      tabIndex: 0, role: "application",
      "aria-label": `${plain(scene.title)}: ${left}, ${right}. Arrow keys follow ` +
        "edges, brackets go from group to group, slash searches, T shows a table.",
    });
    this.stage = make("div", { className: "stage" }, this.canvas);
    this.column = make("div", { className: "column" },
      make("div", { className: "heads" }, ...this.heads), this.stage);
    this.map = make("canvas", { className: "map", "aria-hidden": "true" });
    this.table = make("div", { className: "table", hidden: true, tabIndex: 0 });
    this.card = make("aside", { className: "card", "aria-label": "Selection", tabIndex: 0 });
    this.legend = make("div", { className: "legend" });
    this.said = make("div", { className: "unseen", "aria-live": "polite" });
    this.root = make("div", {
      className: "trtlab-graph", role: "region", "aria-label": "Two sides of a graph",
      "data-lm-suppress-shortcuts": "true", onkeydown: (event) => this.key(event),
    }, make("style", {}, STYLE), bar,
    make("div", { className: "main" }, this.column, this.map, this.table, this.card),
    this.legend, this.said);
    this.root.style.setProperty("--font", FONT);
    this.root.style.setProperty("--mono", MONO);
    this.listen();
    el.append(this.root);
  }

  // Where the card is below the drawing, there is room for it.
  setHeight() {
    const below = this.root.classList.contains("narrow") ? 190 : 0;
    this.root.style.height = `${this.model.get("height") + below}px`;
  }

  restyle() {
    const theme = this.model.get("theme");
    const palette = this.model.get("_palette")[theme];
    this.root.dataset.theme = theme;
    for (const [name, colour] of Object.entries(palette)) {
      if (typeof colour === "string") {
        this.root.style.setProperty(`--${name.replace("_", "-")}`, colour);
      }
    }
    const mode = this.scene.modes.find(({ id }) => id === this.model.get("colour"));
    this.colours.value = mode.id;
    this.painter.tint(mode, palette);
    this.legend.replaceChildren(...this.panel.legend());
    this.drawCard();
    this.draw();
  }

  drawCard() {
    const one = this.selected;
    const look = this.painter.looks[this.layersOf(one)[0]] ?? this.painter.bare;
    this.card.style.borderTopColor = look[0];
    this.card.replaceChildren(...this.panel.card(one),
      ...(one || this.focus ? [this.focusing] : []));
    this.card.scrollTop = 0;
  }

  tabulate() {
    const show = this.table.hidden;
    if (!this.table.firstChild) this.table.append(...this.panel.tables());
    this.table.hidden = !show;
    this.column.hidden = this.map.hidden = show;
    this.tabler.setAttribute("aria-pressed", show);
    (show ? this.table : this.canvas).focus();
  }

  // ---- What is shown

  shape() {
    this.made = geometry(this.scene, this);
    this.painter.mapped = null;
    const all = this.open.size === this.scene.blocks.length;
    this.folder.textContent = all ? "Fold all" : "Open all";
    PANES.forEach((pane, i) => this.panes[i].setAttribute("aria-pressed", pane === this.pane));
    this.heads[0].hidden = this.pane === "after";
    this.heads[1].hidden = this.pane === "before";
    this.focuser.textContent = this.focus ? "Back to all" : "Focus on";
    this.draw();
  }

  // Change heights while a rank stays where it is: the given one, or what is at the top.
  reshape(change, rank = this.rankAt(this.cameras[this.sides()[0]].y + 40)) {
    const before = this.made.top[rank] ?? 0;
    change();
    this.shape();
    const after = this.made.top[rank] ?? 0;
    const fitting = this.fitting();
    for (const camera of this.cameras) {
      const k = Math.min(camera.k, fitting);
      camera.y = after - ((before - camera.y) * camera.k) / k;
      camera.k = k;
    }
    this.clamp();
  }

  toggle(block) {
    this.reshape(() => this.open.delete(block) || this.open.add(block),
      Math.max(this.scene.blocks[block].first - 1, 0));
  }

  foldAll() {
    const all = this.open.size === this.scene.blocks.length;
    this.reshape(() => (this.open = new Set(all ? [] : this.scene.blocks.keys())));
  }

  setSync(on) {
    this.sync = on;
    if (on) Object.assign(this.cameras[1], { y: this.cameras[0].y, k: this.cameras[0].k });
    this.draw();
  }

  show(pane) {
    this.pane = pane;
    if (!this.table.hidden) this.tabulate();
    this.reshape(() => {});
  }

  focusOn() {
    let edge = this.boxesOf(this.selected);
    if (!edge.length) return;
    this.kept ??= this.cameras.map((camera) => ({ ...camera }));
    this.focus = new Set(edge);
    for (let step = 0; step < Number(this.steps.value); step++) {
      edge = edge.flatMap((box) => this.scene.beside[box]).filter((box) => !this.focus.has(box));
      edge.forEach((box) => this.focus.add(box));
    }
    this.shape();
    this.home();
    this.reveal(this.selected);
  }

  unfocus() {
    this.focus = null;
    this.shape();
    this.cameras = this.kept;
    this.kept = null;
    this.reveal(this.selected);
    this.drawCard();
    this.clamp();
  }

  // ---- Selection

  takeSelected() {
    const found = this.scene.byKey.get(this.model.get("selected")) ?? null;
    if (found === this.selected) return;
    this.selected = found;
    this.reveal(found);
    this.tell();
  }

  // `still` is the side that must not move: the pointer is there.
  select(one, still = -1) {
    this.selected = one && this.scene.byKey.get(this.scene.keys[one.kind][one.i]);
    this.model.set("selected", one ? this.scene.keys[one.kind][one.i] : "");
    this.model.save_changes();
    this.reveal(one, still);
    this.tell();
  }

  tell() {
    this.said.textContent = this.panel.sentence(this.selected);
    this.drawCard();
    this.draw();
  }

  layersOf(one) {
    if (!one) return [];
    const set = setOf(this.scene, one);
    if (set?.linked) return set.layers;
    return one.kind === "layer" ? [one.i] : this.scene.nodes.layers[one.i];
  }

  boxesOf(one) {
    const boxes = this.layersOf(one).map((layer) => this.scene.boxOfLayer[layer]);
    if (one?.kind === "node") boxes.unshift(this.scene.nodes.box[one.i]);
    return [...new Set(boxes)].filter((box) => box >= 0);
  }

  // Open what hides a selection and bring it into view, on each side but `still`.
  reveal(one, still = -1) {
    const boxes = this.boxesOf(one);
    if (!boxes.length || !this.size) return;
    if (this.focus && !boxes.every((box) => this.focus.has(box))) this.unfocus();
    const { blocks, boxes: all } = this.scene;
    const hidden = this.focus ? [] : [...blocks.keys()].filter((block) => !this.open.has(block) &&
      boxes.some((box) => blocks[block].first <= all.rank[box] &&
        all.rank[box] <= blocks[block].last));
    if (hidden.length) this.reshape(() => hidden.forEach((block) => this.open.add(block)));
    if (!this.notes && one.kind === "layer" && this.scene.noted.has(one.i)) {
      this.noting.firstChild.checked = true;
      this.reshape(() => (this.notes = true));
    }
    for (const side of this.sides()) {
      const box = boxes.find((b) => all[SIDES[side]][b]);
      if (side === still || box === undefined) continue;
      const camera = this.cameras[side];
      const { width, height } = this.paneOf(side);
      const [x, left, right] = all[SIDES[side]][box];
      const y = this.painter.topOf(box);
      const [tall, wide] = [height / camera.k, width / camera.k / 2];
      const need = Math.min(all.height[box], tall);
      if ((still < 0 || !this.sync) && (y < camera.y || y + need > camera.y + tall)) {
        camera.y = y + (need - tall) / 2;
        if (this.sync) this.cameras[1 - side].y = camera.y;
      }
      if (x - left < camera.x - wide || x + right > camera.x + wide) camera.x = x;
    }
    this.clamp();
  }

  find(text) {
    const wanted = text.trim().toLowerCase();
    const { nodes, layers } = this.scene;
    const list = [];
    const look = (kind, names) => names.forEach((words, i) => {
      if (wanted && words.toLowerCase().includes(wanted)) list.push({ kind, i });
    });
    look("node", nodes.name.map((name, i) => `${nodes.op[i]} ${name}`));
    look("layer", layers.name.map((name, i) => `${layers.tag[i]} ${layers.lines[i][0]} ${name}`));
    const keys = new Set(list.map(({ kind, i }) => kind + i));
    this.hits = wanted ? { list, keys, at: -1 } : null;
    this.tellHits();
    this.painter.mapped = null;
    this.draw();
  }

  tellHits() {
    const { hits } = this;
    this.found.textContent = !hits ? "" : !hits.list.length ? "no hits"
      : hits.at < 0 ? plural(hits.list.length, "hit") : `${hits.at + 1} of ${hits.list.length}`;
  }

  nextHit(step) {
    const { hits } = this;
    if (!hits?.list.length) return;
    hits.at = (Math.max(hits.at, step < 0 ? 0 : -1) + step + hits.list.length) % hits.list.length;
    this.select(hits.list[hits.at]);
    this.tellHits();
  }

  nextGroup(step) {
    const tagged = this.scene.layers.tag.flatMap((tag, i) => (tag ? [i] : []));
    const now = tagged.indexOf(this.layersOf(this.selected)[0]);
    const at = Math.max(now, step < 0 ? 0 : -1) + step + tagged.length;
    if (tagged.length) this.select({ kind: "layer", i: tagged[at % tagged.length] });
  }

  // Along the edges up and down; to the neighbour on the same height left and right.
  follow(way) {
    const one = this.selected;
    if (!one) return this.enter();
    const side = one.kind === "node" ? 0 : 1;
    if (way === "up" || way === "down") {
      const [next] = this.scene.near[side][way][one.i];
      if (next !== undefined) this.select({ kind: one.kind, i: next });
      return;
    }
    const spots = this.scene.boxes[SIDES[side]];
    const [box] = this.boxesOf(one);
    const row = (this.scene.inRank[this.scene.boxes.rank[box]] ?? [])
      .filter((other) => spots[other] && this.thing(other, side))
      .sort((a, b) => spots[a][0] - spots[b][0]);
    const next = row[row.indexOf(box) + (way === "left" ? -1 : 1)];
    if (next !== undefined) this.select(this.thing(next, side));
    else if ((way === "right") === (side === 0)) this.enter();
  }

  thing(box, side) {
    const { nodes, layer } = this.scene.boxes;
    if (side === 0) return nodes[box].length ? { kind: "node", i: nodes[box][0] } : null;
    return layer[box] >= 0 ? { kind: "layer", i: layer[box] } : null;
  }

  // Select the partner of what is selected, or what is in the middle of the view.
  enter() {
    const { nodes, layers, inRank } = this.scene;
    const one = this.selected;
    if (one) {
      const set = setOf(this.scene, one);
      const [kind, held] = one.kind === "node" ? ["layer", set?.layers ?? nodes.layers[one.i]]
        : ["node", set?.nodes ?? layers.nodes[one.i]];
      if (held.length) this.select({ kind, i: held[0] });
      return;
    }
    const [side] = this.sides();
    const { y, k } = this.cameras[side];
    const row = inRank.slice(this.rankAt(y + this.size.height / k / 3)).flat();
    const box = row.find((other) => this.made.shown(other) && this.thing(other, side));
    if (box !== undefined) this.select(this.thing(box, side));
  }

  inBlock({ kind, i }, block, side) {
    if ((kind === "node") !== (side === 0)) return false;
    const box = side === 0 ? this.scene.nodes.box[i] : this.scene.boxOfLayer[i];
    const rank = this.scene.boxes.rank[box];
    return rank >= block.first && rank <= block.last;
  }

  // ---- Cameras: x is in the middle of a pane, y at its top

  sides() {
    return this.pane === "both" ? [0, 1] : [this.pane === "before" ? 0 : 1];
  }

  paneOf(side) {
    const { width, height } = this.size;
    if (this.pane !== "both") return { left: 0, width, height };
    const half = (width - GUTTER) / 2;
    return { left: side * (half + GUTTER), width: half, height };
  }

  sideAt(x) {
    return this.pane === "both" ? Number(x > this.size.width / 2) : this.sides()[0];
  }

  headLeft(side) {
    const { x, k } = this.cameras[side];
    const low = Math.min(this.made.reach[side][0], -BAR_WIDTH / 2) - 10;
    return Math.max(low, x - this.paneOf(side).width / k / 2 + 4);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || !height) return;
    const first = !this.size;
    this.size = { width, height };
    this.root.classList.toggle("narrow", this.root.clientWidth < 860);
    this.setHeight();
    for (const canvas of [this.canvas, this.map]) {
      canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
      canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    }
    this.painter.mapped = null;
    if (first) {
      this.home();
      this.reveal(this.selected);
    }
    this.clamp();
  }

  // The zoom at which both sides are as wide as their panes, if that can be read.
  fitting(least = LEAST_ZOOM) {
    const fits = this.sides().map((side) => {
      const [low, high] = this.made.reach[side];
      return this.paneOf(side).width / (high - low + 2 * PAD);
    });
    return Math.max(least, Math.min(1.1, ...fits));
  }

  home(k = this.fitting()) {
    for (const side of [0, 1]) {
      const [low, high] = this.made.reach[side];
      const wide = high - low > this.paneOf(side).width / k;
      Object.assign(this.cameras[side], { k, y: -PAD, x: wide ? 0 : (low + high) / 2 });
    }
    this.clamp();
  }

  fitAll() {
    this.home(Math.min(this.fitting(0), this.size.height / (this.made.total + 2 * PAD)));
  }

  zoom(by, x = null, y = this.size.height / 3) {
    const at = x === null ? this.sides()[0] : this.sideAt(x);
    const { left, width, height } = this.paneOf(at);
    const px = x === null ? 0 : x - left - width / 2;
    const least = Math.min(0.2, height / (this.made.total + 2 * PAD));
    const k = Math.max(least, Math.min(3, this.cameras[at].k * by));
    for (const side of this.sync ? [0, 1] : [at]) {
      const camera = this.cameras[side];
      camera.x += px / camera.k - px / k;
      camera.y += y / camera.k - y / k;
      camera.k = k;
    }
    this.clamp();
  }

  // Move by pixels; false if there was nowhere to go.
  pan(dx, dy, at) {
    const before = JSON.stringify(this.cameras);
    for (const side of this.sync ? [0, 1] : [at]) {
      this.cameras[side].x += dx / this.cameras[side].k;
      this.cameras[side].y += dy / this.cameras[side].k;
    }
    this.clamp();
    return JSON.stringify(this.cameras) !== before;
  }

  clamp() {
    if (!this.size) return;
    for (const side of [0, 1]) {
      const camera = this.cameras[side];
      const { width, height } = this.paneOf(side);
      const [low, high] = this.made.reach[side];
      const slack = Math.max(0, (high - low + 2 * PAD - width / camera.k) / 2);
      const middle = (low + high) / 2;
      camera.x = Math.max(middle - slack, Math.min(middle + slack, camera.x));
      const last = Math.max(-PAD, this.made.total + PAD - height / camera.k);
      camera.y = Math.max(-PAD, Math.min(last, camera.y));
    }
    this.draw();
  }

  // The last rank that begins at this height or above it.
  rankAt(y) {
    let [low, high] = [0, Math.max(this.scene.count - 1, 0)];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.made.top[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // ---- Pointer and keys

  hit(px, py) {
    const side = this.sideAt(px);
    const camera = this.cameras[side];
    const { left, width } = this.paneOf(side);
    const x = (px - left - width / 2) / camera.k + camera.x;
    const y = py / camera.k + camera.y;
    for (const [block, top] of this.made.bars) {
      if (y >= top && y <= top + BAR && Math.abs(x) <= BAR_WIDTH / 2) return { block, side };
    }
    for (const head of this.made.heads) {
      if (y >= head.y && y <= head.y + 20 && x <= this.headLeft(side) + 240) {
        return { block: head.block, side };
      }
    }
    const rank = this.rankAt(y);
    for (const box of [rank, rank + 1, rank - 1].flatMap((r) => this.scene.inRank[r] ?? [])) {
      const spot = this.scene.boxes[SIDES[side]][box];
      if (!spot || !this.made.shown(box) || x < spot[0] - spot[1] || x > spot[0] + spot[2]) continue;
      const one = this.hitIn(box, side, x, y);
      if (one) return { one, side };
    }
    return null;
  }

  hitIn(box, side, x, y) {
    const { boxes, nodes } = this.scene;
    const begin = this.painter.topOf(box);
    const end = begin + boxes.height[box];
    if (side === 1 && this.notes) {
      for (const [note, from] of [[boxes.before[box], begin - NOTE], [boxes.after[box], end]]) {
        if (note && y >= from && y < from + NOTE) return { kind: "layer", i: note[1][0] };
      }
    }
    if (y < begin || y > end) return null;
    const rank = this.made.top[boxes.rank[box]];
    const node = side === 0 && boxes.nodes[box].find((n) => {
      const place = nodes.place[n];
      if (!place) return boxes.layer[box] < 0;
      return Math.abs(x - place[0]) <= place[2] && y >= rank + place[1] &&
        y <= rank + place[1] + NODE;
    });
    if (node !== undefined && node !== false) return { kind: "node", i: node };
    return boxes.layer[box] >= 0 ? { kind: "layer", i: boxes.layer[box] } : null;
  }

  point(found) {
    const name = (hit) => `${hit?.block} ${hit?.one?.kind} ${hit?.one?.i}`;
    this.canvas.style.cursor = found ? "pointer" : "grab";
    if (name(found) === name(this.hover)) return;
    this.hover = found;
    this.draw();
  }

  click(x, y) {
    const found = this.hit(x, y);
    if (found?.block !== undefined) this.toggle(found.block);
    else this.select(found?.one ?? null, found?.side ?? -1);
  }

  listen() {
    const { canvas, map } = this;
    const pointers = new Map();
    let moved = 0;
    let apart = 0;
    const on = (target, names, listener) => names.split(" ").forEach((name) =>
      target.addEventListener(name, listener, { passive: false }));
    on(canvas, "pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      moved = pointers.size > 1 ? Infinity : 0;
      apart = 0;
    });
    on(canvas, "pointermove", (event) => {
      const [x, y] = [event.offsetX, event.offsetY];
      const before = pointers.get(event.pointerId);
      if (!before) return this.point(this.hit(x, y));
      moved += Math.abs(x - before[0]) + Math.abs(y - before[1]);
      pointers.set(event.pointerId, [x, y]);
      if (pointers.size > 1) {
        const [[x0, y0], [x1, y1]] = pointers.values();
        const now = Math.hypot(x0 - x1, y0 - y1);
        if (apart) this.zoom(now / apart, (x0 + x1) / 2, (y0 + y1) / 2);
        apart = now;
      } else if (moved > 4) this.pan(before[0] - x, before[1] - y, this.sideAt(x));
    });
    on(canvas, "pointerup pointercancel", (event) => {
      if (pointers.delete(event.pointerId) && moved <= 4 && event.type === "pointerup") {
        this.click(event.offsetX, event.offsetY);
      }
    });
    on(canvas, "pointerleave", () => this.point(null));
    on(canvas, "wheel", (event) => {
      const unit = [1, 32, 400][event.deltaMode];
      let [dx, dy] = [event.deltaX * unit, event.deltaY * unit];
      if (event.ctrlKey || event.metaKey) {
        this.zoom(Math.exp(-Math.max(-60, Math.min(60, dy)) / 150), event.offsetX, event.offsetY);
        return event.preventDefault();
      }
      if (event.shiftKey && !dx) [dx, dy] = [dy, 0];
      if (this.pan(dx, dy, this.sideAt(event.offsetX))) event.preventDefault();
    });
    on(map, "pointerdown pointermove", (event) => {
      if (!(event.buttons & 1)) return;
      map.setPointerCapture(event.pointerId);
      const both = this.pane === "both";
      const side = both ? Number(event.offsetX > map.clientWidth / 2) : this.sides()[0];
      const y = event.offsetY / this.painter.mapScale() - PAD;
      for (const one of this.sync ? [0, 1] : [side]) {
        this.cameras[one].y = y - this.size.height / this.cameras[one].k / 2;
      }
      this.clamp();
    });
  }

  key(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target === this.search && key === "Enter") this.nextHit(event.shiftKey ? -1 : 1);
    else if (key === "Escape") this.escape();
    else if (/^(INPUT|SELECT)$/.test(target.tagName)) return;
    else if (key === "/") this.search.focus();
    else if (key === "+" || key === "=") this.zoom(1.25);
    else if (key === "-") this.zoom(0.8);
    else if (key === "0") this.home();
    else if (key === "[" || key === "]") this.nextGroup(key === "]" ? 1 : -1);
    else if (key === "t" || key === "T") this.tabulate();
    else if (target !== this.canvas) return;
    else if (key.startsWith("Arrow")) this.follow(key.slice(5).toLowerCase());
    else if (key === "Enter") this.enter();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  escape() {
    if (this.hits) {
      this.search.value = "";
      this.find("");
      this.canvas.focus();
    } else if (this.focus) this.unfocus();
    else this.select(null);
  }

  // One drawing a frame, however much has changed.
  draw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (this.removed || !this.size) return;
      this.painter.paint();
      this.painter.paintMap();
      this.root.dataset.drawMs ??= (performance.now() - this.begun).toFixed(1);
      this.root.dataset.ready = "1";
    });
  }
}

function render({ model, el }) {
  const view = new View(model, el);
  return () => view.remove();
}

export default { render };
