// Reads deliveries as JSON from standard input, and says of each whether the library standardwebhooks accepts it: good or bad.
// Then of the first one with another body, id, timestamp and secret.
import {Webhook} from "standardwebhooks";
import {readFileSync} from "node:fs";

function verdict({secret, headers, body}) {
  try {
    new Webhook(secret).verify(body, headers);
    return "good";
  } catch {
    return "bad";
  }
}

const cases = JSON.parse(readFileSync(0, "utf8"));
const first = cases[0];
const changed = [
  {...first, body: first.body.replace("{", "{ ")},
  {...first, headers: {...first.headers, "webhook-id": cases[1].headers["webhook-id"]}},
  {...first, headers: {...first.headers, "webhook-timestamp": String(Number(first.headers["webhook-timestamp"]) - 1)}},
  {...first, secret: "whsec_" + Buffer.alloc(32).toString("base64")},
];
console.log([...cases, ...changed].map(verdict).join("\n"));
