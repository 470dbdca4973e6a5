"use strict";
/* Below the explorer of RDMs, for the region and model that are chosen there: maps of the stimuli,
   pairs on which brain and model disagree, and the influence of each stimulus on the score. */
(() => {
  const box = document.getElementById("explorer");
  if (!box) return;
  const { data, current, choose, decode, decodeRdm, portrait } = box.explorer;
  const n = data.names.length;
  const byId = (id) => document.getElementById(id);
  const maps = [byId("map-brain"), byId("map-model")];
  const SIDE = 400;
  const MARGIN = 26;
  const MOST_LABELS = 40;
  const LONGEST_LABEL = 16;
  const N_PAIRS = 6;
  const N_EXTREMES = 12;
  const pictureSide = Math.max(14, Math.min(44, SIDE / (1.25 * Math.sqrt(n))));
  let seen = 0;
  let drawn = [];

  const element = (name, className, ...content) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...content);
    return made;
  };

  const shape = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  };

  function signed(value, digits) {
    const size = Math.abs(value).toFixed(digits);
    if (Number(size) === 0) return size;
    return `${value < 0 ? "\u2212" : "+"}${size}`;
  }

  function placesOf(map) {
    const values = decode(map.places).values;
    return Array.from({ length: n }, (_, index) => [values[2 * index], values[2 * index + 1]]);
  }

  /* Turned, and mirrored where that is better, so that it is as near to another map as can be. */
  function turned(places, other) {
    const turns = [1, -1].map((mirror) => {
      let [along, across] = [0, 0];
      places.forEach(([x, y], index) => {
        const [u, v] = other[index];
        along += u * x + v * mirror * y;
        across += v * x - u * mirror * y;
      });
      return { mirror, angle: Math.atan2(across, along), fit: Math.hypot(along, across) };
    });
    const { mirror, angle } = turns[0].fit >= turns[1].fit ? turns[0] : turns[1];
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    return places.map(([x, y]) => [x * cos - mirror * y * sin, x * sin + mirror * y * cos]);
  }

  function drawMap(svg, places) {
    const reach = SIDE / 2 - MARGIN;
    const at = places.map(([x, y]) => [SIDE / 2 + reach * x, SIDE / 2 - reach * y]);
    const line = shape("line", { class: "pair" });
    const marks = at.map(([x, y], index) => {
      const group = shape("g", { "data-stimulus": index });
      const half = pictureSide / 2;
      if (data.pictures[index]) {
        const frame = { x: x - half, y: y - half, width: pictureSide, height: pictureSide };
        group.append(shape("image", { ...frame, href: data.pictures[index] }), shape("rect", frame));
      } else {
        group.append(shape("circle", { cx: x, cy: y, r: 4 }));
        const left = x > SIDE / 2;
        const text = shape("text", { x: x + (left ? -7 : 7), y: y + 4, "text-anchor": left ? "end" : "start" });
        const name = data.names[index];
        text.textContent = name.length > LONGEST_LABEL ? `${name.slice(0, LONGEST_LABEL - 1)}…` : name;
        if (n > MOST_LABELS) text.setAttribute("class", "when-seen");
        group.append(text);
      }
      return group;
    });
    svg.replaceChildren(line, ...marks);
    return { svg, at, line, marks };
  }

  function showMaps() {
    const { place, net } = current();
    const there = Boolean(place.map && net.map);
    byId("maps").hidden = !there;
    byId("no-maps").hidden = there;
    drawn = [];
    if (!there) return;
    const ofBrain = placesOf(place.map);
    const percent = (map) => `${Math.round(100 * map.share)} %`;
    byId("map-brain-title").textContent = `${place.name}, ${place.sources[0].name}: ${percent(place.map)}`;
    byId("map-model-title").textContent = `${net.name} (${net.group}): ${percent(net.map)}`;
    drawn = [drawMap(maps[0], ofBrain), drawMap(maps[1], turned(placesOf(net.map), ofBrain))];
    showPair();
  }

  function showPair() {
    const [row, column] = box.explorer.pair;
    for (const { at, line } of drawn) {
      Object.entries({ x1: at[row][0], y1: at[row][1], x2: at[column][0], y2: at[column][1] })
        .forEach(([key, value]) => line.setAttribute(key, value));
    }
    see(row);
  }

  function see(stimulus) {
    const pair = box.explorer.pair;
    seen = stimulus;
    for (const { svg, line, marks } of drawn) {
      marks.forEach((mark, index) => {
        mark.classList.toggle("seen", index === seen);
        mark.classList.toggle("in-pair", pair.includes(index));
      });
      // What comes last lies above the others.
      svg.append(line, ...pair.map((index) => marks[index]), marks[seen]);
    }
    byId("map-readout").replaceChildren(...portrait(seen), element("strong", "", data.names[seen]));
  }

  function showDisagreement() {
    const { place, brain, net } = current();
    const [ofBrain, ofModel] = [decodeRdm(brain.rdm).shares, decodeRdm(net.rdm).shares];
    const pairs = [];
    for (let row = 0, index = 0; row < n; row += 1) {
      for (let column = row + 1; column < n; column += 1, index += 1) {
        const difference = ofBrain[index] - ofModel[index];
        if (!Number.isNaN(difference)) pairs.push({ row, column, index, difference });
      }
    }
    pairs.sort((a, b) => b.difference - a.difference);
    const half = Math.min(N_PAIRS, Math.floor(pairs.length / 2));
    const lists = [pairs.slice(0, half), half ? pairs.slice(-half).reverse() : []];
    const percentile = (share) => Math.round(100 * share);
    [byId("farther"), byId("nearer")].forEach((list, which) => {
      list.replaceChildren(...lists[which].map(({ row, column, index }) => {
        const button = element("button", "plain pair", ...portrait(row), ...portrait(column),
          element("span", "", element("strong", "", `${data.names[row]} and ${data.names[column]}`), element("span", "note",
            `percentile ${percentile(ofBrain[index])} in the brain, ${percentile(ofModel[index])} in the model`)));
        button.type = "button";
        button.addEventListener("click", () => choose(column, row));
        return element("li", "", button);
      }));
    });
    byId("disagreement-of").textContent = `${place.name}, ${brain.name}, and ${net.name}.`;
  }

  function showInfluence() {
    const { place, net } = current();
    const { influence } = place;
    const at = influence ? influence.models.indexOf(box.explorer.modelIndex) : -1;
    const [strip, said] = [byId("influence-strip"), byId("influence-of")];
    strip.replaceChildren();
    if (at < 0) {
      said.textContent = influence
        ? `For ${place.name} the page holds the influence on the highest scores only, of ${influence.models.length} models.`
        : "The influence of stimuli is not computed here: it would take too long for this comparison of RDMs, or there is no score.";
      return;
    }
    const values = decode(influence.values).values.slice(at * n, (at + 1) * n);
    const order = [...values.keys()].sort((a, b) => values[b] - values[a]);
    const some = n > 2 * N_EXTREMES;
    const item = (stimulus) => element("li", "", ...portrait(stimulus),
      element("span", "name", data.names[stimulus]), element("strong", "", signed(values[stimulus], 4)));
    const parts = some
      ? [["Highest", order.slice(0, N_EXTREMES)], ["Lowest", order.slice(-N_EXTREMES)]]
      : [["", order]];
    strip.replaceChildren(...parts.flatMap(([words, stimuli]) => [
      ...(words ? [element("p", "", words)] : []), element("ol", "stimuli", ...stimuli.map(item))]));
    const score = place.sources[0].scores[box.explorer.modelIndex];
    said.textContent = `${net.name} in ${place.name}, ${place.sources[0].name}: ` +
      `${score === null ? "n/a" : score.toFixed(3)} (${data.comparison}).`;
  }

  function onKey(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    see((seen + step * (event.shiftKey ? 5 : 1) + 5 * n) % n);
  }

  for (const svg of maps) {
    svg.addEventListener("keydown", onKey);
    svg.addEventListener("pointerover", (event) => {
      const mark = event.target.closest("g[data-stimulus]");
      if (mark && Number(mark.dataset.stimulus) !== seen) see(Number(mark.dataset.stimulus));
    });
  }
  function renew() {
    showMaps();
    showDisagreement();
    showInfluence();
  }
  box.addEventListener("chosen", (event) => (event.detail === "pair" ? showPair() : renew()));
  renew();
})();
