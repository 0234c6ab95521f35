"use strict";
(function () {
  // Tabs: built from the sections, so that without this script (and in print) every section is simply there.
  document.querySelectorAll(".tabs").forEach(function (box) {
    var tabs = Array.prototype.slice.call(box.children);
    if (tabs.length < 2) { return; }
    var list = document.createElement("div");
    list.className = "tablist";
    list.setAttribute("role", "tablist");
    var buttons = tabs.map(function (tab, index) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = tab.dataset.label;
      button.setAttribute("role", "tab");
      button.addEventListener("click", function () { show(index); });
      button.addEventListener("keydown", function (event) {
        var move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (move) { var next = (index + move + tabs.length) % tabs.length; show(next); buttons[next].focus(); }
      });
      tab.setAttribute("role", "tabpanel");
      tab.querySelector("h3").hidden = true;
      list.appendChild(button);
      return button;
    });
    function show(chosen) {
      tabs.forEach(function (tab, index) {
        tab.hidden = index !== chosen;
        buttons[index].setAttribute("aria-selected", String(index === chosen));
        buttons[index].tabIndex = index === chosen ? 0 : -1;
      });
    }
    box.parentNode.insertBefore(list, box);
    show(0);
  });

  // Films: a strip holds all frames side by side; each canvas shows one frame of its strip.
  var still = window.matchMedia && window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  document.querySelectorAll(".film").forEach(function (film) {
    var strips = Array.prototype.slice.call(film.querySelectorAll("img"));
    var screens = Array.prototype.slice.call(film.querySelectorAll("canvas"));
    var slider = film.querySelector("input");
    var button = film.querySelector("button");
    var label = film.querySelector("output");
    var times = film.dataset.times.split("|");
    var width = Number(film.dataset.width), height = Number(film.dataset.height);
    var timer = null;
    function draw() {
      var frame = Number(slider.value);
      screens.forEach(function (canvas, index) {
        canvas.getContext("2d").drawImage(strips[index], frame * width, 0, width, height, 0, 0, width, height);
      });
      label.textContent = times[frame];
    }
    function play(on) {
      if (timer !== null) { window.clearInterval(timer); timer = null; }
      if (on) {
        timer = window.setInterval(function () {
          slider.value = String((Number(slider.value) + 1) % times.length);
          draw();
        }, 220);
      }
      button.textContent = on ? "Pause" : "Play";
    }
    slider.addEventListener("input", function () { play(false); draw(); });
    button.addEventListener("click", function () { play(timer === null); });
    function start() {
      draw();
      if (still || !("IntersectionObserver" in window)) { return; }
      // Starts when first seen, and stops when scrolled away.
      var paused = false;
      button.addEventListener("click", function () { paused = timer === null; });
      slider.addEventListener("input", function () { paused = true; });
      new IntersectionObserver(function (entries) {
        var seen = entries[entries.length - 1].isIntersecting;
        if (!seen) { play(false); } else if (!paused) { play(true); }
      }, { threshold: 0.4 }).observe(film);
    }
    Promise.all(strips.map(function (strip) { return strip.decode(); })).then(start);
  });
}());
