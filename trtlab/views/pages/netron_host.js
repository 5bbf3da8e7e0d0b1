// Starts Netron inside a page that holds all it needs: its modules and the model are text here.
// In place of Netron's own start: no question for the country, no consent, no telemetry.

const REFUSAL = "This page reaches neither the network nor your files.";

const unpacked = async (id) => {
  const text = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
};

const start = async () => {
  const files = JSON.parse(new TextDecoder().decode(await unpacked("files")));
  const urls = new Map();
  // A module imports others by the addresses that they have in this page.
  const url = (file) => {
    if (!urls.has(file)) {
      const text = files[file].replace(
        /\b(from |import\()'\.\/([\w-]+\.js)'/g,
        (whole, before, other) => (other in files ? `${before}'${url(other)}'` : whole),
      );
      urls.set(file, URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
    }
    return urls.get(file);
  };
  const { Host } = await import(url("browser.js"));
  const { View } = await import(url("view.js"));

  class PageHost extends Host {
    async view(view) {
      this._view = view;
    }

    async start() {
      const file = new File([await unpacked("model")], "model.onnx");
      await this._open(file, [file]);
    }

    environment(name) {
      return name === "packaged" ? false : super.environment(name); // true adds a Report button
    }

    async require(id) {
      return import(url(`${id.slice(2)}.js`));
    }

    worker(id) {
      // No module worker: a frame without an origin may start only classic ones.
      return new Worker(url(`${id.slice(2)}.js`));
    }

    async asset(name) {
      return files[name];
    }

    async execute(name, value) {
      return name === "open" ? this._refuse() : super.execute(name, value);
    }

    get save() {
      return null; // no button to save a tensor's values
    }

    async export() {
      await this._refuse();
    }

    openURL() {
      this._refuse();
    }

    async _refuse() {
      await this.message(REFUSAL, true, "OK");
    }
  }

  await new View(new PageHost()).start();
};

start().catch((error) => {
  document.getElementById("message-text").textContent = `Netron did not start: ${error.message}`;
  document.getElementById("message-button").style.display = "none";
  document.body.className = "welcome message";
});
