"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const text = at("text"), form = at("form"), status = at("status");
  const shown = {}; // figures as they were when the page was opened
  let timer, asked = 0;

  const post = (path, body) =>
    fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });

  function remember() {
    for (const input of form.querySelectorAll("input"))
      if (!(input.name in shown)) shown[input.name] = input.value;
  }

  function mark(faults) {
    const places = faults.map((fault) => fault.place);
    for (const input of form.querySelectorAll("input")) {
      input.classList.toggle("changed", shown[input.name] !== input.value);
      const wrong = places.includes(input.name);
      input.classList.toggle("wrong", wrong);
      input.setAttribute("aria-invalid", wrong ? "true" : "false");
    }
    text.classList.toggle("wrong", faults.length > 0);
    const list = at("faults");
    list.replaceChildren();
    for (const fault of faults.slice(0, 8)) {
      const line = document.createElement("p");
      line.className = "fault";
      line.textContent = fault.said;
      list.append(line);
    }
    if (faults.length && faults[0].hint) {
      const hint = document.createElement("p");
      hint.className = "soft";
      hint.textContent = faults[0].hint;
      list.append(hint);
    }
    at("solve").disabled = faults.length > 0;
  }

  async function checked(answer, redraw) {
    const mine = ++asked;
    const found = await (await answer).json();
    if (mine !== asked) return; // something newer is on its way
    if (found.text !== undefined) text.value = found.text;
    if (redraw && found.form) form.innerHTML = found.form;
    remember();
    mark(found.faults);
  }

  form.addEventListener("input", (event) => {
    const input = event.target;
    clearTimeout(timer);
    at("solve").disabled = true;
    timer = setTimeout(() => {
      const path = JSON.parse(input.dataset.path);
      checked(post("/edit", { text: text.value, path, value: input.value }), false);
    }, 250);
  });

  text.addEventListener("input", () => {
    clearTimeout(timer);
    at("solve").disabled = true;
    timer = setTimeout(() => checked(post("/check", { text: text.value }), true), 250);
  });

  for (const [button, other, view] of [
    ["as-form", "as-text", true],
    ["as-text", "as-form", false],
  ])
    at(button).addEventListener("click", () => {
      form.hidden = !view;
      at("text-view").hidden = view;
      at(button).setAttribute("aria-pressed", "true");
      at(other).setAttribute("aria-pressed", "false");
    });

  async function show(number, beside) {
    const query = beside === undefined ? "" : `?beside=${beside}`;
    const answer = await fetch(`/plans/${number}${query}`);
    if (answer.ok) at("plan").innerHTML = await answer.text();
  }

  function failed(error) {
    const box = document.createElement("div");
    box.className = "box";
    box.setAttribute("role", "alert");
    const title = document.createElement("h2");
    title.textContent = error.title;
    const said = document.createElement("p");
    said.textContent = error.lead;
    box.append(title, said);
    if (error.ways.length) {
      const list = document.createElement("ol");
      for (const way of error.ways) {
        const item = document.createElement("li");
        item.textContent = way.text;
        if (way.parts.length) {
          const parts = document.createElement("ul");
          for (const part of way.parts) {
            const line = document.createElement("li");
            line.textContent = part;
            parts.append(line);
          }
          item.append(parts);
        }
        list.append(item);
      }
      box.append(list);
    }
    const hint = document.createElement("p");
    hint.className = "soft";
    hint.textContent = error.hint;
    box.append(hint);
    at("plan").replaceChildren(box);
  }

  function follow() {
    const before = Date.now();
    const source = new EventSource("/events");
    source.onmessage = (event) => {
      const state = JSON.parse(event.data);
      status.textContent = state.text;
      const bar = at("progress");
      bar.hidden = !state.running;
      if (state.share === null) bar.removeAttribute("value");
      else bar.value = state.share;
      if (state.running) return;
      source.close();
      at("stop").hidden = true;
      at("solve").hidden = false;
      if (state.error) {
        status.textContent = "No plan.";
        failed(state.error);
      } else if (state.plans) {
        status.textContent = `Solved in ${((Date.now() - before) / 1000).toFixed(1)} s.`;
        show(state.plans - 1);
      }
    };
    source.onerror = () => {
      source.close();
      at("stop").hidden = true;
      at("solve").hidden = false;
      status.textContent = "The page has lost tokenfleet: start it again.";
    };
  }

  at("solve").addEventListener("click", async () => {
    at("solve").hidden = true;
    at("stop").hidden = false;
    await post("/solve", { text: text.value });
    follow();
  });
  at("stop").addEventListener("click", () => post("/stop", {}));
  at("save").addEventListener("click", async () => {
    await post("/draft", { text: text.value });
    const link = document.createElement("a");
    link.href = "/scenario.yaml";
    link.download = "";
    link.click();
  });
  at("plan").addEventListener("click", (event) => {
    if (event.target.dataset.plan !== undefined && event.target.tagName === "BUTTON")
      show(event.target.dataset.plan);
  });
  at("plan").addEventListener("change", (event) => {
    if (event.target.id === "beside") show(event.target.dataset.plan, event.target.value);
  });

  remember();
  checked(post("/check", { text: text.value }), false);
})();
