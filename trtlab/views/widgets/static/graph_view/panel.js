// What stands around the drawing: legend, card of the selection, and the table that is its twin.

const MARKS = { measured: "●", builder: "□", estimated: "∿", recorded: "◉" };

function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function badge(word, short = false) {
  return make("span", { className: `badge ${word}`, role: "img", title: word, "aria-label": word },
    short ? MARKS[word] : `${MARKS[word]} ${word}`);
}

function swatch(colour, key = "") {
  const mark = make("span", { className: "swatch" });
  const dashed = ["removed", "folded", "unexplained", "sync, shape"].includes(key);
  const hollow = dashed || key === "data movement" || key === "not named";
  mark.style.border = `1px ${dashed ? "dashed" : "solid"} ${colour}`;
  if (key === "data movement") mark.style.borderRadius = "5px";
  if (key === "opaque") {
    mark.style.background = `repeating-linear-gradient(135deg,${colour} 0 1px,transparent 1px 4px)`;
  } else if (!hollow) mark.style.background = colour;
  return mark;
}

function chip(text, colour) {
  return make("span", { className: "chip" }, ...(colour ? [swatch(colour)] : []), plain(text));
}

function facts(rows) {
  return make("dl", {}, ...rows.flatMap(([label, value, origin]) => [
    make("dt", {}, label),
    make("dd", {}, ...(Array.isArray(value) ? value : [plain(value)]),
      ...(origin ? [" ", badge(origin, true)] : [])),
  ]));
}

function some(items, most, one) {
  const rest = items.length > most ? [`and ${items.length - most} more`] : [];
  return [...items.slice(0, most).map(one), ...rest];
}

class Panel {
  constructor(scene, painter, select) {
    Object.assign(this, { scene, painter, select });
  }

  legend() {
    const { mode, palette } = this.painter;
    const items = [];
    if (mode.classes) {
      for (const [key, name, count] of mode.legend) {
        const colour = this.painter.classColour(mode, key, mode.classes.keys.indexOf(key));
        items.push(make("span", {}, swatch(colour, key), `${plain(name)} `, make("b", {}, count)));
      }
    } else {
      const ramp = make("span", { className: "ramp" });
      const ends = [0.03, palette.most].map((share) => blend(palette.heat, palette.bg, share));
      ramp.style.background = `linear-gradient(90deg,${ends})`;
      const [known, all] = mode.counts;
      items.push(make("span", {}, mode.low, ramp, mode.high, ` ${mode.scale} scale`),
        make("span", {}, mode.about, mode.about && ", ", `${known} of ${plural(all, "layer")}`));
    }
    if (mode.origin) items.push(badge(mode.origin));
    if (this.scene.note) items.push(make("span", { className: "hint" }, this.scene.note));
    return items;
  }

  card(one) {
    if (!one) return this.summary();
    const set = setOf(this.scene, one);
    if (set) return this.set(set, one);
    return one.kind === "node" ? this.node(one.i) : this.layer(one.i);
  }

  summary() {
    const { title, maker, recorded, summary } = this.scene;
    return [
      make("h3", {}, plain(title)),
      make("p", { className: "hint" }, `${plain(maker)} `,
        badge(recorded ? "recorded" : "builder")),
      facts(summary.slice(1)),
      make("p", { className: "hint" },
        "Click a box to see what is known of it. Drag or scroll to move, Ctrl and the wheel to " +
        "zoom. Keys: arrows along edges, Enter for the partner, [ ] from tag to tag, " +
        "/ search, + − 0 zoom, T table, Esc back."),
    ];
  }

  link(text, kind, i, whole = text) {
    const onclick = () => this.select({ kind, i });
    const title = plain(whole.slice(0, 300));
    return make("button", { type: "button", className: "link", title, onclick }, plain(text));
  }

  layerLink(i) {
    const { tag, title } = this.scene.layers;
    return this.link(`${tag[i]} ${title[i]}`.trim(), "layer", i);
  }

  layer(i) {
    const { layers, nodes, modes } = this.scene;
    const { palette } = this.painter;
    const kind = this.painter.kind(i);
    const precision = modes.find((mode) => mode.id === "precision").texts?.[i];
    const held = layers.nodes[i];
    const rows = [["Layer", [make("code", {}, plain(layers.name[i]))]], ...layers.facts[i]];
    if (held.length) {
      rows.unshift(["Nodes", some(held, 12, (node) =>
        this.link(`${nodes.label[node]} ${nodes.sub[node]}`, "node", node, nodes.name[node]))]);
    }
    return [
      make("h3", {}, plain(held.length ? `${layers.tag[i]}: ${plural(held.length, "node")} → 1 layer`
        : `${kind === "not named" ? "Layer" : "Added"}: ${layers.title[i]}`)),
      make("div", {}, chip(kind, palette.kinds[kind]),
        ...(precision ? [chip(precision, palette.precisions[precision] ?? palette.t3)] : []),
        ...layers.patterns[i].filter((name) => name !== kind).map((name) => chip(name))),
      make("p", {}, plain(layers.text[i])), facts(rows),
    ];
  }

  // The set that a layer of either engine is in, then the layer itself.
  set(set, { kind, i }) {
    const { nodes, layers, modes } = this.scene;
    const { palette } = this.painter;
    const of = kind === "node" ? nodes : layers;
    const links = (side, held, names) => held.length ? [[`In ${side}`, some(held, 12, (n) =>
      make("div", {}, this.link(names[n], side === "A" ? "node" : "layer", n)))]] : [];
    const said = [...links("A", set.nodes, nodes.label), ...links("B", set.layers, layers.title),
      ...set.facts];
    const colour = this.painter.classColour(modes[0], set.kind);
    return [
      make("h3", {}, set.title),
      make("div", {}, chip(set.cut, colour), ...(set.changed ? [chip(set.precision)] : [])),
      make("p", {}, plain(set.text)), facts(said),
      make("h3", {}, `This layer, in ${kind === "node" ? "A" : "B"}`),
      facts([["Layer", [make("code", {}, plain(of.name[i]))]], ...of.facts[i]]),
    ];
  }

  node(i) {
    const { nodes, tensors } = this.scene;
    const runs = ["in layer", "opaque"].includes(nodes.state[i]);
    const rows = [["Name", [make("code", {}, plain(nodes.name[i]))]]];
    if (nodes.layers[i].length) {
      rows.push([runs ? "Runs in" : "Goes into",
        some(nodes.layers[i], 6, (layer) => this.layerLink(layer))]);
    }
    rows.push(["Known by", nodes.rule[i] === "none" ? "n/a: no rule places it" : nodes.rule[i]]);
    if (nodes.because[i]) rows.push(["Because", nodes.because[i]]);
    for (const [label, held] of [["Reads", nodes.reads[i]], ["Writes", nodes.writes[i]]]) {
      if (held.length) {
        rows.push([label, some(held, 6, (tensor) =>
          make("div", {}, make("code", {}, plain(tensors[tensor]))))]);
      }
    }
    return [
      make("h3", {}, plain(nodes.label[i])),
      make("div", {}, chip(nodes.state[i], runs ? null : this.painter.palette.kinds.removed)),
      make("p", {}, plain(nodes.text[i])), facts(rows),
    ];
  }

  // One sentence for those who do not see the drawing.
  sentence(one) {
    if (!one) return "";
    const { layers, nodes } = this.scene;
    const set = setOf(this.scene, one);
    if (set) {
      const [side, of] = one.kind === "node" ? ["A", nodes] : ["B", layers];
      return plain(`Layer ${of.name[one.i].slice(0, 200)} in ${side}, in set ` +
        `${set.title}, ${set.cut}`);
    }
    if (one.kind === "node") {
      const where = nodes.layers[one.i].map((i) => `${layers.tag[i]} ${layers.title[i]}`);
      return plain(`Node ${nodes.name[one.i].slice(0, 200)}, ${nodes.op[one.i]}: ` +
        `${[nodes.state[one.i], ...where].join(" ")}`);
    }
    return plain(this.named(one.i));
  }

  named(i) {
    const { layers, nodes } = this.scene;
    const held = layers.nodes[i].map((node) => nodes.name[node]).join(", ").slice(0, 300);
    const name = layers.name[i].slice(0, 200);
    return layers.tag[i] ? `group ${layers.tag[i]}: ${held} to layer ${name}`
      : `added layer ${name}`;
  }

  setTable() {
    const { sets } = this.scene;
    return this.table("Sets of layers that belong together", ["Set", "Kind", "ONNX nodes",
      "Layers in A", "Layers in B", "Precision", "Time A → B"], sets.map((set) => {
      const [kind, held] = set.nodes.length ? ["node", set.nodes] : ["layer", set.layers];
      return [this.link(set.tag, kind, held[0]), set.cut, ...set.row];
    }));
  }

  tables() {
    if (this.scene.sets) return [this.setTable()];
    const { layers, nodes, modes } = this.scene;
    const [precision, stream, bytes, time] = ["precision", "stream", "bytes", "time"].map((id) =>
      modes.find((mode) => mode.id === id));
    const value = (mode, i) => mode.texts?.[i] || "n/a";
    const origin = (mode) => mode.origin ?? mode.reason;
    const rows = layers.name.map((name, i) => {
      const open = this.link(layers.tag[i] || layers.title[i], "layer", i);
      open.setAttribute("aria-label", plain(this.named(i)));
      const held = layers.nodes[i].map((node) => nodes.name[node]).join(", ").slice(0, 400);
      return [open, name, this.painter.kind(i), held, value(precision, i), value(stream, i),
        value(bytes, i), value(time, i)];
    });
    const lost = nodes.name.flatMap((name, i) =>
      ["in layer", "opaque"].includes(nodes.state[i]) ? [] : [[this.link(name, "node", i),
        nodes.op[i], nodes.state[i], nodes.because[i] || nodes.text[i]]]);
    return [
      this.table("Layers and the nodes in them", ["Group", "Layer", "Kind", "Nodes", "Precision",
        "Stream", `Bytes (${origin(bytes)})`, `Time (${origin(time)})`], rows),
      ...(lost.length ? [this.table("Nodes in no layer", ["Node", "Operator", "What became of it",
        "Why"], lost)] : []),
    ];
  }

  table(caption, heads, rows) {
    const cell = (value, at) => make("td",
      { className: at > 5 ? "number" : value.length < 24 ? "short" : "" },
      typeof value === "string" ? plain(value) : value);
    return make("table", {}, make("caption", { className: "hint" }, caption),
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell)))));
  }
}
