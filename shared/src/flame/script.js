"use strict";
// A click on a frame shows that frame as wide as the picture; Ctrl-F marks frames by a part of their name; Escape undoes both.
var frames = Array.prototype.slice.call(document.querySelectorAll("g.f")).map(function (group) {
  var rect = group.querySelector("rect"), number = function (name) { return parseFloat(rect.getAttribute(name)); };
  var title = group.querySelector("title").textContent;
  return {
    group: group, rect: rect, text: group.querySelector("text"), fill: rect.getAttribute("fill"), title: title,
    name: title.slice(0, title.lastIndexOf(" (")), x: number("x"), width: number("width"), y: number("y")
  };
});
var told = document.getElementById("told"), all = { x: 10, width: 1180, y: Infinity };
function place(frame, x, width) {
  frame.rect.setAttribute("x", x);
  frame.rect.setAttribute("width", width);
  var letters = Math.floor((width - 6) / 7);
  frame.text.setAttribute("x", x + 3);
  frame.text.textContent = letters < 3 ? "" : frame.name.length <= letters ? frame.name : frame.name.slice(0, letters - 2) + "..";
}
function zoom(to) {
  var by = all.width / to.width;
  frames.forEach(function (frame) {
    var isBelow = frame.y > to.y && frame.x <= to.x + 0.05 && frame.x + frame.width >= to.x + to.width - 0.05;
    var isInside = frame.y <= to.y && frame.x >= to.x - 0.05 && frame.x + frame.width <= to.x + to.width + 0.05;
    frame.group.style.display = isBelow || isInside ? "" : "none";
    frame.group.style.opacity = isBelow ? 0.5 : 1;
    if (isBelow) place(frame, all.x, all.width);
    if (isInside) place(frame, all.x + (frame.x - to.x) * by, frame.width * by);
  });
}
function mark(part) {
  var found = frames.filter(function (frame) { return part && frame.name.indexOf(part) >= 0; });
  frames.forEach(function (frame) { frame.rect.setAttribute("fill", found.indexOf(frame) >= 0 ? "#e600e6" : frame.fill); });
  // A frame above one that is marked is part of that already.
  var sum = found.reduce(function (sum, frame) {
    var isPart = found.some(function (other) {
      return other.y > frame.y && other.x <= frame.x + 0.05 && other.x + other.width >= frame.x + frame.width - 0.05;
    });
    return isPart ? sum : sum + frame.width;
  }, 0);
  told.textContent = part ? found.length + " frames, " + (100 * sum / all.width).toFixed(2) + " %" : "";
}
frames.forEach(function (frame) { frame.group.addEventListener("click", function () { zoom(frame); }); });
document.getElementById("back").addEventListener("click", function () { zoom(all); });
document.getElementById("search").addEventListener("click", function () { mark(prompt("Part of a function's name:") || ""); });
window.addEventListener("keydown", function (event) {
  if (event.key === "Escape") { zoom(all); mark(""); }
  if (event.key === "f" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); mark(prompt("Part of a function's name:") || ""); }
});
