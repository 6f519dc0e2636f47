/* Code, tables and pictures that are wider than the page can be moved sideways: by the keyboard as well, and it is seen. */
const WIDE = ".md-typeset pre > code, .md-typeset__scrollwrap, .md-typeset p:has(> img[src$='.svg'])";
const NARROW = 520; // points: a picture that is not wider is readable at the width of a telephone

function mark(box) {
  const rest = box.scrollWidth - box.clientWidth;
  box.classList.toggle("goes-on", rest - box.scrollLeft > 4);
  if (rest > 4) {
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Wider than the page");
  } else if (box.getAttribute("role") === "group") {
    for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
  }
}

addEventListener("load", () => {
  for (const image of document.querySelectorAll(".md-typeset img[src$='.svg']"))
    image.classList.toggle("narrow", image.naturalWidth <= NARROW);
  for (const box of document.querySelectorAll(WIDE)) {
    box.addEventListener("scroll", () => mark(box), {passive: true});
    new ResizeObserver(() => mark(box)).observe(box);
    mark(box);
  }
});
