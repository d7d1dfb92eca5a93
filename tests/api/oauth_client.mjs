// What oauth_client.py runs with Node: node oauth_client.mjs MODULE API EMAIL PASSWORD. Prints "ok CLAIM" or "no CLAIM".
import { webcrypto } from "node:crypto";
globalThis.crypto ??= webcrypto;

const [module, api, username, password] = process.argv.slice(2);
const oauth = await import(module);
const server = { issuer: api, token_endpoint: `${api}/v1/oauth/token`, revocation_endpoint: `${api}/v1/oauth/revoke` };
const client = { client_id: "shop-app" };
const insecure = { [oauth.allowInsecureRequests]: true };

function ok(good, claim) {
  console.log(`${good ? "ok" : "no"} ${claim}`);
}

async function login(secret, how = oauth.None()) {
  const parameters = new URLSearchParams({ username, password: secret });
  const response = await oauth.genericTokenEndpointRequest(server, client, how, "password", parameters, insecure);
  return oauth.processGenericTokenEndpointResponse(server, client, response);
}

async function refresh(token) {
  return oauth.processRefreshTokenResponse(server, client, await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, insecure));
}

async function me(token) {
  return oauth.protectedResourceRequest(token, "GET", new URL(`${api}/v1/me`), new Headers(), null, insecure);
}

async function errorOf(promise) {
  return promise.then(() => null, (error) => error);
}

const first = await login(password);
ok(first.token_type === "bearer" && first.expires_in > 0, "oauth4webapi logs in");
ok((await (await me(first.access_token)).json()).email === username, "and asks who it is");
const second = await refresh(first.refresh_token);
ok(second.refresh_token !== first.refresh_token && (await me(second.access_token)).status === 200, "it refreshes, and asks again");
ok((await login(password, oauth.ClientSecretBasic("secret"))).access_token, "it may show who it is by Basic");
ok((await login(password, oauth.ClientSecretPost("secret"))).access_token, "or in the form");
const wrong = await errorOf(login("wrong password"));
ok(wrong instanceof oauth.ResponseBodyError && wrong.error === "invalid_grant" && wrong.error_description, "a wrong password is a ResponseBodyError, invalid_grant");
const refused = await errorOf(me("junk"));
ok(refused instanceof oauth.WWWAuthenticateChallengeError && refused.cause[0].scheme === "bearer" && refused.cause[0].parameters.error === "invalid_token",
  "a token that is none is a challenge that it reads");
await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, oauth.None(), second.refresh_token, insecure));
ok((await errorOf(refresh(second.refresh_token)))?.error === "invalid_grant", "it logs out, and cannot refresh any more");
