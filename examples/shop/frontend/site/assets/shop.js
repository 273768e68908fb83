"use strict";

const element = (id) => document.getElementById(id);
const euros = (cents) => `€ ${(cents / 100).toFixed(2)}`;

function say(text, bad = false) {
  element("message").textContent = text;
  element("message").classList.toggle("bad", bad);
}

/** Call the API on this page's own origin; every answer, good or bad, says which version made it. */
async function call(path, options) {
  const answer = await fetch(`/api/v1/${path}`, options);
  element("api-version").textContent = answer.headers.get("X-Shop-Version") ?? "unknown";
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error ?? `the shop answered ${answer.status}`);
  return content;
}

async function refreshCount() {
  const { count } = await call("orders/count/");
  element("order-count").textContent = count;
}

async function order(product, button) {
  button.disabled = true;
  try {
    const placed = await call("orders/", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ product: product.id, quantity: 1 }),
    });
    say(`Order ${placed.id}: ${product.name} for ${euros(placed.total_cents)}. Thank you.`);
    await refreshCount();
  } catch (problem) {
    say(`That did not work: ${problem.message}`, true);
  } finally {
    button.disabled = false;
  }
}

function card(product) {
  const item = element("product").content.firstElementChild.cloneNode(true);
  item.querySelector("h2").textContent = product.name;
  item.querySelector(".description").textContent = product.description;
  item.querySelector(".price").textContent = euros(product.price_cents);
  const button = item.querySelector("button");
  button.addEventListener("click", () => order(product, button));
  return item;
}

async function start() {
  try {
    const { products } = await call("products/");
    element("products").replaceChildren(...products.map(card));
    await refreshCount();
  } catch (problem) {
    say(`The shop is not reachable: ${problem.message}`, true);
  }
}

start();
