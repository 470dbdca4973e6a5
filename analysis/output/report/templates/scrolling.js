"use strict";
/* Lets the keyboard reach what scrolls sideways: a wide figure or text on a narrow screen. */
(() => {
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  document.querySelectorAll(".picture, pre").forEach((part) => observer.observe(part));
})();
