// What is wrong with the page as it is shown: a list of sentences.
(() => {
  const problems = [];
  const say = (what, node) => problems.push(`${what}: ${(node.textContent || "").trim().slice(0, 60)}`);
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) problems.push(`the page is ${root.scrollWidth} px wide`);

  // The box in which a text may be: its window onto a wide table or plot, or the whole page.
  const scroller = (element) => element.closest(".scroll, pre");

  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map((part) => {
      const x = part / 255;
      return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\)$|^transparent$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };

  const boxes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || element.closest("style, script")) continue;
    const style = getComputedStyle(element);
    const drawn = element.closest("svg");
    const range = document.createRange();
    range.selectNodeContents(node);
    const rects = [...range.getClientRects()].filter((r) => r.width > 1 && r.height > 1);
    if (!rects.length) say("text without a place", node);
    for (const r of rects) {
      boxes.push({ node, r, drawn });
      if (!scroller(element) && (r.left < 0 || r.right > innerWidth + 0.5)) say("text beyond the window", node);
      if (drawn) {
        const frame = drawn.getBoundingClientRect();
        if (r.left < frame.left - 1 || r.right > frame.right + 1) say("text beyond its plot", node);
      }
    }
    for (let at = element; at && !drawn && at !== document.body; at = at.parentElement) {
      const cut = getComputedStyle(at).overflowX === "hidden" || getComputedStyle(at).textOverflow === "ellipsis";
      if (cut && at.scrollWidth > at.clientWidth + 1) say("text cut off", node);
    }
    const ink = luminance(drawn ? style.fill : style.color), paper = luminance(ground(element));
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (contrast < 4.5) say(`text with a contrast of ${contrast.toFixed(1)}`, node);
    if (!drawn && parseFloat(style.fontSize) < 12) say("tiny text", node);
  }

  // Letters reach into the space between lines, so boxes may touch.
  boxes.sort((a, b) => a.r.top - b.r.top);
  boxes.forEach((a, i) => {
    for (let j = i + 1; j < boxes.length && boxes[j].r.top < a.r.bottom; j++) {
      const b = boxes[j];
      const wide = Math.min(a.r.right, b.r.right) - Math.max(a.r.left, b.r.left);
      const high = a.r.bottom - b.r.top;
      const small = Math.min(a.r.height, b.r.height);
      if (a.node !== b.node && a.drawn === b.drawn && wide > 2 && high > 0.35 * small) say(`text over "${a.node.textContent.trim().slice(0, 40)}"`, b.node);
    }
  });
  return [...new Set(problems)];
})()
