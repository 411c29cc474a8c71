"use strict";
// Enlarging gallery pictures. Without this script the page shows everything but the larger pictures.
const dialog = document.getElementById("enlarged");
const frames = [...document.querySelectorAll("button.frame")];
let current = 0;

function show(index) {
  current = (index + frames.length) % frames.length;
  const frame = frames[current];
  const stage = dialog.querySelector(".stage");
  stage.replaceChildren(...[...frame.children].map((child) => child.cloneNode(true)));
  const picture = stage.querySelector("img");
  stage.style.setProperty("--ratio", picture.getAttribute("width") / picture.getAttribute("height"));
  const shelf = frame.closest(".shelf").querySelector("h3").textContent;
  const pipeline = frame.closest(".row").querySelector("h4").textContent;
  const caption = frame.closest("figure").querySelector("figcaption").textContent.replace(/\s+/g, " ").trim();
  dialog.querySelector("#enlarged-caption").textContent = `${shelf} · ${pipeline} · ${caption}`;
}

if (dialog) {
  frames.forEach((frame, index) => frame.addEventListener("click", () => { show(index); dialog.showModal(); }));
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.querySelector(".previous").addEventListener("click", () => show(current - 1));
  dialog.querySelector(".next").addEventListener("click", () => show(current + 1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(current - 1);
    if (event.key === "ArrowRight") show(current + 1);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => frames[current].focus());
}

// Paper has no disclosure triangles: open all for printing, and put them back after.
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));
