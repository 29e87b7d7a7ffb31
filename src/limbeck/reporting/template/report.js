// Draws the figures with the colours of the page, and again when the reader switches between light and dark, opens what
// was folded, prints, or changes the width.
(function () {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const figures = document.querySelectorAll("script[data-figure]");

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function themed(layout) {
    const line = colour("--line");
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: colour("--quiet"), automargin: true };
    return Object.assign({}, layout, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--text") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") } },
      margin: { l: 8, r: 14, t: 8, b: 8, autoexpand: true },
      xaxis: Object.assign({}, axis, layout.xaxis),
      yaxis: Object.assign({}, axis, layout.yaxis),
    });
  }

  function draw() {
    for (const source of figures) {
      const figure = JSON.parse(source.textContent);
      const box = document.getElementById(source.dataset.figure);
      if (!box.clientWidth) continue; // folded
      figure.layout.width = box.clientWidth;
      if (figure.layout.meta && figure.layout.meta.square) {
        figure.layout.height = Math.min(figure.layout.height, box.clientWidth + 60);
      }
      for (const trace of figure.data) {
        if (trace.error_x && !trace.error_x.color) trace.error_x.color = colour("--text");
      }
      Plotly.react(box, figure.data, themed(figure.layout), { displayModeBar: false });
    }
  }

  const main = document.querySelector("main");
  let width = main.clientWidth;
  draw(); // at once: a page in the background is given no frames
  new ResizeObserver(() => {
    if (main.clientWidth === width) return;
    width = main.clientWidth;
    requestAnimationFrame(draw); // drawing changes the height, which must not happen inside the observer
  }).observe(main);
  dark.addEventListener("change", draw);
  for (const folded of document.querySelectorAll("details")) folded.addEventListener("toggle", draw);
  for (const button of document.querySelectorAll("button[data-svg]")) {
    button.addEventListener("click", () =>
      Plotly.downloadImage(document.getElementById(button.dataset.svg), {
        format: "svg",
        filename: button.dataset.svg,
        width: 900,
        height: null,
      })
    );
  }
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
    document.documentElement.classList.add("printed");
    draw();
  });
  window.addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
    document.documentElement.classList.remove("printed");
    draw();
  });
})();
