#!/usr/bin/env python3
"""Look at the built site in a browser: `tools/docs/look.py [SITE] [PICTURES]`, for `make docs-look`.

Each page at the width of a desktop and of a telephone, in light and dark colours. What is found is printed, and the
exit status is 1: a page that moves sideways, text whose contrast with its ground is below WCAG's 4.5 (3 for large
letters), a picture without words, no first heading or more than one, a heading that skips a level, something wide that
is cut or that the keyboard does not move, a link of the page that leads nowhere. On some pages the keyboard alone is
used: the first Tab is the link that skips the menu, each further one goes to something that is seen and is marked, none
is a trap. The pictures are for looking at.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import browser

ROOT = Path(__file__).resolve().parents[2]
LOOKS = {"wide": (1280, 900, "light"), "dark": (1280, 900, "dark"), "phone": (390, 844, "light")}
BY_KEYS = ("index.html", "guide/which.html", "guide/troubleshooting.html", "howto/index.html")
STEPS = 60

SEEN = r"""
(() => {
  const parse = text => {
    const n = (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    if (text.startsWith("color(srgb")) { n[0] *= 255; n[1] *= 255; n[2] *= 255; }
    return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1];
  };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat([1]);
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color[3] > 0) layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const light = c => {
    const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((m, n) => n - m);
    return (x + 0.05) / (y + 0.05);
  };
  const found = [], told = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!words || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (box.width < 2 || box.height < 2 || box.right < 0 || element.closest("script,style,svg,noscript")) continue;
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const below = ground(element), ratio = contrast(over(parse(style.color), below), below);
    const key = style.color + below + large;
    if (ratio < (large ? 3 : 4.5) && !told.has(key)) {
      told.add(key);
      const place = element.tagName + "." + element.className;
      found.push(`contrast ${ratio.toFixed(2)}: ${JSON.stringify(words.slice(0, 40))} in ${place}`);
    }
  }
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth + 1) found.push(`moves sideways: ${root.scrollWidth} points on ${innerWidth}`);
  for (const image of document.images) {
    if (!image.alt) found.push(`no words for the picture ${image.src}`);
    if (image.complete && !image.naturalWidth) found.push(`no picture ${image.src}`);
  }
  const heads = document.querySelectorAll("h1").length;
  if (heads !== 1) found.push(`${heads} first headings`);
  let level = 0;
  for (const head of document.querySelectorAll(".md-content :is(h1, h2, h3, h4, h5, h6)")) {
    const here = Number(head.tagName[1]);
    if (here > level + 1) found.push(`a heading of level ${here} below one of ${level}: ${head.textContent}`);
    level = here;
  }
  for (const box of document.querySelectorAll(".md-content :is(pre > code, table, p)")) {
    const scrolls = e => /auto|scroll/.test(getComputedStyle(e).overflowX);
    let outer = box;
    while (outer && !scrolls(outer)) outer = outer.parentElement;
    const words = box.textContent.slice(0, 40);
    if (!outer && box.getBoundingClientRect().right > innerWidth + 1) found.push(`cut: ${words}`);
    if (outer && outer.scrollWidth > outer.clientWidth + 4 && outer.tabIndex < 0)
      found.push(`moves sideways, but not by the keyboard: ${words}`);
  }
  if (!root.lang || !document.title) found.push("no language or no title");
  for (const link of document.querySelectorAll("a[href^='#']"))
    if (link.hash.length > 1 && !document.getElementById(decodeURIComponent(link.hash.slice(1))))
      found.push(`leads nowhere: ${link.hash}`);
  return found;
})()
"""

FOCUS = r"""
(() => {
  const focused = document.activeElement;
  if (!focused || focused === document.body) return null;
  // a field that only its label shows
  const e = focused.matches(".md-option") ? focused.nextElementSibling : focused;
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  const line = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const marked = focused.matches(":focus-visible") && (line || style.boxShadow !== "none" || e.tagName === "INPUT");
  const across = box.width > 0 && box.right > 0 && box.left < innerWidth;
  const seen = across && box.height > 0 && box.bottom > 0 && box.top < innerHeight;
  const all = [...document.querySelectorAll("*")];
  return {place: all.indexOf(e), seen, marked, hash: e.hash || "", skip: e.classList.contains("md-skip"),
          name: `${e.tagName}.${e.className} ${JSON.stringify((e.textContent || e.title || "").trim().slice(0, 30))}`};
})()
"""


def by_keys(page: browser.Browser) -> list[str]:
    """What the Tab key comes to, from the top of the page."""
    found, places = [], []
    for step in range(STEPS):
        page.press("Tab")
        here: dict[str, Any] | None = page.run(FOCUS)
        if here is None:  # behind the last one
            break
        if step == 0 and not here["skip"]:
            found.append(f"the first Tab is no link to the text but {here['name']}")
        if not here["seen"]:
            found.append(f"Tab comes to what is not seen: {here['name']}")
        if not here["marked"]:
            found.append(f"Tab comes to what is not marked: {here['name']}")
        if places and here["place"] == places[-1]:
            found.append(f"Tab stays at {here['name']}")
            break
        places.append(here["place"])
    if len(places) < 5:
        found.append(f"Tab comes to {len(places)} things only")
    if sum(b < a for a, b in itertools.pairwise(places)) > 1:
        found.append("the order of Tab is not that of the page")
    return found


def skips(page: browser.Browser) -> list[str]:
    """Enter on the first link leads past the menu: the next Tab is in the text."""
    page.press("Tab")
    page.press("Enter")
    page.press("Tab")
    inside = page.run("!!document.activeElement.closest('.md-content') || location.hash.length > 1")
    return [] if inside else ["the link past the menu leads elsewhere"]


def menu_opens(page: browser.Browser) -> list[str]:
    """On a telephone: Tab comes to the button of the menu, and Enter opens it."""
    for _ in range(10):
        page.press("Tab")
        if page.run("document.activeElement.htmlFor === '__drawer'"):
            page.press("Enter")
            opened = page.run("document.getElementById('__drawer').checked")
            return [] if opened else ["Enter does not open the menu"]
    return ["Tab does not come to the menu"]


def look(site: Path, pictures: Path, program: str) -> int:
    bad = 0
    pages = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    pictures.mkdir(parents=True, exist_ok=True)
    with browser.Browser(program) as page:
        for path in pages:
            name = path.relative_to(site).as_posix()
            for kind, size in LOOKS.items():
                page.look(*size)
                page.open(path)
                found = page.run(SEEN)
                colours = page.run("document.body.dataset.mdColorScheme")
                if colours != {"light": "default", "dark": "slate"}[size[2]]:
                    found.append(f"the colours are {colours}")
                if kind != "dark" and name.partition("/")[0] in ("index.html", "guide", "howto", "reference"):
                    page.shoot(pictures / f"{name.replace('/', '-').removesuffix('.html')}-{kind}.png")
                if name in BY_KEYS:
                    found += by_keys(page)
                    page.open(path)
                    found += skips(page)
                    if kind == "phone":
                        page.open(path)
                        found += menu_opens(page)
                for one in found:
                    print(f"{name} ({kind}): {one}")
                bad += len(found)
    print(f"{len(pages)} pages, {len(LOOKS)} looks each: {bad} findings; pictures in {pictures}")
    return 1 if bad else 0


def main() -> int:
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs" / "site"
    pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "build" / "docs" / "look"
    program = browser.found()
    if program is None:
        print("look: needs a Chromium: apt install chromium", file=sys.stderr)
        return 2
    return look(site.resolve(), pictures, program)


if __name__ == "__main__":
    sys.exit(main())
