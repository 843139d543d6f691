// Every call once, with nothing but fetch. Address and token come from the environment.
const base = process.env.TRUSTCALLER_BASE_URL;

async function call(method, path, body) {
  const answer = await fetch(base + path, {
    method,
    headers: {
      accept: "application/json",
      authorization: "Bearer " + process.env.TRUSTCALLER_TOKEN,
      ...(body && { "content-type": "application/json" }),
    },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  return answer.json();
}

const numbers = await call("GET", "/numbers?per_page=10");
console.log("number", numbers.data[0].number);
console.log("test number", (await call("GET", "/test-numbers?prefix=8613")).data[0].test_number);
const calls = await call("GET", "/calls?from=2026-05-01&to=2026-05-16");
console.log("caller", calls.data[0].caller_id);
console.log("call", (await call("GET", "/calls/" + calls.data[0].id)).data.call_unique_id);
console.log("live", (await call("GET", "/calls/check?number=" + numbers.data[0].number)).call_received);
const key = await call("POST", "/auth/keys", { name: "Round trip" });
console.log("key", key.name);
console.log("keys", (await call("GET", "/auth/keys")).count);
console.log("revoked", (await call("DELETE", "/auth/keys/" + key.id)).message);
