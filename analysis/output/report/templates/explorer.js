"use strict";
/* Two RDMs side by side on one canvas; the pointer or the arrow keys choose a pair of stimuli.
   What is chosen is told to other scripts by `box.explorer` and the event "chosen". */
(() => {
  const box = document.getElementById("explorer");
  if (!box) return;
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const canvas = box.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const readout = document.getElementById("explorer-readout");
  const pick = (name) => document.getElementById(`explorer-${name}`);
  const [region, source, model, scale] = ["region", "source", "model", "scale"].map(pick);
  const n = data.names.length;
  const MOST_ROWS_OF_PICTURES = 4;
  const SMALLEST_PICTURE = 15;
  const palette = data.colours.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  const missingColour = [128, 128, 128];
  let chosen = [1, 0];
  let plots = [];
  let onPaper = false;
  let modelIsChosen = false;

  /* Numbers in base64: little-endian steps of 16 bits, or of 6 bits, which are a letter each. */
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const stepOfLetter = new Map([...LETTERS].map((letter, step) => [letter, step]));

  function stepsOf({ steps, bits }) {
    if (bits === 6) return Array.from(steps, (letter) => stepOfLetter.get(letter));
    const bytes = Uint8Array.from(atob(steps), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 2 }, (_, index) => view.getUint16(2 * index, true));
  }

  function decode(coded) {
    if (coded.values) return coded;
    const missing = 2 ** coded.bits - 1;
    const unit = (coded.high - coded.low) / (missing - 1);
    coded.values = Float64Array.from(stepsOf(coded), (step) => (step === missing ? NaN : coded.low + step * unit));
    return coded;
  }

  function decodeRdm(rdm) {
    if (!rdm.shares) rdm.shares = percentiles(decode(rdm).values);
    return rdm;
  }

  const thumbnails = data.pictures.map((address) => {
    if (!address) return null;
    const image = new Image();
    image.src = address;
    return image;
  });

  /* A picture of a stimulus for the page; nothing where there is none. */
  function portrait(stimulus) {
    if (!data.pictures[stimulus]) return [];
    const image = document.createElement("img");
    image.src = data.pictures[stimulus];
    image.alt = "";
    image.className = "stimulus";
    return [image];
  }

  /* Share of the distances that are smaller, ties in the middle of theirs. */
  function percentiles(values) {
    const order = [...values.keys()].filter((index) => !Number.isNaN(values[index]));
    order.sort((a, b) => values[a] - values[b]);
    const shares = new Float64Array(values.length).fill(NaN);
    const last = Math.max(order.length - 1, 1);
    for (let start = 0; start < order.length; ) {
      let end = start;
      while (end + 1 < order.length && values[order[end + 1]] === values[order[start]]) end += 1;
      for (let at = start; at <= end; at += 1) shares[order[at]] = (start + end) / 2 / last;
      start = end + 1;
    }
    return shares;
  }

  function pairIndex(row, column) {
    const [i, j] = row < column ? [row, column] : [column, row];
    return n * i - (i * (i + 1)) / 2 + (j - i - 1);
  }

  function share(rdm, index) {
    if (scale.value === "rank") return rdm.shares[index];
    const span = rdm.high - rdm.low;
    return span > 0 ? (rdm.values[index] - rdm.low) / span : rdm.values[index] * 0;
  }

  function colour(part) {
    if (Number.isNaN(part)) return missingColour;
    return palette[Math.min(palette.length - 1, Math.floor(part * palette.length))];
  }

  function picture(rdm) {
    const image = new ImageData(n, n);
    for (let row = 0; row < n; row += 1) {
      for (let column = 0; column < n; column += 1) {
        const at = 4 * (row * n + column);
        // Without a distance to itself: the diagonal is left empty.
        if (row === column) continue;
        image.data.set(colour(share(rdm, pairIndex(row, column))), at);
        image.data[at + 3] = 255;
      }
    }
    const sheet = document.createElement("canvas");
    sheet.width = n;
    sheet.height = n;
    sheet.getContext("2d").putImageData(image, 0, 0);
    return sheet;
  }

  const current = () => {
    const place = data.regions[region.selectedIndex];
    const brain = place.sources[Math.min(source.selectedIndex, place.sources.length - 1)];
    return { place, brain, net: data.models[model.selectedIndex] };
  };

  const printed = (value, digits = 3) => (value === null || Number.isNaN(value) ? "n/a" : value.toFixed(digits));

  function shorten(text, width) {
    if (pen.measureText(text).width <= width) return text;
    let cut = text;
    while (cut.length > 1 && pen.measureText(`${cut}…`).width > width) cut = cut.slice(0, -1);
    return `${cut}…`;
  }

  /* Pictures along an edge, in so many rows that neighbours do not cover each other. */
  function borderOf(space) {
    if (!data.pictures.length) return null;
    for (let rows = 1; rows <= MOST_ROWS_OF_PICTURES; rows += 1) {
      const size = Math.min(32, Math.floor((rows * space) / (n + rows * rows)) - 1);
      if (size >= SMALLEST_PICTURE) return { rows, size, width: rows * (size + 1) + 2 };
    }
    return null;
  }

  function lay() {
    const width = canvas.clientWidth;
    const gap = 28;
    const beside = width >= 560;
    const space = Math.floor(Math.min(460, beside ? (width - gap) / 2 : width) - 2);
    const border = borderOf(space);
    const edge = border ? border.width : 0;
    const side = space - edge;
    const above = 26 + edge;
    const below = 52;
    const tall = above + side + below;
    const height = beside ? tall : 2 * tall;
    const ratio = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { place, brain, net } = current();
    plots = [
      { x: 1 + edge, y: above, title: `${place.name}, ${brain.name}`, rdm: decodeRdm(brain.rdm), distance: data.brainDistance },
      {
        x: edge + (beside ? space + gap : 1),
        y: beside ? above : tall + above,
        title: `${net.name} (${net.group})`,
        rdm: decodeRdm(net.rdm),
        distance: net.distance,
      },
    ].map((plot) => ({ ...plot, side, border, sheet: picture(plot.rdm) }));
    draw();
  }

  function draw() {
    const ink = onPaper ? "#000000" : getComputedStyle(box).color;
    pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    pen.imageSmoothingEnabled = false;
    for (const plot of plots) {
      const { x, y, side } = plot;
      pen.fillStyle = ink;
      pen.font = "600 14px system-ui, 'DejaVu Sans', sans-serif";
      pen.textAlign = "left";
      const edge = plot.border ? plot.border.width : 0;
      pen.fillText(shorten(plot.title, side + edge), x - edge, y - edge - 9);
      pen.drawImage(plot.sheet, x, y, side, side);
      pen.strokeStyle = ink;
      pen.lineWidth = 1;
      pen.strokeRect(x - 0.5, y - 0.5, side + 1, side + 1);
      drawScale(plot, ink);
      drawBorder(plot, ink);
      drawChoice(plot);
    }
  }

  function drawBorder({ x, y, side, border }, ink) {
    if (!border) return;
    const { rows, size } = border;
    const cell = side / n;
    pen.imageSmoothingEnabled = true;
    const [row, column] = chosen;
    // The chosen pair comes last, so that it lies above its neighbours.
    const order = [...thumbnails.keys()].filter((index) => index !== row && index !== column);
    for (const index of [...order, column, row]) {
      const image = thumbnails[index];
      if (!image || !image.complete || !image.naturalWidth) continue;
      const out = 2 + (index % rows) * (size + 1);
      const along = Math.max(0, Math.min(side - size, (index + 0.5) * cell - size / 2));
      for (const [left, top] of [[x - out - size, y + along], [x + along, y - out - size]]) {
        const scale = size / Math.max(image.naturalWidth, image.naturalHeight);
        const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
        pen.drawImage(image, left + (size - width) / 2, top + (size - height) / 2, width, height);
      }
      pen.strokeStyle = ink;
      pen.lineWidth = 2;
      if (index === row) pen.strokeRect(x - out - size, y + along, size, size);
      if (index === column) pen.strokeRect(x + along, y - out - size, size, size);
    }
    pen.imageSmoothingEnabled = false;
  }

  function drawScale({ x, y, side, rdm, distance }, ink) {
    const [top, tall] = [y + side + 12, 10];
    palette.forEach((parts, index) => {
      const from = Math.round((index * side) / palette.length);
      const to = Math.round(((index + 1) * side) / palette.length);
      pen.fillStyle = `rgb(${parts.join(",")})`;
      pen.fillRect(x + from, top, to - from, tall);
    });
    const byRank = scale.value === "rank";
    pen.fillStyle = ink;
    pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    pen.fillText(byRank ? "smallest" : printed(rdm.low), x, top + tall + 15);
    pen.textAlign = "right";
    pen.fillText(byRank ? "largest" : printed(rdm.high), x + side, top + tall + 15);
    pen.textAlign = "center";
    pen.fillText(shorten(byRank ? `rank of ${distance}` : distance, side - 120), x + side / 2, top + tall + 15);
    pen.textAlign = "left";
  }

  function drawChoice({ x, y, side }) {
    const cell = side / n;
    const size = Math.max(cell, 5);
    const [row, column] = chosen;
    const left = x + (column + 0.5) * cell - size / 2;
    const top = y + (row + 0.5) * cell - size / 2;
    // Black in white stands out from every colour of the scale.
    pen.lineWidth = 5;
    pen.strokeStyle = "#ffffff";
    pen.strokeRect(left, top, size, size);
    pen.lineWidth = 2;
    pen.strokeStyle = "#000000";
    pen.strokeRect(left, top, size, size);
  }

  function tell() {
    const { place, brain, net } = current();
    const [row, column] = chosen;
    const same = row === column;
    const index = same ? -1 : pairIndex(row, column);
    const value = (rdm) =>
      same ? "0, the diagonal" : `${printed(rdm.values[index])} (percentile ${printed(100 * rdm.shares[index], 0)})`;
    const texts = {
      pair: `${data.names[row]} and ${data.names[column]}`,
      brain: `${place.name}, ${brain.name}: ${value(plots[0].rdm)}`,
      model: `${net.name}: ${value(plots[1].rdm)}`,
    };
    for (const [part, text] of Object.entries(texts)) {
      readout.querySelector(`[data-part=${part}]`).textContent = text;
    }
    readout.querySelector("[data-part=pictures]").replaceChildren(...portrait(row), ...portrait(column));
    pick("score").textContent =
      `Score of ${net.name} in ${place.name}, ${brain.name}: ${printed(brain.scores[model.selectedIndex])} ` +
      `(${data.comparison}); mean noise ceiling of the region ${printed(place.ceiling)}.`;
  }

  function choose(row, column) {
    const inside = (value) => Math.max(0, Math.min(n - 1, value));
    chosen = [inside(row), inside(column)];
    draw();
    tell();
    box.dispatchEvent(new CustomEvent("chosen", { detail: "pair" }));
  }

  /* The models of a region, the best marked; it is shown until another is chosen. */
  function fillModels() {
    const before = model.selectedIndex;
    const scores = current().place.sources[0].scores.map((score) => score ?? -Infinity);
    const top = Math.max(...scores);
    const best = scores.indexOf(top);
    const isMarked = (index) => index === best && Number.isFinite(top) && data.models.length > 1;
    model.replaceChildren(...data.models.map(({ name, group }, index) =>
      new Option(`${name} (${group})${isMarked(index) ? ", highest score" : ""}`, name)));
    model.selectedIndex = modelIsChosen ? before : best;
  }

  function fillSources() {
    const before = source.value;
    const names = current().place.sources.map((item) => item.name);
    source.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(before)) source.value = before;
  }

  function renew() {
    lay();
    tell();
    box.dispatchEvent(new CustomEvent("chosen", { detail: "all" }));
  }

  function pointed(event) {
    const frame = canvas.getBoundingClientRect();
    const [px, py] = [event.clientX - frame.left, event.clientY - frame.top];
    for (const { x, y, side } of plots) {
      const [column, row] = [px - x, py - y].map((offset) => Math.floor((offset * n) / side));
      if (row >= 0 && column >= 0 && row < n && column < n) choose(row, column);
    }
  }

  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    const stride = event.shiftKey ? 5 : 1;
    choose(chosen[0] + stride * move[0], chosen[1] + stride * move[1]);
  });
  canvas.addEventListener("pointermove", pointed);
  canvas.addEventListener("pointerdown", pointed);
  region.replaceChildren(...data.regions.map(({ name }) => new Option(name, name)));
  fillSources();
  fillModels();
  region.addEventListener("change", () => {
    fillSources();
    fillModels();
    renew();
  });
  model.addEventListener("change", () => { modelIsChosen = true; });
  [source, model, scale].forEach((control) => control.addEventListener("change", renew));
  // Paper has a width of its own, for which the picture is scaled.
  window.addEventListener("resize", () => { if (!onPaper) renew(); });
  for (const [event, starts] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(event, () => {
      onPaper = starts;
      draw();
    });
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", renew);
  box.explorer = {
    data, current, choose, decode, decodeRdm, portrait,
    get pair() { return chosen; },
    get modelIndex() { return model.selectedIndex; },
  };
  box.hidden = false;
  renew();
  Promise.allSettled(thumbnails.filter(Boolean).map((image) => image.decode())).then(draw);
})();
