// What a browser test looks at in an open page; evaluated by browser.py.
(() => {
  const rgb = (text) => {
    const canvas = audit.canvas ??= document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = "#000"; canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const d = canvas.getImageData(0, 0, 1, 1).data;
    return [d[0], d[1], d[2], d[3] / 255];
  };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const c = rgb(getComputedStyle(node).backgroundColor);
      if (c[3] > 0.99) return c;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0, 1] : [255, 255, 255, 1];
  };
  function audit() {
    document.querySelectorAll("details").forEach((d) => d.open = true);
    const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let t; (t = walker.nextNode());) {
      const e = t.parentElement;
      if (!t.data.trim() || /^(SCRIPT|STYLE)$/.test(e.tagName) || !e.getClientRects().length) continue;
      const css = getComputedStyle(e), inSvg = e.namespaceURI.endsWith("svg");
      const [a, b] = [light(rgb(inSvg ? css.fill : css.color)), light(behind(e))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5) poor.push([t.data.trim().slice(0, 40), +ratio.toFixed(2)]);
    }
    const heads = [...document.querySelectorAll("h1,h2,h3,h4,h5,h6")].map((h) => +h.tagName[1]);
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    return {
      poor, heads, title: document.title, lang: document.documentElement.lang,
      width: document.documentElement.scrollWidth, window: innerWidth,
      alts: [...document.images].filter((i) => !i.alt).length,
      broken: [...document.images].filter((i) => !i.naturalWidth).length,
      pictures: [...document.querySelectorAll("svg")].filter((s) => !s.getAttribute("aria-label")).length,
      twice: ids.filter((x, i) => ids.indexOf(x) !== i),
      links: [...document.querySelectorAll("a")].map((a) => a.getAttribute("href")),
      nameless: [...document.querySelectorAll("a,button")].filter((a) => !(a.textContent.trim() || a.ariaLabel)).length,
      scrollers: [...document.querySelectorAll("*")].filter((e) => /auto|scroll/.test(getComputedStyle(e).overflowX)
        && e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0).length,
      text: document.body.innerText,
    };
  }
  return audit();
})()
