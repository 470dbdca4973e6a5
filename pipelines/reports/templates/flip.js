"use strict";
(() => {
  const figures = [...document.querySelectorAll(".flip")];
  const flip = (figure) => {
    const flipped = figure.classList.toggle("flipped");
    figure.querySelector("button").setAttribute("aria-pressed", String(flipped));
  };
  for (const figure of figures) {
    figure.querySelector("button").addEventListener("click", () => flip(figure));
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
    if (event.key !== "f" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    figures.forEach(flip);
  });
  // Folded parts are not printed.
  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
})();
