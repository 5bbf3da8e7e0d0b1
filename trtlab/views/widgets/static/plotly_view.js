// Shows a plotly figure. All views of a page share one plotly.js, which comes from plotly's own
// Lab extension or, where that is missing, once from a kernel. Nothing is fetched from a network.

const LAB_MS = 4000;
const KERNEL_MS = 30000;

function within(ms, promise, message) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(message)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Plotly's extension keeps the library to itself until it has drawn something: draw nothing.
async function fromLab() {
  const extension = globalThis._JUPYTERLAB?.["jupyterlab-plotly"];
  if (!extension) throw new Error("this page has no Lab extension of plotly");
  const { RenderedPlotly, rendererFactory } = (await extension.get("./mimeExtension"))();
  const mimeType = rendererFactory.mimeTypes[0];
  const offScreen = rendererFactory.createRenderer({ mimeType });
  await offScreen.renderModel({ data: { [mimeType]: { data: [], layout: {} } } });
  const Plotly = RenderedPlotly.Plotly.default ?? RenderedPlotly.Plotly;
  Plotly.purge(offScreen.node);
  offScreen.dispose();
  return { Plotly, source: "labextension" };
}

// One a page: `ready` holds the library from whichever way delivers first, even late.
function sharedPage() {
  if (!globalThis.__trtlabPlotly) {
    const page = { asked: {} };
    page.ready = new Promise((resolve) => {
      page.found = (library) => resolve((page.library ??= library));
    });
    const lab = fromLab().then(page.found);
    page.lab = within(LAB_MS, lab, `plotly's Lab extension did not load in ${LAB_MS / 1000} s`);
    globalThis.__trtlabPlotly = page;
  }
  return globalThis.__trtlabPlotly;
}

async function evaluate(gzipped) {
  const stream = new Blob([gzipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  const source = await new Response(stream).arrayBuffer();
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const script = document.createElement("script");
  const before = globalThis.Plotly;
  try {
    await new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error("the page refused to run the library"));
      script.src = url;
      document.head.append(script);
    });
    return { Plotly: globalThis.Plotly, source: "kernel" };
  } finally {
    globalThis.Plotly = before;
    script.remove();
    URL.revokeObjectURL(url);
  }
}

function fromKernel(model, page) {
  const answer = new Promise((resolve, reject) => {
    const receive = async (message, buffers) => {
      if (message?.kind !== "plotly.js") return;
      model.off("msg:custom", receive);
      try {
        if (message.error) throw new Error(message.error);
        page.found(page.library ?? (await evaluate(buffers[0])));
        resolve();
      } catch (error) {
        reject(error);
      }
    };
    model.on("msg:custom", receive);
    model.send({ kind: "plotly.js" });
  });
  return within(KERNEL_MS, answer, `the kernel did not answer in ${KERNEL_MS / 1000} s`);
}

async function loadLibrary(model, page) {
  try {
    await page.lab;
  } catch (labError) {
    const kernel = model.get("_kernel");
    if (!page.library) {
      page.asked[kernel] ??= fromKernel(model, page).catch((kernelError) => {
        delete page.asked[kernel];
        throw new Error(`${labError.message}; ${kernelError.message}`);
      });
      await Promise.race([page.ready, page.asked[kernel]]);
    }
  }
}

const CONFIG = {
  displaylogo: false,
  modeBarButtons: [["toImage", "resetScale2d"]],
  plotlyServerURL: "",
  topojsonURL: "data:,",
  typesetMath: false,
};

// The request for the library must outlive a view: a cell may be run again while it is under way.
function initialize({ model }) {
  loadLibrary(model, sharedPage()).catch(() => {}); // every view says so itself
}

function render({ model, el }) {
  const page = sharedPage();
  const plot = document.createElement("div");
  plot.className = "trtlab-plotly";
  plot.setAttribute("role", "figure"); // no img: its buttons would be hidden
  plot.style.cssText = "width:100%;font-variant-numeric:tabular-nums";
  const alert = document.createElement("p");
  alert.setAttribute("role", "alert");
  alert.style.cssText = "border:1px solid;margin:0;padding:8px 12px";
  alert.hidden = true;
  el.append(alert, plot);

  let drawnWidth = 0;
  let queued = false;
  let loading = false;
  let removed = false;

  const fail = (error) => {
    alert.textContent =
      `The figure was not drawn: ${error.message}. ` +
      "Run its cell again or reload the page. The table beside it holds the same numbers.";
    alert.hidden = false;
    plot.hidden = true;
  };

  const click = ({ points: [point] }) => {
    model.set("clicked", {
      curve: point.curveNumber,
      point: point.pointNumber ?? point.pointIndex ?? null,
      customdata: point.customdata ?? null,
    });
    model.save_changes();
  };

  async function draw() {
    const { Plotly, source } = page.library;
    const width = plot.clientWidth;
    if (removed || !width) return;
    const { data, layout } = JSON.parse(model.get("figure")); // plotly writes into what it gets
    const template = structuredClone(model.get("_template"));
    const size = { autosize: false, width, height: model.get("height") };
    await Plotly.react(plot, data, { ...layout, ...size, template }, CONFIG);
    if (removed) return Plotly.purge(plot);
    if (!plot.dataset.ready) plot.on("plotly_click", click);
    drawnWidth = width;
    plot.dataset.plotlySource = source;
    plot.dataset.ready = "1";
  }

  // At most one drawing at a time and one waiting: what changes meanwhile is drawn together.
  let last = Promise.resolve();
  function update() {
    plot.setAttribute("aria-label", model.get("label"));
    plot.style.height = `${model.get("height")}px`;
    if (queued || removed) return;
    if (!page.library) return load();
    alert.hidden = true;
    plot.hidden = false;
    queued = true;
    requestAnimationFrame(async () => {
      await last;
      queued = false;
      last = draw().catch(fail);
    });
  }

  function load() {
    if (loading) return;
    loading = true;
    loadLibrary(model, page)
      .catch(fail)
      .finally(() => (loading = false));
  }

  const resize = new ResizeObserver(() => {
    if (plot.clientWidth && plot.clientWidth !== drawnWidth) update();
  });
  const traits = ["figure", "_template", "height", "label"].map((name) => `change:${name}`);
  for (const trait of traits) model.on(trait, update);
  resize.observe(plot);
  update();
  page.ready.then(update);

  return () => {
    removed = true;
    resize.disconnect();
    for (const trait of traits) model.off(trait, update);
    if (plot.dataset.ready) page.library.Plotly.purge(plot);
  };
}

export default { initialize, render };
