//! The database as other scripts on the page see it.

use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen(inline_js = r#"
const answer = request => new Promise((keep, fail) => {
    request.onsuccess = () => keep(request.result);
    request.onerror = () => fail(request.error);
});
const opened = (name, version, ...stores) => {
    const request = indexedDB.open(name, version);
    request.onupgradeneeded = () => stores.forEach(store => request.result.createObjectStore(store));
    return answer(request);
};
const held = new Map();
export const make = async (name, version) => (await opened(name, version, "cats")).close();
export const hold = async name => { held.set(name, await opened(name)) };
export const release = name => { held.get(name).close() };
export const drop_database = name => answer(indexedDB.deleteDatabase(name));
// Answers once the deletion waits for a connection that is kept. All others have been told by then.
export const drop_blocked = name => new Promise(blocked => {
    indexedDB.deleteDatabase(name).onblocked = blocked;
});
export const version = async name => {
    const database = await opened(name);
    const [version, stores] = [database.version, database.objectStoreNames];
    database.close();
    return `${version}: ${Array.from(stores)}`;
};
// Changes the last byte of the record at a place.
export const damage = async (name, place) => {
    const database = await opened(name);
    const store = database.transaction("records", "readwrite").objectStore("records");
    const key = (await answer(store.getAllKeys()))[place];
    const value = await answer(store.get(key));
    value[value.length - 1] ^= 1;
    await answer(store.put(value, key));
    database.close();
};
export const without = async (name, value, then) => {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, {value, configurable: true});
    try { await then() } finally {
        if (before) { Object.defineProperty(globalThis, name, before) } else { delete globalThis[name] }
    }
};
// Makes the browser say that it lost the previous database, or the truth again.
const told = ["dataLoss", "dataLossMessage"];
const truth = told.map(name => Object.getOwnPropertyDescriptor(IDBVersionChangeEvent.prototype, name));
export const say_lost = why => ["total", why].forEach((text, at) =>
    Object.defineProperty(IDBVersionChangeEvent.prototype, told[at], {get: () => text, configurable: true}));
export const say_the_truth = () => told.forEach((name, at) => {
    delete IDBVersionChangeEvent.prototype[name];
    if (truth[at]) { Object.defineProperty(IDBVersionChangeEvent.prototype, name, truth[at]) }
});
// Makes the next requests to add a value fail.
const add = IDBObjectStore.prototype.add;
export const fail_adds = count => {
    IDBObjectStore.prototype.add = function (...given) {
        if (count === 0) { return add.apply(this, given) }
        count -= 1;
        throw new DOMException("full", "QuotaExceededError");
    };
};
export const add_again = () => { IDBObjectStore.prototype.add = add };
const thefts = new Map();
export const steal = lock => new Promise(stolen => {
    let give_back;
    const held = new Promise(keep => give_back = keep);
    const ended = navigator.locks.request(lock, {steal: true}, () => { stolen(); return held });
    thefts.set(lock, {give_back, ended});
});
export const give_back = lock => { thefts.get(lock).give_back(); return thefts.get(lock).ended };
export const waiting = async lock =>
    (await navigator.locks.query()).pending.filter(({name}) => name === lock).length;
// Makes the promises of locks stay silent, as in Safari after the back/forward cache.
const request = globalThis.LockManager?.prototype.request;
export const silence_locks = () => {
    LockManager.prototype.request = function (...given) {
        request.apply(this, given).catch(() => {});
        return new Promise(() => {});
    };
};
export const hear_locks = () => { LockManager.prototype.request = request };
export const come_back = () => { dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true})) };
export const throws = () => ({ open() { throw new DOMException("not here", "SecurityError") } });
"#)]
extern "C" {
    /// Creates a database that is not the store's.
    pub(crate) fn make(name: &str, version: u32) -> Promise;
    /// Keeps a connection open that blocks upgrades and deletion.
    pub(crate) fn hold(name: &str) -> Promise;
    pub(crate) fn release(name: &str);
    pub(crate) fn drop_database(name: &str) -> Promise;
    /// Starts a deletion that another connection holds up.
    pub(crate) fn drop_blocked(name: &str) -> Promise;
    pub(crate) fn version(name: &str) -> Promise;
    pub(crate) fn damage(name: &str, place: u32) -> Promise;
    pub(crate) fn without(name: &str, value: &JsValue, then: &js_sys::Function) -> Promise;
    pub(crate) fn say_lost(why: &str);
    pub(crate) fn say_the_truth();
    pub(crate) fn fail_adds(count: u32);
    pub(crate) fn add_again();
    /// Takes a lock away from its holder.
    pub(crate) fn steal(lock: &str) -> Promise;
    pub(crate) fn give_back(lock: &str) -> Promise;
    /// How many requests wait for a lock.
    pub(crate) fn waiting(lock: &str) -> Promise;
    pub(crate) fn silence_locks();
    pub(crate) fn hear_locks();
    /// What a page is told when it leaves the back/forward cache.
    pub(crate) fn come_back();
    pub(crate) fn throws() -> JsValue;
}

pub(crate) async fn done(promise: Promise) -> JsValue {
    JsFuture::from(promise).await.unwrap()
}
