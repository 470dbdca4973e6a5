"use strict";
/* Opens what is folded: where a link leads to, and what belongs on paper. */
(() => {
  const onPaper = [...document.querySelectorAll("details.print-open")];
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = onPaper.filter((part) => !part.open);
    folded.forEach((part) => { part.open = true; });
  });
  window.addEventListener("afterprint", () => folded.forEach((part) => { part.open = false; }));

  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let part = target; part; part = part.parentElement) {
      if (part.tagName === "DETAILS") part.open = true;
    }
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", reveal);
  // A link to where the page already is changes no address.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#']");
    if (link && link.hash === location.hash) reveal();
  });
  reveal();
})();
