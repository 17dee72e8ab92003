(function () {
  "use strict";
  var said = document.getElementById("live");
  var every = Number(said.dataset.every);
  var failed = 0;
  function busy(section) {
    return section.contains(document.activeElement) || section.querySelector("details[open]") !== null;
  }
  function put(text) {
    var fresh = new DOMParser().parseFromString(text, "text/html");
    fresh.querySelectorAll("section[id]").forEach(function (section) {
      var old = document.getElementById(section.id);
      if (old === null) { document.getElementById("content").appendChild(document.adoptNode(section)); return; }
      if (!busy(old)) { old.replaceWith(document.adoptNode(section)); }
    });
    var status = document.querySelector("#status h2 .badge");
    if (status !== null) { document.title = status.textContent.trim().split(/\s+/).pop() + " – Lyo on call"; }
  }
  function say(text) { if (said.textContent !== text) { said.textContent = text; } }
  function look() {
    fetch("/ops/live", { credentials: "same-origin", cache: "no-store" }).then(function (answer) {
      if (answer.status === 401) { window.location.reload(); return null; }
      if (!answer.ok) { throw new Error("status " + answer.status); }
      return answer.text();
    }).then(function (text) {
      if (text !== null) { failed = 0; put(text); say("Live: looked at every " + every / 1000 + " s."); }
    }).catch(function () {
      failed += 1;
      say("Not live: the monitor does not answer. What is shown is old.");
    }).then(function () { window.setTimeout(look, every * Math.min(1 + failed, 5)); });
  }
  window.setTimeout(look, every);
}());
