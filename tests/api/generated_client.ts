// What generated_client.py compiles, strictly, together with the client that was generated, and runs with Node:
// node generated_client.js URL MERCHANT CUSTOMER PASSWORD. Prints "ok CLAIM" or "no CLAIM".
import { type Client, createClient, createConfig } from "./generated/client";
import * as api from "./generated/sdk.gen";
import type { NewOrder, Order, OrderItem, Problem, Product } from "./generated/types.gen";

declare const process: { argv: string[]; exit(status: number): never };
const [baseUrl, merchantEmail, customerEmail, password] = process.argv.slice(2) as [string, string, string, string];
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const anyone = createClient(createConfig({ baseUrl }));

function ok(good: unknown, claim: string): void {
  console.log(`${good ? "ok" : "no"} ${claim}`);
}

// A client of one person, who is logged in; and the token to log out with.
async function login(username: string) {
  const { data } = await api.tokenIssue({ client: anyone, body: { grant_type: "password", username, password }, throwOnError: true });
  const client = createClient(createConfig({ baseUrl, auth: () => data.access_token }));
  return { client, refreshToken: data.refresh_token };
}

function key() {
  return { "Idempotency-Key": crypto.randomUUID() };
}

function etag(response: Response): string {
  return response.headers.get("ETag") ?? "";
}

// Whether it is this problem, about this field.
function is(error: Problem | undefined, status: number, code: string, pointer?: string): boolean {
  const same = error?.status === status && error.code === code && error.pointer === pointer && error.request_id !== "";
  if (!same) {
    console.log("saw", JSON.stringify(error));
  }
  return same;
}

async function eventually(condition: () => Promise<boolean>): Promise<boolean> {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((wake) => setTimeout(wake, 100))) {
    if (await condition()) {
      return true;
    }
  }
  return false;
}

async function logIn(customer: Client): Promise<void> {
  const me = await api.meGet({ client: customer, throwOnError: true });
  ok(me.data.email === customerEmail && me.data.roles.includes("user"), "a customer logs in, and asks who it is");
  const wrong = await api.tokenIssue({ client: anyone, body: { grant_type: "password", username: customerEmail, password: "not the password" } });
  ok(wrong.error && "error" in wrong.error && wrong.error.error === "invalid_grant", "a wrong password is an invalid_grant");
  const nobody = await api.meGet({ client: anyone });
  ok(is(nobody.error, 401, "unauthenticated"), "nobody in particular is asked to log in");
}

async function sell(merchant: Client): Promise<Product> {
  const word = `zq${crypto.randomUUID().slice(0, 8)}`;
  const made = await api.productCreate({
    client: merchant, throwOnError: true,
    body: { title: `${word} lamp`, published: true, attributes: { volts: 230 }, tags: ["light"], skus: [{ code: word, price: 4900, currency: "EUR" }] },
  });
  const product = made.data;
  const sku = product.skus[0]!.id;
  ok(made.response.status === 201 && product.skus[0]!.price === 4900, "a merchant creates a product");
  const level = await api.skuReceive({ client: merchant, path: { id: sku }, body: { quantity: 20, reference: "delivery 7" }, throwOnError: true });
  ok(level.data.available === 20, "and receives units of it");
  const changed = await api.productUpdate({
    client: merchant, path: { id: product.id }, headers: { "If-Match": etag(made.response) }, body: { title: `${word} brass lamp`, category_id: null },
  });
  ok(changed.data?.title === `${word} brass lamp` && etag(changed.response) !== etag(made.response), "with the ETag that he has he changes it");
  const late = await api.productUpdate({ client: merchant, path: { id: product.id }, headers: { "If-Match": etag(made.response) }, body: { title: "late" } });
  ok(is(late.error, 412, "precondition_failed"), "with the one before he is told that it has changed");
  const image = await api.productImageAdd({
    client: merchant, path: { id: product.id }, body: new Blob([Uint8Array.from(atob(PNG), (c) => c.charCodeAt(0))]), bodySerializer: null,
  });
  ok(image.response.status === 202 && image.data?.state === "uploaded" && image.data.sizes.length === 0, "he uploads a picture");
  const text = await api.productImageAdd({ client: merchant, path: { id: product.id }, body: new Blob(["text"]), bodySerializer: null });
  ok(text.error?.code === "invalid_picture", "and what is none is refused");
  return changed.data!;
}

async function find(product: Product): Promise<void> {
  const [word] = product.title.split(" ");
  const found = await api.productSearch({ client: anyone, query: { q: `${word} brss`, in_stock: true, facets: true, limit: 5 }, throwOnError: true });
  ok(found.data.items[0]?.id === product.id && found.data.facets?.count === 1 && found.data.next === null, "anyone finds it, with a word misspelt");
  const listed = await api.productList({
    client: anyone, throwOnError: true,
    query: { merchant: product.merchant_id, attributes: JSON.stringify({ volts: 230 }), tag: "light", max_price: 4900, currency: "EUR", sort: "-price" },
  });
  ok(listed.data.items.some((item) => item.id === product.id), "and in a list, by what it is");
  const got = await api.productGet({ client: anyone, path: { id: product.id }, throwOnError: true });
  ok(got.data.title === product.title && got.data.images.length <= 1 && etag(got.response), "and looks at it");
  const known = await api.productGet({ client: anyone, path: { id: product.id }, headers: { "If-None-Match": etag(got.response) } });
  ok(known.response.status === 304 && known.data === undefined, "again, if it has changed: it has not");
  const none = await api.productGet({ client: anyone, path: { id: "1" + "0".repeat(17) } });
  ok(is(none.error, 404, "not_found"), "there is none of another id");
}

async function order(customer: Client, sku: string): Promise<Order> {
  const body: NewOrder = { items: [{ sku_id: sku, quantity: 2 }], expected_total: 9800 };
  const intent = key();
  const placed = await api.orderPlace({ client: customer, headers: intent, body, throwOnError: true });
  ok(placed.response.status === 201 && placed.data.status === "pending_payment" && placed.data.total === 9800, "the customer places an order");
  const again = await api.orderPlace({ client: customer, headers: intent, body, throwOnError: true });
  ok(again.data.id === placed.data.id && again.response.headers.get("Idempotency-Replayed") === "true", "sent again with its key it is the same");
  const another = await api.orderPlace({ client: customer, headers: intent, body: { items: body.items } });
  ok(is(another.error, 422, "idempotency_key_reused"), "another one with its key is refused");
  const tooMany = await api.orderPlace({ client: customer, headers: key(), body: { items: [{ sku_id: sku, quantity: 1000 }] } });
  ok(is(tooMany.error, 409, "insufficient_stock", "/items/0/quantity"), "more than there is is insufficient_stock, and says of which line");
  const no = await api.orderPlace({ client: customer, headers: key(), body: { items: [{ sku_id: sku, quantity: 0 }] } });
  ok(no.error?.status === 422 && no.error.pointer === "/items/0/quantity", "none is 422, and says which field");
  // @ts-expect-error The contract wants a key.
  const keyless = await api.orderPlace({ client: customer, body });
  ok(is(keyless.error, 400, "invalid_idempotency_key"), "an order without a key does not compile, and is refused");
  const thrown = await api.orderPlace({ client: customer, headers: key(), body: { ...body, expected_total: 1 }, throwOnError: true }).then(() => undefined, (e: Problem) => e);
  ok(thrown?.status === 409 && thrown.code === "total_changed", "if the client is to throw, it throws the problem");
  return placed.data;
}

async function pay(customer: Client, order: Order): Promise<void> {
  const payment = await api.paymentCreate({
    client: customer, path: { id: order.id }, headers: key(), body: { provider: "simulated", method: "test_approve" }, throwOnError: true,
  });
  ok(payment.data.order_id === order.id && payment.data.amount === 9800, "the customer pays");
  ok(await eventually(async () => (await api.orderGet({ client: customer, path: { id: order.id } })).data?.status === "paid"), "and the order is paid");
  const captured = await api.paymentGet({ client: customer, path: { id: payment.data.id }, throwOnError: true });
  ok(captured.data.state === "captured" && captured.data.captured === 9800 && captured.data.refunds.length === 0, "and so is the payment");
}

async function list(merchant: Client, customer: Client, sku: string, first: Order): Promise<void> {
  for (let n = 0; n < 4; n++) {
    await api.orderPlace({ client: customer, headers: key(), body: { items: [{ sku_id: sku, quantity: 1 }] }, throwOnError: true });
  }
  const orders: OrderItem[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    const page = await api.orderList({ client: customer, query: { limit: 2, ...(cursor && { cursor }) }, throwOnError: true });
    orders.push(...page.data.items);
    cursor = page.data.next ?? undefined;
  } while (cursor && ++pages < 10);
  ok(orders.length === 5 && new Set(orders.map((item) => item.id)).size === 5 && orders[4]!.id === first.id, "the customer lists the orders, page by page");
  const paid = await api.orderList({ client: customer, query: { status: "paid" }, throwOnError: true });
  ok(paid.data.items.length === 1, "and those that are paid");
  const sold = await api.orderList({ client: merchant, query: { merchant: "mine", limit: 100 }, throwOnError: true });
  ok(sold.data.items.length === 5, "the merchant lists what was ordered from him");
}

async function rush(merchant: Client, customer: Client, sku: string): Promise<void> {
  const body = { sku_id: sku, price: 500, quantity: 2, per_account_limit: 1, starts_at: "2026-01-01T00:00:00Z", ends_at: "2099-01-01T00:00:00Z" };
  const made = await api.saleCreate({ client: merchant, body, throwOnError: true });
  const path = { id: made.data.id };
  const hot = await api.salePreheat({ client: merchant, path, throwOnError: true });
  ok(hot.data.ready && hot.data.checks.length > 0 && hot.data.sale.state === "open", "the merchant preheats a sale");
  const drawn = await api.saleTicket({ client: customer, path, throwOnError: true });
  const none = await api.salePurchase({ client: customer, path, headers: key(), body: { ticket: drawn.data.ticket.toLowerCase(), quantity: 1 } });
  ok(is(none.error, 403, "invalid_ticket", "/ticket"), "without a good ticket nobody buys");
  // @ts-expect-error The contract wants a ticket.
  const without = await api.salePurchase({ client: customer, path, headers: key(), body: { quantity: 1 } });
  ok(is(without.error, 422, "missing_field", "/ticket"), "a purchase without a ticket does not compile, and is refused");
  const intent = key();
  const bought = await api.salePurchase({ client: customer, path, headers: intent, body: { ticket: drawn.data.ticket, quantity: 1 }, throwOnError: true });
  ok(bought.response.status === 201 && bought.data.total === 500, "the customer draws one, and buys");
  const again = await api.salePurchase({ client: customer, path, headers: intent, body: { ticket: drawn.data.ticket, quantity: 1 }, throwOnError: true });
  ok(again.data.id === bought.data.id && again.response.headers.get("Idempotency-Replayed") === "true", "once");
  const enough = new AbortController();
  const { stream } = await api.saleEvents({ client: anyone, path, signal: enough.signal });
  let seen = "";
  for await (const event of stream) {
    seen = JSON.stringify(event);
    if (seen.includes('"left":1')) {
      break;
    }
  }
  enough.abort();
  ok(seen.includes('"state":"open"'), "and whoever watches sees what is left");
}

async function leave(merchant: Client, product: Product, order: Order, refreshToken: string): Promise<void> {
  const shipped = await api.orderShip({ client: merchant, path: { id: order.id }, throwOnError: true });
  ok(shipped.data.status === "shipped", "the merchant ships");
  const gone = await api.productDelete({ client: merchant, path: { id: product.id } });
  ok(gone.response.status === 204 && gone.error === undefined, "and deletes the product");
  const next = await api.tokenIssue({ client: anyone, body: { grant_type: "refresh_token", refresh_token: refreshToken }, throwOnError: true });
  const revoked = await api.tokenRevoke({ client: anyone, body: { token: next.data.refresh_token } });
  ok(revoked.response.status === 200 && revoked.error === undefined, "the customer refreshes, and logs out");
  const out = await api.tokenIssue({ client: anyone, body: { grant_type: "refresh_token", refresh_token: next.data.refresh_token } });
  ok(out.error && "error" in out.error && out.error.error === "invalid_grant", "and cannot refresh any more");
}

async function main(): Promise<void> {
  const { client: merchant } = await login(merchantEmail);
  const { client: customer, refreshToken } = await login(customerEmail);
  await logIn(customer);
  const product = await sell(merchant);
  const sku = product.skus[0]!.id;
  await find(product);
  const first = await order(customer, sku);
  await pay(customer, first);
  await list(merchant, customer, sku, first);
  await rush(merchant, customer, sku);
  await leave(merchant, product, first, refreshToken);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
